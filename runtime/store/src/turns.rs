//! Whose turn it is: which of the batches that wait make up the next group.
//!
//! A group is one fsync for everybody in it, so a large batch is waited for by all that came with it. While small ones are
//! about, large ones therefore get a share of the committer's time and no more: after a group with large ones took some time,
//! the next one waits [`REST_PER_TURN`] times as long. Without small ones they take all there is. Within each size, who came
//! first goes first, and a large one is never passed over for longer than that wait.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::committer::Request;

/// A batch of more bytes is a large one.
pub(crate) const LARGE_BATCH_BYTES: usize = 64 * 1024;

/// Most batches in one group.
const GROUP_BATCHES_MAX: usize = 512;

/// A group takes no further batch once it has this many bytes.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A group that small ones wait for takes no further large batch once its large ones have this many bytes.
const LARGE_BYTES_MAX: usize = 512 * 1024;

/// How much longer than its turn a large batch's rest is: large ones get a quarter of the time.
const REST_PER_TURN: u32 = 3;

/// The longest rest, whatever the turn took: a disk that stalled once is no reason to wait.
const REST_MAX: Duration = Duration::from_millis(500);

/// The batches that wait, by size.
#[derive(Default)]
pub(crate) struct Turns {
    small: VecDeque<Request>,
    large: VecDeque<Request>,
    /// Large ones that come while small ones are about wait until then.
    rest_until: Option<Instant>,
    /// A small one was seen since large ones last had their turn.
    small_about: bool,
}

/// What the committer does now.
pub(crate) enum Next {
    /// Commits these.
    Commit(Group),
    /// Only large ones wait, and small ones may come: nothing before this time.
    RestUntil(Instant),
    /// Nothing waits.
    Idle,
}

/// The batches of one fsync.
pub(crate) struct Group {
    pub(crate) requests: Vec<Request>,
    pub(crate) sizes: Sizes,
}

/// Which sizes are in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    small: bool,
    large: bool,
}

impl Turns {
    /// A batch more.
    pub(crate) fn add(&mut self, request: Request) {
        if request.batch.bytes() > LARGE_BATCH_BYTES {
            self.large.push_back(request);
        } else {
            self.small_about = true;
            self.small.push_back(request);
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.small.len() + self.large.len()
    }

    /// Who is next. When nobody more can come, nobody rests.
    pub(crate) fn next(&mut self, now: Instant, nobody_comes: bool) -> Next {
        let resting = self
            .rest_until
            .filter(|until| self.small_about && now < *until && !nobody_comes);
        match resting {
            Some(until) if self.small.is_empty() && !self.large.is_empty() => return Next::RestUntil(until),
            Some(_) | None => {}
        }
        let mut group = Filling::default();
        group.fill(&mut self.small, GROUP_BYTES_MAX);
        let small = group.requests.len();
        if resting.is_none() {
            let more = if small > 0 { LARGE_BYTES_MAX } else { GROUP_BYTES_MAX };
            let bytes_max = group.bytes.saturating_add(more).min(GROUP_BYTES_MAX);
            group.fill(&mut self.large, bytes_max);
        }
        if group.requests.is_empty() {
            return Next::Idle;
        }
        let sizes = Sizes {
            small: small > 0,
            large: group.requests.len() > small,
        };
        Next::Commit(Group {
            requests: group.requests,
            sizes,
        })
    }

    /// A group of these sizes has been committed; it took from `began` to `now`.
    pub(crate) fn committed(&mut self, sizes: Sizes, began: Instant, now: Instant) {
        if sizes.large {
            let rest = now.saturating_duration_since(began).saturating_mul(REST_PER_TURN);
            self.rest_until = Some(now + rest.min(REST_MAX));
            // Who was in the group is answered now, and may well come again.
            self.small_about = sizes.small || !self.small.is_empty();
        }
    }
}

#[derive(Default)]
struct Filling {
    requests: Vec<Request>,
    bytes: usize,
}

impl Filling {
    /// Takes from the front until the group has `bytes_max`.
    fn fill(&mut self, from: &mut VecDeque<Request>, bytes_max: usize) {
        while self.bytes < bytes_max && self.requests.len() < GROUP_BATCHES_MAX {
            let Some(request) = from.pop_front() else { return };
            self.bytes = self.bytes.saturating_add(request.batch.bytes());
            self.requests.push(request);
        }
    }
}

#[cfg(test)]
mod tests;
