//! Slack has trouble; the issue gets through, and nobody else notices.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use cofferdam_domain::{DeliveryState, ExchangeResult, Outcome};
use cofferdam_server::admin::views::{DeliveryTrace, TraceView};
use reqwest::StatusCode;

use super::super::connections::{AUDIT, SLACK};
use super::super::narrator::Narrator;
use super::super::slack::{Call, RETRY_AFTER_S};
use super::super::stage::Stage;
use super::super::story::Story;
use super::super::wait::millis;
use super::receive::Sent;
use super::{delivery, is_delivered, outcomes, settled};

/// What the stand-in's trouble makes of the four tries.
const EXPECTED: [&str; 4] = ["dependency", "dependency", "rate-limited", "delivered"];

pub(super) async fn play(stage: &Stage, narrator: &mut Narrator, story: &mut Story, sent: &Sent) -> anyhow::Result<()> {
    narrator.step("Slack answers 503, 503, and 429 with Retry-After: 1; then it works")?;
    narrator.note("waiting until everything is settled")?;
    let issue = settled(stage, "the issue to be settled", &sent.issue).await?;
    let pull_request = settled(stage, "the pull request to be settled", &sent.pull_request).await?;
    let calls = stage.slack.calls();
    let tries: Vec<&Call> = calls.iter().filter(|call| call.is_issue).collect();
    let owed = delivery(&issue, SLACK).context("nothing is owed to Slack")?;

    let seen = outcomes(owed);
    narrator.check(
        "retried-until-delivered",
        "the issue's message is tried until it is posted",
        seen == EXPECTED,
        &seen.join(", "),
    )?;
    check_wait(narrator, story, owed, &tries)?;
    let key = owed.delivery.idempotency_key.as_str();
    let same = tries.len() == EXPECTED.len() && tries.iter().all(|call| call.key == key);
    narrator.check(
        "one-idempotency-key",
        "every try carried the same Idempotency-Key",
        same,
        key,
    )?;
    check_hashes(narrator, owed, &tries)?;
    check_receipt(narrator, owed, &tries)?;
    let right = calls.iter().filter(|call| call.token_is_right).count();
    let seen = format!("{right} of {} requests", calls.len());
    narrator.check(
        "bearer-arrived",
        "Slack got the bot token, which the connector never had",
        right == calls.len() && right > 0,
        &seen,
    )?;
    check_neighbours(stage, narrator, story, sent, (&pull_request, &tries))?;
    story.issue_trace = Some(issue);
    Ok(())
}

/// By the stand-in's own clock, and by the record.
fn check_wait(narrator: &mut Narrator, story: &mut Story, owed: &DeliveryTrace, tries: &[&Call]) -> anyhow::Result<()> {
    let asked = Duration::from_secs(RETRY_AFTER_S);
    let told_off = tries
        .iter()
        .position(|call| call.answered == StatusCode::TOO_MANY_REQUESTS);
    let pair = told_off.and_then(|at| Some((tries.get(at)?, tries.get(at + 1)?)));
    let gap = pair.map(|(told_off, next)| next.at.duration_since(told_off.at));
    story.timings.wait_after_429_ms = gap.map(millis);
    let seen = gap.map_or("no try after a 429".to_owned(), |gap| {
        format!("{} ms, by Slack's clock", gap.as_millis())
    });
    narrator.check(
        "retry-after-honoured",
        "after the 429 it waited at least the second asked for",
        gap.is_some_and(|gap| gap >= asked),
        &seen,
    )?;
    let uncharged =
        owed.attempts.iter().filter_map(|attempt| attempt.ended.as_ref()).any(
            |end| matches!(end.outcome, Outcome::Retry { due_at, charged: false } if due_at.since(end.at) >= asked),
        );
    narrator.check(
        "waiting-is-free",
        "that wait was not charged as an attempt",
        uncharged,
        "",
    )
}

