//! What must hold on a disk that has lost its power, asked of the real code.
//!
//! - The store opens, and so does the queue.
//! - Every acknowledged event is there: its record, its body with its hash, each delivery of its fan-out; it is found by its
//!   correlation id, and its dedupe key still names it.
//! - A delivery whose settle was confirmed stands where that put it; each confirmed lease and settle has its attempt.
//! - Nothing is there that was not asked for, and nothing by half: each event that is found has its whole body and its whole
//!   fan-out, and the lanes list exactly the deliveries that wait.
//! - It goes on: an event is accepted, everything that waits is leased and settled, and after another opening that is so.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use cofferdam_domain::{Delivery, DeliveryState, Timestamp};
use cofferdam_queue::{DeliveryFilter, LEASES_PER_CALL_MAX, PAGE_MAX, Queue as _, Standing, StoreQueue};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::bed;
use super::ledger::{Ledger, Progress, Rest};
use super::marks::End;
use crate::engine::Engine;

/// How much is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Everything but the last.
    Usual,
    /// Everything that waits is delivered, too.
    Drain,
}

/// Opens the store and holds it against the ledger; an error says which promise was broken.
pub(crate) async fn verify(engine: Engine, data: &Path, ledger: &Ledger, depth: Depth) -> anyhow::Result<()> {
    let queue = bed::open(engine, data, 1).await.context("it does not open")?;
    for accepted in &ledger.accepted {
        acknowledged(&queue, ledger, accepted).with_context(|| format!("acknowledged event {}", accepted.event))?;
    }
    for (delivery, progress) in &ledger.deliveries {
        let found = queue.delivery(&bed::workspace(), *delivery)?;
        let found = found.with_context(|| format!("delivery {delivery} is gone"))?;
        advanced(&queue, &found, *progress).with_context(|| format!("delivery {delivery}, known {progress:?}"))?;
    }
    nothing_by_half(&queue, ledger)?;
    goes_on(&queue, ledger, depth).await?;
    drop(queue);
    let queue = bed::open(engine, data, 2).await.context("it does not open again")?;
    if depth == Depth::Drain {
        ensure!(queue.pending_total() == 0, "what was delivered waits again");
    }
    nothing_by_half(&queue, &Ledger::default()).context("after going on")
}

fn acknowledged(queue: &StoreQueue, ledger: &Ledger, accepted: &super::ledger::Accepted) -> anyhow::Result<()> {
    let workspace = bed::workspace();
    let event = queue.event(&workspace, accepted.event)?.context("its record is gone")?;
    let body = queue.body(&workspace, accepted.event)?.context("its body is gone")?;
    let offered = &ledger.offered[&accepted.event];
    ensure!(event.body_hash == offered.hash, "its record is another's");
    ensure!(
        cofferdam_domain::Digest::of(&body) == offered.hash,
        "its body is another"
    );
    for delivery in &accepted.deliveries {
        let found = queue.delivery(&workspace, *delivery)?;
        ensure!(
            found.is_some_and(|found| found.event == event.id),
            "delivery {delivery} is gone"
        );
    }
    let found = queue.events_by_correlation(&workspace, &accepted.correlation, PAGE_MAX)?;
    ensure!(
        found.iter().any(|found| found.id == event.id),
        "its correlation id does not find it"
    );
    Ok(())
}

fn advanced(queue: &StoreQueue, found: &Delivery, progress: Progress) -> anyhow::Result<()> {
    let rests = match &found.state {
        DeliveryState::Delivered { .. } => Some(Rest::Delivered),
        DeliveryState::Dead { .. } => Some(Rest::Dead),
        DeliveryState::Discarded { .. } => Some(Rest::Discarded),
        DeliveryState::Pending { .. } => None,
        DeliveryState::Leased { .. } => bail!("the lease of a process that is gone was not voided"),
    };
    if progress.rests.is_some() {
        ensure!(rests == progress.rests, "it is {:?}", found.state);
    }
    ensure!(found.runs >= progress.leased, "it has {} runs", found.runs);
    let attempts = queue.attempts(&bed::workspace(), found.id)?;
    let attempt = |run| attempts.iter().find(move |attempt| attempt.run == run);
    if progress.leased > 0 {
        ensure!(attempt(progress.leased).is_some(), "the attempt of its lease is gone");
    }
    if progress.settled > 0 {
        let ended = attempt(progress.settled).and_then(|attempt| attempt.ended.as_ref());
        ensure!(ended.is_some(), "the end of its attempt is gone");
    }
    Ok(())
}

