//! What may be asked of one upstream now: its rate, how much is under way, and what the upstream itself has said. No clock,
//! no I/O.
//!
//! Those who may not go at once stand in a queue and go in the order in which they came, as long as their turn is known to come
//! within their patience; others are told at once how long it would be. Nothing goes before a [`Hold`] is over, a hold is
//! never shortened but by [`Budget::release`], and what an upstream can make it wait has a bound.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::connection::Rate;
use crate::lane::bucket::Bucket;
use crate::retry::RETRY_AFTER_MAX;
use crate::time::Timestamp;

/// The longest that an upstream holds a budget without having refused a request with 429 or 503: windows of rate limits are an
/// hour at most with most providers, and one that claims more must say so by refusing.
pub const SPENT_HOLD_MAX: Duration = Duration::from_secs(3600);

/// How long somebody is told to wait who did not get one of the places that are taken: nobody knows when one is free.
pub const PLACE_WAIT: Duration = Duration::from_secs(1);

/// What limits a budget. Nothing unlimited is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Requests that may begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Requests under way at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u16>,
}

impl Limits {
    /// The strictest of each: the slower rate, the smaller burst, the fewer at once.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        let rate = match (self.rate, other.rate) {
            (Some(one), Some(two)) => {
                let slower = if is_slower(two, one) { two } else { one };
                let burst = one.burst.unwrap_or(one.count).min(two.burst.unwrap_or(two.count));
                Some(Rate {
                    burst: (slower.burst.is_some() || burst != slower.count).then_some(burst),
                    ..slower
                })
            }
            (one, two) => one.or(two),
        };
        Self {
            rate,
            concurrency: match (self.concurrency, other.concurrency) {
                (Some(one), Some(two)) => Some(one.min(two)),
                (one, two) => one.or(two),
            },
        }
    }
}

fn is_slower(one: Rate, other: Rate) -> bool {
    u128::from(one.count) * u128::from(other.per_ms) < u128::from(other.count) * u128::from(one.per_ms)
}

/// Why nothing goes for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldReason {
    /// The upstream refused a request and asked to wait.
    Refused,
    /// The upstream said that nothing is left until a time.
    Spent,
}

/// Nothing goes before this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub reason: HoldReason,
}

/// What an upstream says about its limits with an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// To leave it alone for so long, and why.
    pub hold: Option<(Duration, HoldReason)>,
    /// What is left of its own budget.
    pub remaining: Option<u64>,
    /// When that is full again, from now.
    pub resets_in: Option<Duration>,
}

/// What an upstream last said of its own budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Left of it.
    pub remaining: u64,
    /// When it is full again, if that was said.
    pub resets_at: Option<Timestamp>,
    /// When it said so.
    pub at: Timestamp,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What keeps a request from going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitedBy {
    /// What the upstream said.
    Hold,
    /// The rate.
    Rate,
    /// What is under way.
    Concurrency,
}

/// Not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Not before this long; more than the patience that was asked with, or [`PLACE_WAIT`].
    pub wait: Duration,
    /// Why.
    pub by: LimitedBy,
}

/// What somebody who comes may do. Whoever goes tells [`Budget::end`] when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Go.
    Go,
    /// Wait for a turn: [`Budget::ask`] with it, and [`Budget::leave`] to give up.
    Queued(Ticket),
}

/// What somebody who waits may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Go; the ticket is used up.
    Go,
    /// Wait until then, or until something changes.
    Wait(Option<Timestamp>),
}

/// How a budget stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Requests that may begin now by the rate; none if there is none.
    pub tokens: Option<usize>,
    /// Under way.
    pub in_use: usize,
    /// Waiting for their turn.
    pub waiting: usize,
    /// Set while nothing goes.
    pub hold: Option<Hold>,
    /// What the upstream last said of its own budget.
    pub upstream: Option<Told>,
}

impl Standing {
    /// That of a budget which nothing has used.
    pub fn fresh(limits: Limits) -> Self {
        let mut budget = Budget::default();
        budget.configure(limits, Timestamp::ZERO);
        budget.standing(Timestamp::ZERO)
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    limits: Limits,
    bucket: Option<Bucket>,
    in_use: usize,
    queue: VecDeque<Ticket>,
    tickets: u64,
    hold: Option<Hold>,
    told: Option<Told>,
}

impl Budget {
    /// The limits from now on. Tokens that fit are kept, and so is everything that is under way or waits.
    pub fn configure(&mut self, limits: Limits, now: Timestamp) {
        self.limits = limits;
        self.bucket = limits.rate.map(|rate| match self.bucket.take() {
            Some(mut bucket) => {
                bucket.set_rate(rate, now);
                bucket
            }
            None => Bucket::new(rate, now),
        });
    }