/// What left is what arrived.
fn check_hashes(narrator: &mut Narrator, owed: &DeliveryTrace, tries: &[&Call]) -> anyhow::Result<()> {
    let trails = owed
        .attempts
        .iter()
        .filter_map(|attempt| attempt.ended.as_ref())
        .flat_map(|end| &end.trail);
    let recorded: Vec<_> = trails
        .map(|exchange| {
            let status = match &exchange.result {
                ExchangeResult::Answered { status, .. } => *status,
                ExchangeResult::InFlight { .. }
                | ExchangeResult::Refused { .. }
                | ExchangeResult::RateLimited { .. }
                | ExchangeResult::TimedOut { .. }
                | ExchangeResult::Unreachable { .. }
                | ExchangeResult::Interrupted { .. }
                | ExchangeResult::ResponseTooLarge { .. }
                | ExchangeResult::ProtocolError { .. } => 0,
            };
            (exchange.request_hash, status)
        })
        .collect();
    let arrived: Vec<_> = tries
        .iter()
        .map(|call| (call.body_hash, call.answered.as_u16()))
        .collect();
    let seen = arrived
        .first()
        .map_or(String::new(), |(hash, _)| format!("sha256 {}", hash.short()));
    let agree = !arrived.is_empty() && recorded == arrived;
    narrator.check(
        "record-agrees",
        "the record has the hash and status of every request as Slack saw it",
        agree,
        &seen,
    )
}

fn check_receipt(narrator: &mut Narrator, owed: &DeliveryTrace, tries: &[&Call]) -> anyhow::Result<()> {
    let posted = tries.last().and_then(|call| call.posted.as_deref());
    let receipt = match &owed.delivery.state {
        DeliveryState::Delivered { receipt, .. } => receipt.external_id.as_deref(),
        DeliveryState::Pending { .. }
        | DeliveryState::Leased { .. }
        | DeliveryState::Dead { .. }
        | DeliveryState::Discarded { .. } => None,
    };
    let seen = format!("receipt {}", receipt.unwrap_or("none"));
    narrator.check(
        "receipt-names-message",
        "the receipt names the message that Slack posted",
        posted.is_some() && receipt == posted,
        &seen,
    )
}

/// The other connection and the other event went on meanwhile.
fn check_neighbours(
    stage: &Stage,
    narrator: &mut Narrator,
    story: &mut Story,
    sent: &Sent,
    (pull_request, tries): (&TraceView, &[&Call]),
) -> anyhow::Result<()> {
    let webhooks = stage.receiver.calls();
    let audited = webhooks
        .iter()
        .find(|call| call.kind == "com.github.issues.opened")
        .map(|call| call.at);
    let posted = tries.iter().find(|call| call.posted.is_some()).map(|call| call.at);
    let after = |at: std::time::Instant| millis(at.saturating_duration_since(sent.issue_at));
    story.timings.issue_to_webhook_ms = audited.map(after);
    story.timings.issue_to_slack_ms = posted.map(after);
    let before = matches!((audited, posted), (Some(audited), Some(posted)) if audited < posted);
    let seen = format!(
        "webhook after {} ms, Slack after {} ms",
        audited.map_or(0, after),
        posted.map_or(0, after)
    );
    narrator.check(
        "neighbour-unharmed",
        "the other connection had the issue long before",
        before,
        &seen,
    )?;
    let both = [SLACK, AUDIT]
        .iter()
        .all(|name| delivery(pull_request, name).is_some_and(|it| is_delivered(&it.delivery)));
    narrator.check("pull-request-delivered", "the pull request reached both", both, "")?;
    let verified = webhooks.iter().filter(|call| call.is_verified).count();
    let seen = format!("{verified} of {} requests", webhooks.len());
    let ids: BTreeSet<_> = webhooks.iter().map(|call| call.id.as_str()).collect();
    let all = verified == webhooks.len() && ids.len() >= 2 && !ids.contains("");
    narrator.check(
        "signatures-verify",
        "the receiver verified every signature with code of its own",
        all,
        &seen,
    )
}
