//! Deleting a connection: what it means is shown first, and then done.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{Redirect, Response};

use super::connections;
use super::flash::Flash;
use super::frame::{Frame, Section, page};
use super::guard::{Change, SignedIn};
use super::problem_page::ProblemPage;
use crate::admin::actions;
use crate::admin::deletion::{self, Remains};
use crate::app::App;
use crate::clock::now;
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "panel/connection_delete.html")]
pub(super) struct DeletePage {
    pub(super) frame: Frame,
    pub(super) name: String,
    pub(super) waiting: u64,
}

pub(super) async fn confirm(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path(name): Path<String>,
) -> Result<Response, ProblemPage> {
    if !session.may_change() {
        return Err(Problem::forbidden("admin").into());
    }
    let workspace = &session.principal.workspace;
    let connection = actions::connection(&app, workspace, &name)?;
    let depth = app.queue.depth(workspace, &connection.spec.name);
    page(&DeletePage {
        frame: Frame::of(&app, &session, Section::Connections, now()).titled(format!("Delete {name}")),
        name,
        waiting: depth.pending + depth.in_flight,
    })
}

/// Who sends the form has read on its page what becomes of what waits.
pub(super) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
    Change(session): Change,
) -> Result<Redirect, ProblemPage> {
    deletion::deleted(&app, &session.principal, &name, Remains::DeadLetter).await?;
    let to = format!("{}?flash={}", connections::PATH, Flash::Deleted.code());
    Ok(Redirect::to(&to))
}
