//! When a connection is polled: decisions only, by the time and the standing that the caller brings.
//!
//! A *tick* is a time of the schedule. An interval ticks so much after the last tick for which a poll was made, cron at the
//! minutes that fit its fields in its time zone: a time that a change of the clocks leaves out is left out, one that comes
//! twice ticks twice. A tick is due a little later than its time, by a part of the jitter that workspace, connection and tick
//! decide, so that restarts agree and connections do not come all at once.
//!
//! A tick that is due while the connection can be polled is run. Those that came due while it could not (the server was down,
//! the connection off or without its connector, the poll before not done) are missed: together they are run once, or
//! skipped, as the grant says.
//!
//! A schedule that was changed begins anew: no time that had passed before it was what it is counts. An interval then ticks so
//! much after the last poll, or at once where that has passed; cron at the first of its times behind the change.

pub(crate) mod turn;

use std::time::Duration;

use cofferdam_domain::connection::{
    Missed, POLL_EVERY_MIN, POLL_JITTER_DEFAULT_DIVISOR, POLL_JITTER_DEFAULT_MAX, PollGrant, Span,
};
use cofferdam_domain::{Connection, Descriptor, Digest, Timestamp};
use cronexpr::{Crontab, MakeTimestamp};

/// How far back the latest tick of a cron expression is looked for, from the nearest: the steps from there to now are few.
const LOOK_BACK: [Duration; 9] = [
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(24 * 3600),
    Duration::from_secs(3 * 24 * 3600),
    Duration::from_secs(10 * 24 * 3600),
    Duration::from_secs(40 * 24 * 3600),
    Duration::from_secs(400 * 24 * 3600),
];

/// A connection's schedule.
#[derive(Debug)]
pub(crate) struct Schedule {
    ticks: Ticks,
    jitter: Option<Duration>,
    missed: Missed,
    /// What makes its jitter its own.
    seed: String,
}

#[derive(Debug)]
enum Ticks {
    Every(Duration),
    Cron(Box<Crontab>),
}

/// Why there is no schedule, as a sentence that begins with the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoSchedule(String);

/// What has been so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Past {
    /// When the schedule was first looked at.
    pub(crate) since: Timestamp,
    /// The last tick for which a poll was made.
    pub(crate) last: Option<Timestamp>,
    /// Since when the connection can be polled.
    pub(crate) free_since: Timestamp,
    /// Since when the schedule is what it is, as far as that is known: the ticks before belong to another one.
    pub(crate) changed: Timestamp,
}

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A poll for this tick is due now.
    Run {
        /// The tick.
        tick: Timestamp,
        /// It, or others before it, came due while the connection could not be polled.
        missed: bool,
    },
    /// The next one is due then.
    Wait(Timestamp),
}

impl Schedule {
    /// The schedule that was granted, or else the connector's own wish.
    pub(crate) fn of(connection: &Connection, descriptor: &Descriptor) -> Result<Option<Self>, NoSchedule> {
        let Some(grant) = &connection.spec.poll else {
            return Ok(None);
        };
        let seed = format!("{}\n{}", connection.workspace, connection.spec.name);
        Self::new(grant, descriptor.poll_every_s, seed).map(Some)
    }

    /// See [`Schedule::of`].
    pub(crate) fn new(grant: &PollGrant, wished_s: Option<u32>, seed: String) -> Result<Self, NoSchedule> {
        let ticks = match (grant.every, &grant.cron, wished_s) {
            (Some(every), ..) => Ticks::Every(every.duration()),
            (None, Some(cron), _) => Ticks::Cron(Box::new(crontab(cron, grant.timezone.as_deref())?)),
            (None, None, Some(wished)) => Ticks::Every(Duration::from_secs(wished.into()).max(POLL_EVERY_MIN)),
            (None, None, None) => {
                return Err(NoSchedule(
                    "poll.every is missing, and the connector names no interval of its own: write every = \"5m\", or cron \
                     = \"*/5 * * * *\", in [poll]"
                        .to_owned(),
                ));
            }
        };
        Ok(Self {
            ticks,
            jitter: grant.jitter.map(Span::duration),
            missed: grant.missed,
            seed,
        })
    }

