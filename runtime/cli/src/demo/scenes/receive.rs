//! GitHub sends webhooks; some are not what they should be.

use std::time::Instant;

use anyhow::ensure;
use cofferdam_domain::{CorrelationId, Event, EventId};
use reqwest::StatusCode;

use super::super::github::{self, Webhook};
use super::super::narrator::Narrator;
use super::super::stage::Stage;
use super::super::story::Story;
use crate::api::Request;

/// What was accepted.
pub(super) struct Sent {
    pub(super) issue: CorrelationId,
    pub(super) pull_request: CorrelationId,
    pub(super) push: CorrelationId,
    /// When the issue's request was answered.
    pub(super) issue_at: Instant,
}

pub(super) async fn play(stage: &Stage, narrator: &mut Narrator, story: &mut Story) -> anyhow::Result<Sent> {
    narrator.step("GitHub sends an issue, a pull request and a push")?;
    let secret = stage.secrets.github_secret.as_str();
    let issue = github::issue_opened();
    let (issue_id, issue_correlation) = accept(stage, narrator, &issue, secret).await?;
    let issue_at = Instant::now();
    let (_, pull_request) = accept(stage, narrator, &github::pull_request_opened(), secret).await?;
    let (_, push) = accept(stage, narrator, &github::push(), secret).await?;
    story.correlation_ids = vec![issue_correlation.clone(), pull_request.clone(), push.clone()];
    narrator.check(
        "accepted",
        "each is answered 202 once it is durable, with what it owes to two connections",
        true,
        &format!("correlation ids {issue_correlation}, {pull_request}, {push}"),
    )?;

    let forged = Webhook {
        delivery: "3b1f7a52-0d6e-11f0-9cd2-0242ac12ffff",
        ..github::issue_opened()
    };
    let (status, _) = stage.send(&forged, &forged.signature("not the secret")).await?;
    let refused = status == StatusCode::UNAUTHORIZED;
    narrator.check(
        "forgery-refused",
        "a request signed with another secret is refused",
        refused,
        &status.to_string(),
    )?;

    let (status, again) = stage.send(&issue, &issue.signature(secret)).await?;
    let same = again
        .first()
        .is_some_and(|event| event.duplicate && event.id == issue_id && event.deliveries == 0);
    let seen = format!("{status}, the first one's event id, nothing new owed");
    let seen = if same { seen } else { format!("{status}, {again:?}") };
    narrator.check(
        "duplicate-recognised",
        "the issue sent again is recognised as the same",
        same && again.len() == 1 && status == StatusCode::ACCEPTED,
        &seen,
    )?;

    let events: Vec<Event> = stage.api.send(Request::get(&["v1", "events"])).await?;
    let seen: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    narrator.check(
        "three-events",
        "three events were accepted in all",
        events.len() == 3,
        &seen.join(", "),
    )?;
    Ok(Sent {
        issue: issue_correlation,
        pull_request,
        push,
        issue_at,
    })
}

/// Sends a request that must be accepted: without it there is nothing to show.
async fn accept(
    stage: &Stage,
    narrator: &mut Narrator,
    webhook: &Webhook,
    secret: &str,
) -> anyhow::Result<(EventId, CorrelationId)> {
    let (status, accepted) = stage.send(webhook, &webhook.signature(secret)).await?;
    narrator.note(&format!(
        "POST /hooks/github, X-GitHub-Event: {} → {status}",
        webhook.event
    ))?;
    match accepted.as_slice() {
        [event] if status == StatusCode::ACCEPTED => {
            ensure!(
                !event.duplicate && event.deliveries == 2,
                "{} was accepted, but {event:?}",
                webhook.event
            );
            Ok((event.id, event.correlation_id.clone()))
        }
        other => anyhow::bail!("{} was not accepted: {status}, {other:?}", webhook.event),
    }
}
