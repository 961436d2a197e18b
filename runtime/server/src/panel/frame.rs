//! What every page of a signed-in person shows around its content.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use cofferdam_domain::Timestamp;

use super::flash::Flash;
use super::problem_page::ProblemPage;
use super::sessions::Session;
use super::units::clock;
use crate::app::App;
use crate::problem::Problem;

/// The parts of the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Connections,
    Connectors,
    Events,
    DeadLetters,
}

impl Section {
    pub(super) const ALL: [Self; 4] = [Self::Connections, Self::Connectors, Self::Events, Self::DeadLetters];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Connections => "Connections",
            Self::Connectors => "Connectors",
            Self::Events => "Events",
            Self::DeadLetters => "Dead letters",
        }
    }

    /// The last part of its path.
    pub(super) const fn slug(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Connectors => "connectors",
            Self::Events => "events",
            Self::DeadLetters => "dead-letters",
        }
    }
}

/// Around the content.
pub(super) struct Frame {
    pub(super) title: String,
    pub(super) section: Section,
    pub(super) who: String,
    pub(super) workspace: String,
    pub(super) role: &'static str,
    /// Whether there are any buttons.
    pub(super) may_change: bool,
    pub(super) form_token: String,
    /// Dead letters of the workspace.
    pub(super) dead: u64,
    pub(super) flash: Option<Flash>,
    pub(super) now: Timestamp,
}

impl Frame {
    pub(super) fn new(session: &Session, section: Section, dead: u64, now: Timestamp) -> Self {
        Self {
            title: section.title().to_owned(),
            section,
            who: session.principal.name.clone(),
            workspace: session.principal.workspace.to_string(),
            role: session.principal.role.as_str(),
            may_change: session.may_change(),
            form_token: session.form_token.clone(),
            dead,
            flash: None,
            now,
        }
    }

    /// With the counts of the running server.
    pub(super) fn of(app: &App, session: &Session, section: Section, now: Timestamp) -> Self {
        let workspace = &session.principal.workspace;
        // Those of deleted connections too.
        let dead = app.queue.depths(workspace).iter().map(|(_, depth)| depth.dead).sum();
        Self::new(session, section, dead, now)
    }

    #[must_use]
    pub(super) fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    #[must_use]
    pub(super) fn flash(mut self, flash: Option<Flash>) -> Self {
        self.flash = flash;
        self
    }

    /// When the page was made.
    pub(super) fn made_at(&self) -> String {
        let time = clock(self.now);
        time.split('.').next().unwrap_or_default().to_owned()
    }
}

/// The page as an answer.
pub(super) fn page(template: &impl Template) -> Result<Response, ProblemPage> {
    match template.render() {
        Ok(html) => Ok(Html(html).into_response()),
        Err(error) => Err(Problem::internal("making the page", &error).into()),
    }
}