    /// What is next, by what has been. A clock that was set back to before the last tick begins anew from now.
    pub(crate) fn next(&self, past: Past, now: Timestamp) -> Result<Next, NoSchedule> {
        let changed = past.changed.min(now);
        let at_once = |at| Tick { at, due: at };
        let first = match (&self.ticks, past.last) {
            // The very first poll of an interval is at once.
            (Ticks::Every(_), None) => at_once(past.since.min(now).max(changed)),
            (Ticks::Every(_), Some(last)) => {
                let tick = self.tick_after(last.min(now))?;
                if tick.at < changed { at_once(changed) } else { tick }
            }
            (Ticks::Cron(_), last) => self.tick_after(last.unwrap_or(past.since).min(now).max(changed))?,
        };
        if first.due > now {
            return Ok(Next::Wait(first.due));
        }
        let latest = self.latest(first, now)?;
        let in_time = latest.due >= past.free_since;
        match self.missed {
            Missed::Once => {}
            Missed::Skip if in_time => {}
            Missed::Skip => return Ok(Next::Wait(self.tick_after(latest.at)?.due)),
        }
        Ok(Next::Run {
            tick: latest.at,
            missed: !in_time || latest.at != first.at,
        })
    }

    /// A poll that has failed is not put off longer than this: the schedule would have asked again by then.
    pub(crate) fn soonest_after(&self, now: Timestamp) -> Result<Timestamp, NoSchedule> {
        Ok(self.tick_after(now)?.due)
    }

    /// The first tick behind this time; of an interval, so much later.
    fn tick_after(&self, time: Timestamp) -> Result<Tick, NoSchedule> {
        let at = match &self.ticks {
            Ticks::Every(every) => time.after(*every),
            Ticks::Cron(crontab) => cron_after(crontab, time)?,
        };
        let gap = match &self.ticks {
            Ticks::Every(every) => *every,
            Ticks::Cron(crontab) => cron_after(crontab, at).map_or(Duration::MAX, |next| next.since(at)),
        };
        Ok(Tick {
            at,
            due: at.after(self.jitter_of(at, gap)),
        })
    }

    /// The last tick that is due by now, `first` or one behind it.
    fn latest(&self, first: Tick, now: Timestamp) -> Result<Tick, NoSchedule> {
        match &self.ticks {
            Ticks::Every(every) => {
                let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
                let passed_ms = u64::try_from(now.since(first.at).as_millis()).unwrap_or(u64::MAX);
                // The one behind `first` by a whole number of intervals, or, while its jitter holds it, the one before.
                for whole in [passed_ms / every_ms, (passed_ms / every_ms).saturating_sub(1)] {
                    if whole == 0 {
                        break;
                    }
                    let before = first.at.after(Duration::from_millis((whole - 1) * every_ms));
                    let tick = self.tick_after(before)?;
                    if tick.due <= now {
                        return Ok(tick);
                    }
                }
                Ok(first)
            }
            Ticks::Cron(_) => {
                for back in LOOK_BACK {
                    let from = Timestamp::from_millis(
                        now.as_millis()
                            .saturating_sub(u64::try_from(back.as_millis()).unwrap_or(u64::MAX)),
                    );
                    if from <= first.at {
                        return self.last_from(first, now);
                    }
                    let found = self.tick_after(from)?;
                    if found.due <= now {
                        return self.last_from(found, now);
                    }
                }
                Ok(first)
            }
        }
    }

    /// The last due tick, step by step from one that is due.
    fn last_from(&self, mut due: Tick, now: Timestamp) -> Result<Tick, NoSchedule> {
        loop {
            let next = self.tick_after(due.at)?;
            if next.due > now {
                return Ok(due);
            }
            due = next;
        }
    }

