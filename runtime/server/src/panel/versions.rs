//! One connector: every version of it that is kept, which connections run which, who decided what; and going back to an earlier one.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Redirect, Response};
use cofferdam_domain::{Digest, Timestamp};
use serde::Deserialize;

use super::badge::{Badge, Tone};
use super::connectors::ProblemRow;
use super::flash::{Flash, FlashQuery};
use super::frame::{Frame, Section, page};
use super::guard::{Change, ChangeOf, SignedIn};
use super::problem_page::ProblemPage;
use super::units::{self, Moment};
use crate::admin::{ConnectorVersions, Decision, DecisionKind, VersionState, VersionView};
use crate::app::App;
use crate::clock::now;
use crate::plugins::views::connector;
use crate::plugins::{DecisionQuery, rollback};
use crate::problem::Problem;

/// Decisions that the page shows.
const DECISIONS_SHOWN: usize = 20;

#[derive(Template)]
#[template(path = "panel/versions.html")]
pub(super) struct VersionsPage {
    pub(super) frame: Frame,
    pub(super) name: String,
    /// None once it has gone.
    pub(super) file: Option<String>,
    pub(super) held: Option<HeldRow>,
    pub(super) problems: Vec<ProblemRow>,
    pub(super) versions: Vec<VersionRow>,
    pub(super) decisions: Vec<DecisionRow>,
}

/// Somebody has rolled back.
pub(super) struct HeldRow {
    pub(super) digest: String,
    pub(super) by: String,
    pub(super) at: Moment,
}

/// A version.
pub(super) struct VersionRow {
    pub(super) version: String,
    pub(super) digest: String,
    pub(super) badge: Badge,
    pub(super) reason: Option<String>,
    pub(super) file: String,
    pub(super) size: String,
    pub(super) first_seen: Moment,
    pub(super) signer: Option<String>,
    pub(super) connections: Vec<String>,
    pub(super) may_roll_back: bool,
}

/// Who decided what.
pub(super) struct DecisionRow {
    pub(super) at: Moment,
    pub(super) what: &'static str,
    pub(super) by: String,
    pub(super) connection: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) details: Vec<String>,
}

/// Which version to go back to.
#[derive(Deserialize)]
pub(super) struct RollBack {
    digest: String,
}

pub(super) async fn show(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path(name): Path<String>,
    Query(flash): Query<FlashQuery>,
) -> Result<Response, ProblemPage> {
    let workspace = &session.principal.workspace;
    let parsed = rollback::named(&app, &name)?;
    let view = connector(&app, workspace, &parsed);
    let view = view.ok_or_else(|| Problem::not_found(format_args!("connector {name}")))?;
    let query = DecisionQuery {
        connector: Some(parsed),
        limit: DECISIONS_SHOWN,
        ..DecisionQuery::default()
    };
    let decisions = app.plugins.decisions.list(workspace, &query);
    let decisions = decisions.map_err(|error| Problem::internal("listing decisions", &error))?;
    let frame = Frame::of(&app, &session, Section::Connectors, now()).titled(name);
    page(&VersionsPage::new(frame.flash(flash.get()), &view, &decisions))
}

pub(super) async fn roll_back(
    State(app): State<App>,
    Path(name): Path<String>,
    ChangeOf(session, form): ChangeOf<RollBack>,
) -> Result<Redirect, ProblemPage> {
    let digest = digest(&form.digest)?;
    rollback::roll_back(&app, &session.principal, &name, Some(digest)).await?;
    Ok(back_to(&name, Flash::RolledBack))
}

pub(super) async fn release(
    State(app): State<App>,
    Path(name): Path<String>,
    Change(session): Change,
) -> Result<Redirect, ProblemPage> {
    rollback::release(&app, &session.principal, &name).await?;
    Ok(back_to(&name, Flash::RollbackEnded))
}

/// The name was found, so it holds nothing that an address would not.
fn back_to(name: &str, flash: Flash) -> Redirect {
    Redirect::to(&format!("/panel/connectors/{name}?flash={}", flash.code()))
}

/// A digest as a page of ours writes it.
pub(super) fn digest(text: &str) -> Result<Digest, Problem> {
    let bad = |_| Problem::new(StatusCode::BAD_REQUEST, "bad-digest", "A digest is 64 hex digits.");
    text.parse().map_err(bad)
}

impl VersionsPage {
    pub(super) fn new(frame: Frame, view: &ConnectorVersions, decisions: &[Decision]) -> Self {
        let now = frame.now;
        Self {
            name: view.name.to_string(),
            file: view.file.clone(),
            held: view.held.as_ref().map(|held| HeldRow {
                digest: held.digest.short(),
                by: held.by.clone(),
                at: Moment::new(held.at, now),
            }),
            problems: view.problems.iter().map(ProblemRow::new).collect(),
            versions: view
                .versions
                .iter()
                .map(|version| VersionRow::new(version, now))
                .collect(),
            decisions: decisions
                .iter()
                .map(|decision| DecisionRow::new(decision, now))
                .collect(),
            frame,
        }
    }
}

impl VersionRow {
    fn new(view: &VersionView, now: Timestamp) -> Self {
        Self {
            version: view.version.clone(),
            digest: view.digest.to_string(),
            badge: view.state.into(),
            reason: view.reason.clone(),
            file: view.file.clone(),
            size: units::bytes(view.bytes),
            first_seen: Moment::new(view.first_seen, now),
            signer: view.signer.clone(),
            connections: view.connections.iter().map(ToString::to_string).collect(),
            may_roll_back: view.state == VersionState::Kept,
        }
    }

    /// The part of the digest that people compare.
    fn short_digest(&self) -> &str {
        self.digest.get(..12).unwrap_or(&self.digest)
    }
}

impl DecisionRow {
    fn new(decision: &Decision, now: Timestamp) -> Self {
        let reason = decision.reason.iter().cloned();
        Self {
            at: Moment::new(decision.at, now),
            what: match decision.kind {
                DecisionKind::Granted => "granted",
                DecisionKind::Refused => "refused",
                DecisionKind::RolledBack => "rolled back",
                DecisionKind::Released => "rollback ended",
                DecisionKind::Quarantined => "quarantined",
                DecisionKind::Began => "began by itself",
            },
            by: decision.by.clone(),
            connection: decision.connection.as_ref().map(ToString::to_string),
            digest: decision.digest.map(|digest| digest.short()),
            details: decision.difference.iter().cloned().chain(reason).collect(),
        }
    }
}

impl From<VersionState> for Badge {
    fn from(state: VersionState) -> Self {
        let (tone, word) = match state {
            VersionState::Current => (Tone::Good, "current"),
            VersionState::HeldBack => (Tone::Warning, "rolled back from"),
            VersionState::Kept => (Tone::Quiet, "kept"),
            VersionState::Unusable => (Tone::Bad, "cannot run"),
        };
        Self { tone, word }
    }
}
