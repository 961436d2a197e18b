//! `cofferdam plugin versions|rollback|release`: the versions of a connector that a server keeps.

use cofferdam_domain::{ConnectorName, Digest};
use cofferdam_server::admin::{ConnectorVersions, VersionState};

use crate::api::{ApiArguments, Request};
use crate::output::Output;
use crate::paint::Paint;
use crate::render::{Table, printable};

pub(super) async fn show(arguments: &ApiArguments, name: &ConnectorName, output: &Output) -> anyhow::Result<()> {
    let request = Request::get(&["v1", "connectors", name.as_str()]);
    send(arguments, request, output).await
}

pub(super) async fn roll_back(
    arguments: &ApiArguments,
    name: &ConnectorName,
    to: Option<Digest>,
    output: &Output,
) -> anyhow::Result<()> {
    let body = serde_json::json!({ "digest": to });
    let request =
        Request::post(&["v1", "connectors", name.as_str(), "rollback"]).body("application/json", body.to_string());
    send(arguments, request, output).await
}

pub(super) async fn release(arguments: &ApiArguments, name: &ConnectorName, output: &Output) -> anyhow::Result<()> {
    let request = Request::post(&["v1", "connectors", name.as_str(), "release"]);
    send(arguments, request, output).await
}

async fn send(arguments: &ApiArguments, request: Request, output: &Output) -> anyhow::Result<()> {
    let view: ConnectorVersions = arguments.client()?.send(request).await?;
    output.show(&view, |paint| told(&view, paint))
}

/// One line for a list: what is kept of a connector that does not run.
pub(super) fn absent(view: &ConnectorVersions, paint: Paint) -> String {
    let why = match &view.file {
        Some(file) => format!("is not loaded from {}", printable(file)),
        None => "has no file any more".to_owned(),
    };
    let kept = view.versions.len();
    format!(
        "{} {}\n  versions kept: {kept}; cofferdam plugin versions {}\n",
        paint.bold(view.name.as_str()),
        paint.warn(&why),
        view.name
    )
}

fn told(view: &ConnectorVersions, paint: Paint) -> String {
    let mut table = Table::new(["VERSION", "DIGEST", "STATE", "FIRST SEEN", "FILE", "RUN BY"]);
    for version in &view.versions {
        let runs: Vec<_> = version.connections.iter().map(ToString::to_string).collect();
        table.row([
            version.version.clone(),
            version.digest.to_string(),
            state(version.state).to_owned(),
            version.first_seen.to_string(),
            version.file.clone(),
            runs.join(", "),
        ]);
    }
    let mut text = format!("{}\n{}", paint.bold(view.name.as_str()), table.render(paint));
    if let Some(held) = &view.held {
        let line = format!(
            "rolled back by {} at {}; ends with a file of another version, or with cofferdam plugin release {}\n",
            held.by, held.at, view.name
        );
        text.push_str(&paint.warn(&line));
    }
    for version in &view.versions {
        let asks: Vec<_> = version.asks.iter().map(|line| printable(line)).collect();
        let asks = if asks.is_empty() {
            "nothing".to_owned()
        } else {
            asks.join("; ")
        };
        text.push_str(&format!("{} asks for: {asks}\n", version.digest.short()));
        if let Some(reason) = &version.reason {
            text.push_str(&paint.bad(&format!("{}: {}\n", version.digest.short(), printable(reason))));
        }
    }
    for problem in &view.problems {
        let file = problem.path.display().to_string();
        text.push_str(&paint.bad(&format!("{}: {}\n", printable(&file), printable(&problem.reason))));
    }
    text
}

const fn state(state: VersionState) -> &'static str {
    match state {
        VersionState::Current => "current",
        VersionState::HeldBack => "held back",
        VersionState::Kept => "kept",
        VersionState::Unusable => "unusable",
    }
}