    /// At most half of what lies until the next tick, so that ticks stay in their order.
    fn jitter_of(&self, tick: Timestamp, gap: Duration) -> Duration {
        let most = self
            .jitter
            .unwrap_or_else(|| (gap / POLL_JITTER_DEFAULT_DIVISOR).min(POLL_JITTER_DEFAULT_MAX))
            .min(gap / 2);
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX - 1);
        let hash = Digest::of(format!("{}\n{}", self.seed, tick.as_millis()).as_bytes());
        let drawn = hash
            .as_bytes()
            .first_chunk()
            .map_or(0, |bytes| u64::from_be_bytes(*bytes));
        Duration::from_millis(drawn % most.saturating_add(1))
    }
}

/// A time of the schedule, and when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tick {
    at: Timestamp,
    due: Timestamp,
}

/// Every mistake of a grant, each as a sentence that begins with the key: what [`PollGrant::problems`] finds, and what a cron
/// expression or its time zone has.
pub(crate) fn problems(grant: &PollGrant, now: Timestamp) -> Vec<String> {
    let mut problems = grant.problems();
    if problems.is_empty()
        && let Some(cron) = &grant.cron
    {
        let never = crontab(cron, grant.timezone.as_deref()).and_then(|crontab| cron_after(&crontab, now));
        problems.extend(never.err().map(|error| error.to_string()));
    }
    problems
}

fn crontab(cron: &str, timezone: Option<&str>) -> Result<Crontab, NoSchedule> {
    let fields = cron.split_ascii_whitespace().count();
    if fields != 5 {
        return Err(NoSchedule(format!(
            "poll.cron has {fields} fields; it must have 5: minute, hour, day of month, month, day of week (the time zone is \
             poll.timezone)"
        )));
    }
    // Alone first, so that each of the two is blamed for itself.
    let read = |zone: &str| cronexpr::parse_crontab(&format!("{cron} {zone}"));
    if let Err(error) = read("UTC") {
        let said = cofferdam_domain::limits::one_line(&error.to_string(), 256);
        return Err(NoSchedule(format!("poll.cron cannot be read: {said}")));
    }
    without_l(cron)?;
    let zone = timezone.unwrap_or("UTC");
    read(zone).map_err(|_| {
        NoSchedule(format!(
            "poll.timezone is {zone:?}, which this machine does not know: write an IANA name such as \"Europe/Berlin\""
        ))
    })
}

/// The library takes `L` for the last day of a month, and `5L` for its last Friday, and finds them by the number of the next
/// month being higher: in December it is not, so they would never come then.
fn without_l(cron: &str) -> Result<(), NoSchedule> {
    let days = ["day of month", "day of week"];
    let fields = cron.split_ascii_whitespace();
    let with_l = fields
        .skip(2)
        .step_by(2)
        .zip(days)
        .find(|(field, _)| field.contains('L'));
    with_l.map_or(Ok(()), |(field, which)| {
        Err(NoSchedule(format!(
            "poll.cron has {field} as its {which}; L is not taken, because in December it would never come: write the days \
             themselves, such as 28 for a day that every month has, or 5#4 for the fourth Friday"
        )))
    })
}

fn cron_after(crontab: &Crontab, time: Timestamp) -> Result<Timestamp, NoSchedule> {
    let never = || NoSchedule("poll.cron names a time that does not come within four years".to_owned());
    let millis = i64::try_from(time.as_millis()).map_err(|_| never())?;
    let from = MakeTimestamp::from_millisecond(millis).map_err(|_| never())?;
    let next = crontab.find_next(from).map_err(|_| never())?;
    let next = u64::try_from(next.timestamp().as_millisecond()).map_err(|_| never())?;
    // Whatever the library makes of a change of the clocks, the next tick is a later one.
    Ok(Timestamp::from_millis(next).max(time.after(Duration::from_millis(1))))
}

#[cfg(test)]
mod tests;
