//! The list of connections, and what an admin may do with one: turn it on or off, release its lane.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{Redirect, Response};
use cofferdam_domain::{Connection, InboundScheme};
use serde::Deserialize;

use super::badge::Badge;
use super::flash::{Flash, FlashQuery};
use super::frame::{Frame, Section, page};
use super::guard::{Change, SignedIn};
use super::problem_page::ProblemPage;
use crate::admin::actions;
use crate::admin::views::{self, ConnectionView, Health};
use crate::app::App;
use crate::clock::now;
use crate::problem::Problem;

pub(super) const PATH: &str = "/panel/connections";

#[derive(Template)]
#[template(path = "panel/connections.html")]
pub(super) struct ConnectionsPage {
    pub(super) frame: Frame,
    pub(super) rows: Vec<ConnectionRow>,
}

/// A connection as the list and its own page show it.
pub(super) struct ConnectionRow {
    pub(super) name: String,
    pub(super) connector: String,
    /// None while it is not loaded.
    pub(super) version: Option<String>,
    pub(super) enabled: bool,
    pub(super) badge: Badge,
    pub(super) reason: Option<String>,
    /// What the button says that clears park, back-off, breaker and flag; none when there is nothing that it would clear.
    pub(super) release: Option<&'static str>,
    pub(super) pending: u64,
    pub(super) in_flight: u64,
    pub(super) dead: u64,
    pub(super) delivered: u64,
    pub(super) subscribes: Vec<String>,
    /// How requests to its hook are checked, in words.
    pub(super) inbound: Option<&'static str>,
    /// Whether anybody who knows its hook's address may send.
    pub(super) unchecked: bool,
    /// Which page its forms lead back to.
    pub(super) back: &'static str,
}

impl ConnectionRow {
    pub(super) fn new(view: &ConnectionView, version: Option<String>, back: Back) -> Self {
        let spec = &view.connection.spec;
        Self {
            name: spec.name.to_string(),
            connector: spec.connector.to_string(),
            version,
            enabled: view.connection.enabled,
            badge: view.health.into(),
            reason: view.reason.clone(),
            release: release(view),
            pending: view.depth.pending,
            in_flight: view.depth.in_flight,
            dead: view.depth.dead,
            delivered: view.depth.delivered,
            subscribes: spec.subscribe.iter().map(ToString::to_string).collect(),
            inbound: spec.inbound.as_ref().map(|inbound| inbound.scheme.in_words()),
            unchecked: spec
                .inbound
                .as_ref()
                .is_some_and(|inbound| inbound.scheme == InboundScheme::None),
            back: back.as_str(),
        }
    }
}

fn release(view: &ConnectionView) -> Option<&'static str> {
    match view.health {
        Health::Parked => Some("Release"),
        Health::BackingOff | Health::BreakerOpen => Some("Try now"),
        Health::Attention => view.lane.flagged.is_some().then_some("Clear"),
        // A version that waits is decided about where it is shown what it asks for.
        Health::Ok | Health::Off | Health::NoConnector | Health::Changed => None,
    }
}

impl ConnectionsPage {
    fn how_many(&self, wanted: fn(&ConnectionRow) -> bool) -> usize {
        self.rows.iter().filter(|row| wanted(row)).count()
    }

    fn on(&self) -> usize {
        self.how_many(|row| row.enabled)
    }

    fn troubled(&self) -> usize {
        self.how_many(|row| row.badge.tone.asks_for_somebody())
    }

    fn waiting(&self) -> u64 {
        self.rows.iter().map(|row| row.pending + row.in_flight).sum()
    }
}

/// The page that a form was sent from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Back {
    /// The list.
    #[default]
    List,
    /// The connection's own page.
    Detail,
}

impl Back {
    const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Detail => "detail",
        }
    }
}

#[derive(Deserialize)]
pub(super) struct SentFrom {
    #[serde(default)]
    back: Back,
}

pub(super) async fn list(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Query(flash): Query<FlashQuery>,
) -> Result<Response, ProblemPage> {
    let views = views::connections(&app, &session.principal.workspace).await;
    let views = views.map_err(|error| Problem::internal("reading connections", &error))?;
    let rows = views
        .iter()
        .map(|view| ConnectionRow::new(view, version(&app, &view.connection), Back::List));
    let rows = rows.collect();
    page(&ConnectionsPage {
        frame: Frame::of(&app, &session, Section::Connections, now()).flash(flash.get()),
        rows,
    })
}

pub(super) async fn enable(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(from): Query<SentFrom>,
    Change(session): Change,
) -> Result<Redirect, ProblemPage> {
    actions::toggle(&app, &session.principal, &name, true).await?;
    Ok(done(&name, &from, Flash::TurnedOn))
}

pub(super) async fn disable(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(from): Query<SentFrom>,
    Change(session): Change,
) -> Result<Redirect, ProblemPage> {
    actions::toggle(&app, &session.principal, &name, false).await?;
    Ok(done(&name, &from, Flash::TurnedOff))
}

pub(super) async fn release_lane(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(from): Query<SentFrom>,
    Change(session): Change,
) -> Result<Redirect, ProblemPage> {
    actions::release(&app, &session.principal, &name).await?;
    Ok(done(&name, &from, Flash::Released))
}

/// Back to where the form was, with the row marked. The name was found, so it holds nothing that an address would not.
fn done(name: &str, from: &SentFrom, flash: Flash) -> Redirect {
    let code = flash.code();
    Redirect::to(&match from.back {
        Back::List => format!("{PATH}?flash={code}#connection-{name}"),
        Back::Detail => format!("{PATH}/{name}?flash={code}"),
    })
}

/// The version that runs now.
pub(super) fn version(app: &App, connection: &Connection) -> Option<String> {
    app.plugins
        .shown(connection)
        .map(|connector| connector.descriptor.version.to_string())
}
