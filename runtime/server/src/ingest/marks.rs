//! High-water marks: when producers are told to come back later, and when that is. Decisions only; the numbers come from the
//! caller.
//!
//! A mark is met when what waits and what comes would be more than it allows. Where nothing waits yet one request is always
//! taken, so that a mark below the size of a request cannot refuse it for ever. Marks are looked at before a request is
//! accepted and not while, so that requests that come at the same moment may pass a mark together.

use std::time::Duration;

use cofferdam_domain::Policy;
use cofferdam_queue::Depth;

use crate::config::Limits;

/// What producers are told to wait where nothing is known of how fast the lane drains.
const WAIT_DEFAULT: Duration = Duration::from_secs(10);

/// The longest that producers are told to wait: by then something else may have changed.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// A producer that comes back finds room for at least this part of the mark, in percent.
const ROOM_PERCENT: u64 = 1;

/// By which door a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// `POST /v1/events`. Its callers come back, so they leave the head-room to those that do not.
    Api,
    /// `POST /hooks/…`. Some providers never send again.
    Hook,
    /// A poll's page, which is asked for again.
    Poll,
}

impl Door {
    /// The word in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Hook => "hook",
            Self::Poll => "poll",
        }
    }
}

/// Which mark is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Too many deliveries wait for a connection.
    LaneFullCount,
    /// Too many bytes of bodies do.
    LaneFullBytes,
    /// The first of them has been due for too long.
    LaneTooOld,
    /// Too many deliveries wait in all.
    ServerFullCount,
    /// Too many bytes of bodies do.
    ServerFullBytes,
    /// The disk is almost full.
    DiskAlmostFull,
}

impl Mark {
    /// The code of the answer, and the reason in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::LaneFullCount => "lane-full-count",
            Self::LaneFullBytes => "lane-full-bytes",
            Self::LaneTooOld => "lane-too-old",
            Self::ServerFullCount => "server-full-count",
            Self::ServerFullBytes => "server-full-bytes",
            Self::DiskAlmostFull => "disk-almost-full",
        }
    }
}

/// A mark that is met, and when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Met {
    /// Which.
    pub(crate) mark: Mark,
    /// How much waits, in the mark's own unit: deliveries, bytes or milliseconds.
    pub(crate) waiting: u64,
    /// What the mark allows at this door, in the same unit.
    pub(crate) allowed: u64,
    /// Deliveries that must leave until there is room, if a lane is what is full.
    pub(crate) leave: Option<u64>,
}

impl Met {
    /// When there may be room, in whole seconds from 1 to 300, for a lane that so many deliveries leave in a second.
    pub(crate) fn wait(&self, drained_per_s: Option<f64>) -> Duration {
        self.leave.map_or(WAIT_DEFAULT, |leave| wait_for(leave, drained_per_s))
    }
}

/// What comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Incoming {
    /// Deliveries.
    pub(crate) count: u64,
    /// Bytes of their bodies.
    pub(crate) bytes: u64,
}

impl Incoming {
    /// One more delivery.
    pub(crate) fn add(&mut self, body_bytes: u64) {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(body_bytes);
    }
}

/// How a lane stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LaneStanding {
    /// What waits in it.
    pub(crate) depth: Depth,
    /// How long its head has been due.
    pub(crate) lag: Duration,
}

