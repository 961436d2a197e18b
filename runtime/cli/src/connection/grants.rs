//! `cofferdam connection grant|refuse|grants`: which versions of its connector a connection may run.

use cofferdam_domain::{ConnectionName, Digest};
use cofferdam_server::admin::views::ConnectionView;
use cofferdam_server::admin::{Decision, DecisionKind, DecisionsView, Why};

use super::standing;
use crate::api::{ApiArguments, Request};
use crate::output::Output;
use crate::paint::Paint;
use crate::render::{Table, printable};

pub(super) async fn decide(
    arguments: &ApiArguments,
    name: &ConnectionName,
    action: &str,
    digest: Digest,
    reason: Option<String>,
    output: &Output,
) -> anyhow::Result<()> {
    let body = serde_json::json!({ "digest": digest, "reason": reason });
    let request =
        Request::post(&["v1", "connections", name.as_str(), action]).body("application/json", body.to_string());
    let connection: ConnectionView = arguments.client()?.send(request).await?;
    output.show(&connection, |paint| standing(&connection, paint))
}

pub(super) async fn list(
    arguments: &ApiArguments,
    name: Option<&ConnectionName>,
    limit: usize,
    output: &Output,
) -> anyhow::Result<()> {
    let request = Request::get(&["v1", "grants"])
        .query("connection", name)
        .query("limit", Some(limit));
    let view: DecisionsView = arguments.client()?.send(request).await?;
    output.show(&view, |paint| told(&view.decisions, paint))
}

/// Which version of its connector a connection runs, and what of it waits for a person; digests whole, as `grant` takes them.
pub(super) fn code_in_words(view: &ConnectionView) -> Vec<(&'static str, String)> {
    let runs = &view.runs;
    let mut lines = Vec::new();
    if let Some(digest) = runs.digest {
        let version = runs.version.as_deref().unwrap_or_default();
        let granted = if view.connection.granted == Some(digest) {
            ""
        } else {
            ", which asks for no more than was granted or was granted earlier"
        };
        lines.push(("version", format!("{} {digest}{granted}", printable(version))));
    }
    if let Some(granted) = view.connection.granted.filter(|granted| runs.digest != Some(*granted)) {
        lines.push(("granted last", granted.to_string()));
    }
    if let Some(waiting) = &runs.waiting {
        let (version, digest, why) = (printable(&waiting.version), waiting.digest, waiting.why.in_words());
        lines.push(("not run", format!("{version} {digest}: it {why}")));
        let more = waiting.difference.iter();
        lines.extend(more.map(|line| ("asks more", printable(line).into_owned())));
    }
    for quarantined in &runs.quarantined {
        let (digest, faults, reason) = (quarantined.digest, quarantined.faults, printable(&quarantined.reason));
        lines.push(("quarantine", format!("{digest} after {faults} faults: {reason}")));
    }
    lines
}

/// What of its connector's versions an applied file left as it was, and what a person does who means to let it run.
pub(super) fn left(view: &ConnectionView) -> Option<String> {
    let name = &view.connection.spec.name;
    let waiting = view.runs.waiting.as_ref()?;
    let (version, digest, why) = (printable(&waiting.version), waiting.digest, waiting.why);
    Some(format!(
        "  granted is {}; version {version} ({digest}) {}: {}",
        view.connection
            .granted
            .map_or_else(|| "nothing".to_owned(), |granted| granted.to_string()),
        why.in_words(),
        match why {
            Why::AsksForMore | Why::NotGranted | Why::OtherSigner | Why::Refused | Why::Quarantined =>
                format!("cofferdam connection grant {name} {digest} lets it run, and this file does not"),
            Why::Lacks | Why::Unusable => why.advice().to_owned(),
        }
    ))
}

fn told(decisions: &[Decision], paint: Paint) -> String {
    if decisions.is_empty() {
        return "Nothing was decided yet.".to_owned();
    }
    let mut table = Table::new(["AT", "WHAT", "BY", "CONNECTOR", "CONNECTION", "VERSION"]);
    for decision in decisions {
        let connection = decision.connection.as_ref();
        table.row([
            decision.at.to_string(),
            kind(decision.kind).to_owned(),
            decision.by.clone(),
            decision.connector.to_string(),
            connection.map(ToString::to_string).unwrap_or_default(),
            decision.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        ]);
    }
    let mut text = table.render(paint);
    for decision in decisions {
        let lines = decision.difference.iter().chain(&decision.reason);
        let said: Vec<_> = lines.map(|line| printable(line).into_owned()).collect();
        if !said.is_empty() {
            text.push_str(&paint.dim(&format!("{}: {}\n", decision.at, said.join("; "))));
        }
    }
    text
}

const fn kind(kind: DecisionKind) -> &'static str {
    match kind {
        DecisionKind::Granted => "granted",
        DecisionKind::Refused => "refused",
        DecisionKind::RolledBack => "rolled back",
        DecisionKind::Released => "released",
        DecisionKind::Quarantined => "quarantined",
        DecisionKind::Began => "began by itself",
    }
}
