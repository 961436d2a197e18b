//! `cofferdam connection grant|refuse|grants`: which versions of its connector a connection may run.

use cofferdam_domain::{ConnectionName, Digest};
use cofferdam_server::admin::views::ConnectionView;
use cofferdam_server::admin::{Decision, DecisionKind, DecisionsView};

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
            decision.digest.map(|digest| digest.short()).unwrap_or_default(),
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
    }
}