/// With an empty ledger it is not asked where events come from.
fn nothing_by_half(queue: &StoreQueue, ledger: &Ledger) -> anyhow::Result<()> {
    let workspace = bed::workspace();
    let mut before = None;
    loop {
        let events = queue.recent_events(&workspace, PAGE_MAX, before)?;
        let Some(last) = events.last() else { break };
        before = Some(last.id);
        for event in &events {
            let body = queue.body(&workspace, event.id)?;
            let body = body.with_context(|| format!("event {} has no body", event.id))?;
            ensure!(
                cofferdam_domain::Digest::of(&body) == event.body_hash,
                "the body of event {} is not whole",
                event.id
            );
            let deliveries = queue.deliveries_of(&workspace, event.id)?.len();
            match ledger.offered.get(&event.id) {
                Some(offered) => ensure!(
                    deliveries == offered.deliveries,
                    "event {} has {deliveries} of {} deliveries",
                    event.id,
                    offered.deliveries
                ),
                None => ensure!(ledger.offered.is_empty(), "nobody has sent event {}", event.id),
            }
        }
    }
    for name in bed::LANES {
        let listed = queue.depth(&workspace, &bed::lane(name)).pending;
        let waiting = waiting(queue, name)?;
        ensure!(
            listed == waiting,
            "lane {name} lists {listed} deliveries and {waiting} wait"
        );
    }
    Ok(())
}

/// Deliveries whose records say that they wait.
fn waiting(queue: &StoreQueue, name: &str) -> anyhow::Result<u64> {
    let filter = DeliveryFilter {
        connection: Some(bed::lane(name)),
        standing: Some(Standing::Pending),
    };
    let (mut waiting, mut before) = (0, None);
    loop {
        let page = queue.deliveries(&bed::workspace(), &filter, PAGE_MAX, before)?;
        waiting += page.items.len() as u64;
        before = page.next;
        if before.is_none() {
            return Ok(waiting);
        }
    }
}

async fn goes_on(queue: &StoreQueue, ledger: &Ledger, depth: Depth) -> anyhow::Result<()> {
    let mut rng = StdRng::seed_from_u64(1);
    for accepted in ledger.accepted.iter().rev().take(3) {
        let again = bed::some_event(&accepted.dedupe_key, &mut rng);
        let answer = queue.accept(vec![again], bed::now()).await?.remove(0);
        ensure!(
            answer.duplicate && answer.event_id == accepted.event,
            "the dedupe key of event {} is free again",
            accepted.event
        );
    }
    let fresh = bed::some_event("after the power loss", &mut rng);
    let (id, body) = (fresh.new.event.id, fresh.new.body.clone());
    let answer = queue.accept(vec![fresh], bed::now()).await?.remove(0);
    ensure!(
        !answer.duplicate && queue.body(&bed::workspace(), id)? == Some(body),
        "it accepts no more"
    );
    let mut delivered = 0;
    let listed = queue.pending_total();
    // Whatever waits for a time waits for less than that.
    let later = Timestamp::from_millis(bed::now().as_millis() + 86_400_000);
    for name in bed::LANES {
        loop {
            let terms = bed::terms(later, if depth == Depth::Drain { LEASES_PER_CALL_MAX } else { 1 });
            let leased = queue.lease_many(&bed::workspace(), &bed::lane(name), terms).await?;
            let last = leased.is_empty() || depth == Depth::Usual;
            let settles = leased.into_iter().map(|leased| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.settle(leased, bed::settlement(End::Delivered)).await })
            });
            for settle in settles.collect::<Vec<_>>() {
                settle.await??;
                delivered += 1;
            }
            if last {
                break;
            }
        }
    }
    if depth == Depth::Drain {
        ensure!(
            delivered == listed,
            "{listed} deliveries waited and {delivered} could be leased"
        );
    }
    Ok(())
}
