//! The demo, scene by scene.

mod connect;
mod deliver;
mod receive;
mod replay;
mod search;

use cofferdam_domain::{CorrelationId, Delivery, DeliveryState};
use cofferdam_server::admin::views::{DeliveryTrace, TraceView};

use super::connections::{AUDIT, SLACK};
use super::narrator::Narrator;
use super::stage::Stage;
use super::story::Story;
use super::wait::{millis, until};

/// Plays every scene. A claim that does not hold goes into the narrator's book, and the demo goes on; an error ends it.
pub(super) async fn play(stage: &Stage, narrator: &mut Narrator, story: &mut Story) -> anyhow::Result<()> {
    story.timings.server_start_ms = millis(stage.start);
    connect::play(stage, narrator).await?;
    let sent = receive::play(stage, narrator, story).await?;
    deliver::play(stage, narrator, story, &sent).await?;
    replay::play(stage, narrator, story, &sent).await?;
    search::play(stage, narrator, story).await
}

/// The trace, once nothing in it is owed or under way any more. Each event of the demo is owed to two connections.
async fn settled(stage: &Stage, what: &str, id: &CorrelationId) -> anyhow::Result<TraceView> {
    let is_over = |trace: &DeliveryTrace| match trace.delivery.state {
        DeliveryState::Delivered { .. } | DeliveryState::Dead { .. } | DeliveryState::Discarded { .. } => true,
        DeliveryState::Pending { .. } | DeliveryState::Leased { .. } => false,
    };
    until(what, async || {
        let trace = stage.trace(id).await?;
        let all = [SLACK, AUDIT]
            .iter()
            .all(|name| delivery(&trace, name).is_some_and(is_over));
        Ok(all.then_some(trace))
    })
    .await
}

/// What is owed to this connection.
fn delivery<'a>(trace: &'a TraceView, connection: &str) -> Option<&'a DeliveryTrace> {
    trace
        .events
        .iter()
        .flat_map(|event| &event.deliveries)
        .find(|trace| trace.delivery.connection.as_str() == connection)
}

/// A class for each attempt that failed, `delivered` for the one that did not.
fn outcomes(trace: &DeliveryTrace) -> Vec<&'static str> {
    let ends = trace.attempts.iter().map(|attempt| attempt.ended.as_ref());
    ends.map(|end| match end {
        None => "under way",
        Some(end) => end
            .failure
            .as_ref()
            .map_or("delivered", |failure| failure.class.as_str()),
    })
    .collect()
}

fn is_delivered(delivery: &Delivery) -> bool {
    matches!(delivery.state, DeliveryState::Delivered { .. })
}