/// The first mark of a lane that a request would pass; the connection's own marks come before the server's for lanes.
pub(crate) fn lane(
    limits: &Limits,
    policy: &Policy,
    door: Door,
    standing: &LaneStanding,
    incoming: Incoming,
) -> Option<Met> {
    let LaneStanding { depth, lag } = *standing;
    let room = |mark| allowed(limits, door, mark);
    let count = room(policy.pending_max.unwrap_or(limits.pending_per_connection));
    if passes(depth.pending, incoming.count, count) {
        let leave = over(depth.pending, incoming.count, count);
        return Some(Met {
            mark: Mark::LaneFullCount,
            waiting: depth.pending,
            allowed: count,
            leave: Some(leave),
        });
    }
    let bytes = room(policy.pending_bytes_max.unwrap_or(limits.pending_bytes_per_connection));
    if passes(depth.pending_bytes, incoming.bytes, bytes) {
        let each = (depth.pending_bytes / depth.pending.max(1)).max(1);
        let leave = over(depth.pending_bytes, incoming.bytes, bytes).div_ceil(each);
        return Some(Met {
            mark: Mark::LaneFullBytes,
            waiting: depth.pending_bytes,
            allowed: bytes,
            leave: Some(leave),
        });
    }
    let age = policy
        .pending_age_max_ms
        .unwrap_or(limits.pending_age_ms_per_connection);
    let lag = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
    // 0 turns this one off; and without anything waiting nothing is old.
    if age > 0 && depth.pending > 0 && lag > room(age) {
        return Some(Met {
            mark: Mark::LaneTooOld,
            waiting: lag,
            allowed: room(age),
            leave: Some(depth.pending),
        });
    }
    None
}

/// How many deliveries more a lane takes at this door before one of its marks is met; at least one where it takes any.
pub(crate) fn free(limits: &Limits, policy: &Policy, door: Door, standing: &LaneStanding) -> u64 {
    if lane(limits, policy, door, standing, Incoming { count: 1, bytes: 1 }).is_some() {
        return 0;
    }
    let mark = policy.pending_max.unwrap_or(limits.pending_per_connection);
    allowed(limits, door, mark)
        .saturating_sub(standing.depth.pending)
        .max(1)
}

/// The same for the whole server: a last resort, since it stops everybody.
pub(crate) fn server(limits: &Limits, door: Door, waiting: Incoming, incoming: Incoming) -> Option<Met> {
    let count = allowed(limits, door, limits.pending);
    let bytes = allowed(limits, door, limits.pending_bytes);
    let (mark, waiting, allowed) = if passes(waiting.count, incoming.count, count) {
        (Mark::ServerFullCount, waiting.count, count)
    } else if passes(waiting.bytes, incoming.bytes, bytes) {
        (Mark::ServerFullBytes, waiting.bytes, bytes)
    } else {
        return None;
    };
    Some(Met {
        mark,
        waiting,
        allowed,
        leave: None,
    })
}

/// What a mark allows at this door: all of it for those that may not come back, what is below the head-room for the others.
fn allowed(limits: &Limits, door: Door, mark: u64) -> u64 {
    match door {
        Door::Hook => mark,
        Door::Api | Door::Poll => {
            let kept = u128::from(mark) * u128::from(limits.headroom_percent) / 100;
            mark.saturating_sub(u64::try_from(kept).unwrap_or(u64::MAX)).max(1)
        }
    }
}

fn passes(waiting: u64, incoming: u64, allowed: u64) -> bool {
    waiting > 0 && incoming > 0 && waiting.saturating_add(incoming) > allowed
}

/// How much must leave until the same request fits, and a little more.
fn over(waiting: u64, incoming: u64, allowed: u64) -> u64 {
    let least = waiting.saturating_add(incoming).saturating_sub(allowed);
    least.max(allowed.saturating_mul(ROOM_PERCENT) / 100)
}

/// The time in which so many deliveries leave, in whole seconds, at least one.
fn wait_for(leave: u64, drained_per_s: Option<f64>) -> Duration {
    let Some(rate) = drained_per_s.filter(|rate| *rate > 0.0) else {
        return WAIT_DEFAULT;
    };
    #[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
    let seconds = (leave as f64 / rate).ceil();
    // An estimate beyond all bounds, or none at all, is the longest wait.
    Duration::try_from_secs_f64(seconds).map_or(WAIT_MAX, |wait| wait.clamp(Duration::from_secs(1), WAIT_MAX))
}

#[cfg(test)]
mod tests;
