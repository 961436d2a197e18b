//! One version of its connector for one connection: what it asks for beyond what was granted, and the decision about it. What
//! is decided is on the page that it is decided on.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{Redirect, Response};
use serde::Deserialize;

use super::badge::{Badge, Tone};
use super::connections;
use super::flash::Flash;
use super::frame::{Frame, Section, page};
use super::guard::{Change, ChangeOf, SignedIn};
use super::problem_page::ProblemPage;
use super::units::Moment;
use super::versions::digest;
use crate::admin::{Quarantined, RunsView, VersionFor, Why, actions};
use crate::app::App;
use crate::clock::now;
use crate::plugins::views::version_for;
use crate::plugins::{grants, rollback};

#[derive(Template)]
#[template(path = "panel/grant.html")]
pub(super) struct GrantPage {
    pub(super) frame: Frame,
    pub(super) connection: String,
    pub(super) connector: String,
    pub(super) version: String,
    pub(super) digest: String,
    pub(super) file: String,
    pub(super) first_seen: Moment,
    pub(super) signer: Option<String>,
    /// Why it does not run; none if it may.
    pub(super) why: Option<&'static str>,
    /// What it asks for beyond what was granted.
    pub(super) more: Vec<String>,
    /// All that it asks for.
    pub(super) asks: Vec<String>,
}

/// Which code a connection runs, on its page.
pub(super) struct CodeRow {
    pub(super) runs: Option<RunningRow>,
    pub(super) waiting: Option<WaitingRow>,
    pub(super) quarantined: Vec<QuarantinedRow>,
}

/// What runs.
pub(super) struct RunningRow {
    pub(super) version: String,
    pub(super) digest: String,
}

/// The current version, where another one runs.
pub(super) struct WaitingRow {
    pub(super) badge: Badge,
    pub(super) version: String,
    pub(super) digest: String,
    pub(super) short_digest: String,
    pub(super) why: &'static str,
    pub(super) more: Vec<String>,
}

/// A version that kept faulting.
pub(super) struct QuarantinedRow {
    pub(super) digest: String,
    pub(super) short_digest: String,
    pub(super) at: Moment,
    pub(super) faults: u32,
    pub(super) reason: String,
}

/// Why somebody refuses it.
#[derive(Deserialize)]
pub(super) struct Refuse {
    #[serde(default)]
    reason: String,
}

pub(super) async fn show(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path((name, text)): Path<(String, String)>,
) -> Result<Response, ProblemPage> {
    let connection = actions::connection(&app, &session.principal.workspace, &name)?;
    let digest = digest(&text)?;
    let view = version_for(&app, &connection, digest);
    let view = view.ok_or_else(|| rollback::not_kept(&connection.spec.connector, digest))?;
    let frame = Frame::of(&app, &session, Section::Connections, now()).titled(format!("{name}: {}", digest.short()));
    page(&GrantPage::new(frame, name, &view))
}

pub(super) async fn grant(
    State(app): State<App>,
    Path((name, text)): Path<(String, String)>,
    Change(session): Change,
) -> Result<Redirect, ProblemPage> {
    grants::grant(&app, &session.principal, &name, digest(&text)?).await?;
    Ok(back_to(&name, Flash::Granted))
}

pub(super) async fn refuse(
    State(app): State<App>,
    Path((name, text)): Path<(String, String)>,
    ChangeOf(session, form): ChangeOf<Refuse>,
) -> Result<Redirect, ProblemPage> {
    let reason = Some(form.reason.trim().to_owned()).filter(|reason| !reason.is_empty());
    grants::refuse(&app, &session.principal, &name, digest(&text)?, reason).await?;
    Ok(back_to(&name, Flash::Refused))
}

/// The name was found, so it holds nothing that an address would not.
fn back_to(name: &str, flash: Flash) -> Redirect {
    Redirect::to(&format!("{}/{name}?flash={}", connections::PATH, flash.code()))
}

impl GrantPage {
    pub(super) fn new(frame: Frame, connection: String, view: &VersionFor) -> Self {
        let version = &view.version;
        Self {
            connection,
            connector: view.connector.to_string(),
            version: version.version.clone(),
            digest: version.digest.to_string(),
            file: version.file.clone(),
            first_seen: Moment::new(version.first_seen, frame.now),
            signer: version.signer.clone(),
            why: view.why.map(Why::in_words),
            more: view.difference.clone(),
            asks: version.asks.clone(),
            frame,
        }
    }
}

impl CodeRow {
    pub(super) fn new(view: &RunsView, now: cofferdam_domain::Timestamp) -> Self {
        Self {
            runs: view.digest.map(|digest| RunningRow {
                version: view.version.clone().unwrap_or_default(),
                digest: digest.short(),
            }),
            waiting: view.waiting.as_ref().map(|waiting| WaitingRow {
                badge: badge(waiting.why),
                version: waiting.version.clone(),
                digest: waiting.digest.to_string(),
                short_digest: waiting.digest.short(),
                why: waiting.why.in_words(),
                more: waiting.difference.clone(),
            }),
            quarantined: view.quarantined.iter().map(|it| QuarantinedRow::new(it, now)).collect(),
        }
    }
}

impl QuarantinedRow {
    fn new(quarantined: &Quarantined, now: cofferdam_domain::Timestamp) -> Self {
        Self {
            digest: quarantined.digest.to_string(),
            short_digest: quarantined.digest.short(),
            at: Moment::new(quarantined.at, now),
            faults: quarantined.faults,
            reason: quarantined.reason.clone(),
        }
    }
}

const fn badge(why: Why) -> Badge {
    match why {
        Why::AsksForMore | Why::NotGranted | Why::OtherSigner => Badge {
            tone: Tone::Warning,
            word: "waits for a decision",
        },
        Why::Quarantined => Badge {
            tone: Tone::Bad,
            word: "in quarantine",
        },
        Why::Lacks | Why::Unusable => Badge {
            tone: Tone::Bad,
            word: "cannot run",
        },
        Why::Refused => Badge {
            tone: Tone::Quiet,
            word: "refused",
        },
    }
}
