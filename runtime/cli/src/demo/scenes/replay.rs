//! The receiver refuses the push; a person looks, and has it tried again.

use std::collections::BTreeSet;

use anyhow::Context;
use cofferdam_domain::{Delivery, DeliveryState, FailureClass};
use cofferdam_server::admin::views::DeadLetterPage;

use super::super::connections::{AUDIT, SLACK};
use super::super::narrator::Narrator;
use super::super::stage::Stage;
use super::super::story::Story;
use super::receive::Sent;
use super::{delivery, is_delivered, outcomes, settled};
use crate::api::Request;

const LETTERS: &[&str] = &["v1", "dead-letters"];

pub(super) async fn play(stage: &Stage, narrator: &mut Narrator, story: &mut Story, sent: &Sent) -> anyhow::Result<()> {
    narrator.step("The receiver answers 422 to the push: a dead letter, until a person says otherwise")?;
    settled(stage, "the push to be settled", &sent.push).await?;
    let letters: DeadLetterPage = stage.api.send(Request::get(LETTERS)).await?;
    let letters = letters.letters;
    let letter = letters.first().context("there is no dead letter to replay")?;
    let dead = &letter.delivery;
    let is_the_push = letters.len() == 1
        && dead.connection.as_str() == AUDIT
        && dead.correlation_id == sent.push
        && matches!(
            dead.state,
            DeliveryState::Dead {
                class: FailureClass::Schema,
                ..
            }
        );
    let why = dead
        .last_failure
        .as_ref()
        .map_or("no reason", |failure| failure.message.as_str());
    narrator.check(
        "dead-letter",
        "the push is the one dead letter, with class and cause",
        is_the_push,
        &format!("schema: {why}"),
    )?;

    narrator.note("the receiver is put right; a person replays the dead letter through the API")?;
    let id = dead.id.to_string();
    let replayed: Delivery = stage
        .api
        .send(Request::post(&["v1", "dead-letters", &id, "replay"]))
        .await?;
    let push = settled(stage, "the replayed push to be settled", &sent.push).await?;
    let audit = delivery(&push, AUDIT).context("the replayed delivery is gone")?;
    let seen = outcomes(audit);
    let done = is_delivered(&audit.delivery) && audit.delivery.id == replayed.id && seen == ["schema", "delivered"];
    narrator.check(
        "replay-delivers",
        "replayed, it is delivered under the same correlation id",
        done,
        &seen.join(", "),
    )?;

    let webhooks = stage.receiver.calls();
    let tries: Vec<_> = webhooks.iter().filter(|call| call.kind == "com.github.push").collect();
    let same = tries.len() == 2
        && tries
            .iter()
            .all(|call| call.id == audit.delivery.idempotency_key && call.is_verified);
    narrator.check(
        "replay-keeps-its-id",
        "both tries had the same webhook-id, and verified signatures",
        same,
        &audit.delivery.idempotency_key,
    )?;
    let left: DeadLetterPage = stage.api.send(Request::get(LETTERS)).await?;
    let left = left.letters;
    narrator.check("no-dead-letters-left", "no dead letter is left", left.is_empty(), "")?;
    check_books(
        stage,
        narrator,
        delivery(&push, SLACK).is_some_and(|it| is_delivered(&it.delivery)),
    )?;
    story.push_trace = Some(push);
    Ok(())
}

/// The stand-ins' own books, at the end: one effect per event, no more and no less.
fn check_books(stage: &Stage, narrator: &mut Narrator, push_is_posted: bool) -> anyhow::Result<()> {
    let calls = stage.slack.calls();
    let posted: Vec<_> = calls.iter().filter(|call| call.posted.is_some()).collect();
    let keys: BTreeSet<_> = posted.iter().map(|call| call.key.as_str()).collect();
    let one_each = posted.len() == 3 && keys.len() == 3 && push_is_posted;
    let seen = format!("{} messages from {} requests", posted.len(), calls.len());
    narrator.check(
        "one-message-per-event",
        "Slack has exactly one message per event",
        one_each,
        &seen,
    )?;
    let webhooks = stage.receiver.calls();
    let taken: Vec<_> = webhooks.iter().filter(|call| call.answered.is_success()).collect();
    let ids: BTreeSet<_> = taken.iter().map(|call| call.id.as_str()).collect();
    let seen = format!("{} taken of {} requests", taken.len(), webhooks.len());
    narrator.check(
        "one-webhook-per-event",
        "the receiver has taken exactly one webhook per event",
        taken.len() == 3 && ids.len() == 3,
        &seen,
    )
}