    /// Comes to go, ready to wait as long as `patience`.
    ///
    /// # Errors
    /// When its turn is known to come later.
    pub fn enter(&mut self, now: Timestamp, patience: Duration) -> Result<Entry, Limited> {
        let deadline = now.after(patience);
        let free_at = self.hold_end(now);
        if free_at > deadline {
            return Err(limited(free_at, now, LimitedBy::Hold));
        }
        if let Some(bucket) = &self.bucket {
            let turn_at = bucket.nth_at(self.queue.len() + 1, now);
            if turn_at > deadline {
                return Err(limited(turn_at, now, LimitedBy::Rate));
            }
        }
        if self.queue.is_empty() && self.may_go(now) == Turn::Go {
            self.go(now);
            return Ok(Entry::Go);
        }
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.queue.push_back(ticket);
        Ok(Entry::Queued(ticket))
    }

    /// Whether it is the turn of `ticket`, which waits until `deadline`. One who asks late goes all the same if he may.
    ///
    /// # Errors
    /// When its turn is known to come later now, or it has no ticket any more. Its place is given up.
    pub fn ask(&mut self, ticket: Ticket, now: Timestamp, deadline: Timestamp) -> Result<Turn, Limited> {
        let free_at = self.hold_end(now);
        if free_at > deadline.max(now) {
            self.leave(ticket);
            return Err(limited(free_at, now, LimitedBy::Hold));
        }
        if self.queue.front() != Some(&ticket) {
            return self.unless_over(ticket, now, deadline, Turn::Wait(None));
        }
        match self.may_go(now) {
            Turn::Go => {
                self.queue.pop_front();
                self.go(now);
                Ok(Turn::Go)
            }
            Turn::Wait(Some(at)) if at > deadline => {
                self.leave(ticket);
                Err(limited(at, now, LimitedBy::Rate))
            }
            turn @ Turn::Wait(_) => self.unless_over(ticket, now, deadline, turn),
        }
    }

    /// Gives a place in the queue up.
    pub fn leave(&mut self, ticket: Ticket) {
        self.queue.retain(|waiting| *waiting != ticket);
    }

    /// One that went has come to its end, whatever that was.
    pub fn end(&mut self) {
        self.in_use = self.in_use.saturating_sub(1);
    }

    /// What the upstream said with an answer.
    pub fn hear(&mut self, heard: Heard, now: Timestamp) {
        if let Some(remaining) = heard.remaining {
            self.told = Some(Told {
                remaining,
                resets_at: heard.resets_in.map(|wait| now.after(wait.min(RETRY_AFTER_MAX))),
                at: now,
            });
        }
        if let Some((wait, reason)) = heard.hold {
            let max = match reason {
                HoldReason::Refused => RETRY_AFTER_MAX,
                HoldReason::Spent => SPENT_HOLD_MAX,
            };
            let until = now.after(wait.min(max));
            if until > now && self.hold.is_none_or(|hold| hold.until < until) {
                self.hold = Some(Hold { until, reason });
            }
        }
    }

    /// A person knows better than what the upstream said.
    pub fn release(&mut self) {
        self.hold = None;
    }

    /// How it stands.
    pub fn standing(&self, now: Timestamp) -> Standing {
        Standing {
            tokens: self.bucket.as_ref().map(|bucket| bucket.tokens(now)),
            in_use: self.in_use,
            waiting: self.queue.len(),
            hold: self.hold.filter(|hold| hold.until > now),
            upstream: self.told,
        }
    }

    /// Whether forgetting it would change nothing.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        let full = |bucket: &Bucket| {
            let rate = bucket.rate();
            bucket.tokens(now) >= usize::try_from(rate.burst.unwrap_or(rate.count)).unwrap_or(usize::MAX)
        };
        self.in_use == 0
            && self.queue.is_empty()
            && self.hold.is_none_or(|hold| hold.until <= now)
            && self.bucket.as_ref().is_none_or(full)
    }

    fn hold_end(&self, now: Timestamp) -> Timestamp {
        self.hold.map_or(now, |hold| hold.until.max(now))
    }

    /// Whether whoever is first may go.
    fn may_go(&self, now: Timestamp) -> Turn {
        let free_at = self.hold_end(now);
        let token_at = self.bucket.as_ref().map_or(now, |bucket| bucket.next_at(now));
        let at = free_at.max(token_at);
        if at > now {
            return Turn::Wait(Some(at));
        }
        if self.limits.concurrency.is_some_and(|most| self.in_use >= most.into()) {
            return Turn::Wait(None);
        }
        Turn::Go
    }

    fn go(&mut self, now: Timestamp) {
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now);
        }
        self.in_use += 1;
    }

    /// Only places that are taken can make a turn later than it was known to be when the ticket was given.
    fn unless_over(
        &mut self,
        ticket: Ticket,
        now: Timestamp,
        deadline: Timestamp,
        turn: Turn,
    ) -> Result<Turn, Limited> {
        if now < deadline && self.queue.contains(&ticket) {
            return Ok(turn);
        }
        self.leave(ticket);
        Err(Limited {
            wait: PLACE_WAIT,
            by: LimitedBy::Concurrency,
        })
    }
}

fn limited(at: Timestamp, now: Timestamp, by: LimitedBy) -> Limited {
    Limited {
        wait: at.since(now),
        by,
    }
}

#[cfg(test)]
mod tests;
