//! Destinations: what a call to the outside comes to, and when.

use rand::RngExt as _;
use rand::rngs::StdRng;

/// How a destination behaves for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// It answers 200, soon.
    Well,
    /// It answers 503.
    Down,
    /// Nothing listens.
    Unreachable,
    /// It acts or does not, and says nothing before the deadline.
    Stalls,
    /// It acts at once, and its 200 comes after the deadline.
    Late,
    /// It answers 429, and asks to wait for so long; or does not say how long.
    Limits(Option<u64>),
    /// It answers 401.
    Refuses,
    /// It says one thing, and then another.
    Alternates,
    /// It takes some and says 400 to others.
    Picky,
    /// The connector itself traps.
    Traps,
}

/// What the host sees of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A status, with a Retry-After.
    Status(u16, Option<u64>),
    /// Nothing before the deadline.
    Silence,
    /// No connection.
    Unreachable,
    /// The connector has trapped before anything left.
    Trap,
}

/// A call, as it will go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// After so many milliseconds the host knows.
    pub(super) takes_ms: u64,
    /// What.
    pub(super) reply: Reply,
    /// Whether the destination does what was asked, whatever it says.
    pub(super) acts: bool,
}

/// A destination.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    /// How it behaves until each of these times; and well after the last.
    pub(super) moods: Vec<(u64, Mood)>,
    /// Longest time that it takes to answer when it is well.
    pub(super) answers_ms: u64,
    calls: u64,
}

impl Destination {
    /// One that behaves so.
    pub(super) fn new(moods: Vec<(u64, Mood)>, answers_ms: u64) -> Self {
        Self {
            moods,
            answers_ms,
            calls: 0,
        }
    }

    /// It is well from now on.
    pub(super) fn heal(&mut self) {
        self.moods.clear();
    }

    /// A call that begins at this time and has so long.
    pub(super) fn call(&mut self, now_ms: u64, deadline_ms: u64, rng: &mut StdRng) -> Call {
        self.calls += 1;
        let current = self.moods.iter().find(|(until, _)| now_ms < *until);
        let mood = current.map_or(Mood::Well, |(_, mood)| *mood);
        let reply = match mood {
            Mood::Well => Reply::Status(200, None),
            Mood::Down => Reply::Status(503, rng.random_bool(0.2).then(|| rng.random_range(0..20_000))),
            Mood::Unreachable => Reply::Unreachable,
            Mood::Stalls | Mood::Late => Reply::Silence,
            Mood::Limits(wait_ms) => Reply::Status(429, wait_ms),
            Mood::Refuses => Reply::Status(401, None),
            Mood::Alternates => match self.calls % 4 {
                0 => Reply::Status(503, None),
                1 => Reply::Status(429, Some(rng.random_range(0..5_000))),
                2 => Reply::Status(200, None),
                _ => Reply::Silence,
            },
            Mood::Picky if self.calls.is_multiple_of(3) => Reply::Status(400, None),
            Mood::Picky => Reply::Status(201, None),
            Mood::Traps => Reply::Trap,
        };
        let acts = match reply {
            Reply::Status(status, _) => status < 300,
            Reply::Silence => mood == Mood::Late || rng.random_bool(0.5),
            Reply::Unreachable | Reply::Trap => false,
        };
        let takes_ms = match reply {
            Reply::Silence => deadline_ms,
            Reply::Status(..) | Reply::Unreachable | Reply::Trap => {
                rng.random_range(1..=self.answers_ms).min(deadline_ms)
            }
        };
        Call { takes_ms, reply, acts }
    }
}
