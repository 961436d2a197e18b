//! An attempt as the server's runner has it: what the host sees of its call, and how its end reaches the queue.

use cofferdam_domain::attempt::{AttemptEnd, Timings};
use cofferdam_domain::classify::Failure;
use cofferdam_domain::{
    CallResult, Delivery, Digest, Exchange, ExchangeResult, Fault, FaultKind, LaneEffect, Outcome, Receipt, Timestamp,
    Usage,
};
use cofferdam_queue::{Leased, Queue as _, SettleError, Settlement, StoreQueue};
use rand::RngExt as _;

use super::agenda::Item;
use super::bed::Bed;
use super::destination::{Call, Reply};

/// An attempt of this process.
pub(super) struct Attempt {
    pub(super) lane: usize,
    pub(super) leased: Leased,
    pub(super) call: Call,
    /// Once it is answered: what is to be written.
    pub(super) settlement: Option<Settlement>,
}

impl Attempt {
    /// One that begins.
    pub(super) fn new(lane: usize, leased: Leased, call: Call) -> Self {
        Self {
            lane,
            leased,
            call,
            settlement: None,
        }
    }
}

/// Of an attempt that makes none.
pub(super) const NO_CALL: Call = Call {
    takes_ms: 0,
    reply: Reply::Trap,
    acts: false,
};

/// Writes the settlement; none if it comes too late.
pub(super) async fn write(bed: &mut Bed, leased: &Leased, settlement: Settlement) -> anyhow::Result<Option<Delivery>> {
    let Some(queue) = bed.queue.clone() else {
        return Ok(None);
    };
    let (id, now) = (leased.delivery.id, settlement.now);
    let (outcome, failure) = (settlement.end.outcome.clone(), settlement.end.failure.clone());
    let settled = match queue.settle(leased.clone(), settlement).await {
        Ok(settled) => Some(settled.delivery),
        Err(SettleError::Stale(_)) => None,
        Err(SettleError::KeptChanged(name)) => anyhow::bail!("{name} keeps nothing, and yet it was changed"),
        Err(SettleError::Queue(error)) => return Err(error.into()),
    };
    let class = failure.map(|failure| failure.class);
    bed.judge.written(leased, class, &outcome, settled.as_ref(), now)?;
    bed.note(format!(
        "{id} is {}",
        settled.as_ref().map_or("stale", |it| it.state.as_str())
    ));
    if settled.is_none() {
        bed.counts.refused += 1;
    } else if outcome == Outcome::Dead && !bed.healed {
        let at_ms = bed.clock.passed_ms + bed.rng.random_range(1_000..600_000);
        bed.agenda.put(at_ms, Item::Judge(id));
    } else if outcome == Outcome::Parked {
        let lane = bed.judge.lane_of(id);
        let at_ms = bed.clock.passed_ms + bed.rng.random_range(1_000..1_200_000);
        bed.agenda.put(at_ms, Item::Release(lane));
    }
    Ok(settled)
}

/// Gives a delivery back of which nothing has left.
pub(super) async fn give_back(bed: &mut Bed, queue: &StoreQueue, leased: Leased) -> anyhow::Result<()> {
    let taken = match queue.release(leased.clone()).await {
        Ok(()) => true,
        Err(SettleError::Stale(_)) => false,
        Err(SettleError::KeptChanged(name)) => anyhow::bail!("{name} keeps nothing, and yet it was changed"),
        Err(SettleError::Queue(error)) => return Err(error.into()),
    };
    bed.note(format!("{} is given back: {taken}", leased.delivery.id));
    bed.judge.given_back(&leased, taken)
}

/// Nothing but what the attempt came to.
pub(super) fn settlement(
    outcome: Outcome,
    failure: Option<Failure>,
    receipt: Option<Receipt>,
    lane: Vec<LaneEffect>,
    now: Timestamp,
) -> Settlement {
    let end = AttemptEnd {
        at: now,
        connector: None,
        outcome,
        failure,
        receipt,
        trail: Vec::new(),
        logs: Vec::new(),
        logs_dropped: 0,
        usage: Usage::default(),
    };
    Settlement {
        end,
        lane,
        produced: Vec::new(),
        kept: Default::default(),
        now,
    }
}

/// What the host sees of an attempt's call.
pub(super) fn seen(attempt: &Attempt, now: Timestamp) -> anyhow::Result<(CallResult, Vec<Exchange>)> {
    let fault = |kind| {
        CallResult::Faulted(Fault {
            kind,
            message: "as simulated".to_owned(),
        })
    };
    let (call, result) = match attempt.call.reply {
        Reply::Status(status, retry_after_ms) => {
            let answered = ExchangeResult::Answered {
                status,
                body_hash: Digest::of(b""),
                body_bytes: 0,
                headers: Vec::new(),
                retry_after_ms,
            };
            (CallResult::Done(Receipt::default()), answered)
        }
        Reply::Silence => (
            fault(FaultKind::Deadline),
            ExchangeResult::InFlight { request_sent: true },
        ),
        Reply::Unreachable => {
            let message = "nothing listens".to_owned();
            (
                CallResult::Done(Receipt::default()),
                ExchangeResult::Unreachable { message },
            )
        }
        Reply::Trap => return Ok((fault(FaultKind::Trap), Vec::new())),
    };
    Ok((call, vec![exchange(&attempt.leased, result, now)?]))
}

/// A request that ended so.
pub(super) fn exchange(leased: &Leased, result: ExchangeResult, now: Timestamp) -> anyhow::Result<Exchange> {
    Ok(Exchange {
        upstream: "api".parse()?,
        method: "POST".to_owned(),
        path_prefix: "/".to_owned(),
        path_hash: Digest::of(b"/"),
        address: None,
        request_hash: leased.event.body_hash,
        request_bytes: leased.event.body_bytes,
        credential: None,
        trace: leased.attempt.trace,
        started_at: now,
        timings: Timings::default(),
        result,
        credential_reflected: false,
    })
}
