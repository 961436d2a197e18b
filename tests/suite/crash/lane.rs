//! The lanes: destinations of different temper.

use axum::http::StatusCode;
use cofferdam_domain::FailureClass;

use super::destination::Destination;

/// Attempts under way at once in each.
pub(crate) const CONCURRENCY: u32 = 4;

/// A connection and the temper of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Takes everything.
    Steady,
    /// Fails the first time it is asked for an event.
    Flaky,
    /// Takes everything, and its time.
    Slow,
    /// Refuses everything: dead letters.
    Refusing,
    /// Takes everything, in the order in which each producer sent it, and some of it at the third request only.
    Ordered,
}

/// Where every delivery of a lane ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Delivered.
    Delivered,
    /// A dead letter of this class.
    Dead(FailureClass),
}

impl Lane {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Steady, Self::Flaky, Self::Slow, Self::Refusing, Self::Ordered];

    /// The connection's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Flaky => "flaky",
            Self::Slow => "slow",
            Self::Refusing => "refusing",
            Self::Ordered => "ordered",
        }
    }

    /// The lane of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.name() == name)
    }

    /// What its destination answers to this request for an event, the first being 1.
    pub(crate) fn answers(self, id: &str, request: u32) -> StatusCode {
        match self {
            Self::Flaky if request == 1 => StatusCode::SERVICE_UNAVAILABLE,
            // Without order the next event would have overtaken it by then.
            Self::Ordered if request <= 2 && stumbles(id) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Steady | Self::Flaky | Self::Slow | Self::Ordered => StatusCode::OK,
            Self::Refusing => StatusCode::BAD_REQUEST,
        }
    }

    /// Where its deliveries end.
    pub(crate) fn fate(self) -> Fate {
        match self {
            Self::Steady | Self::Flaky | Self::Slow | Self::Ordered => Fate::Delivered,
            Self::Refusing => Fate::Dead(FailureClass::Schema),
        }
    }

    /// The connection file. Nothing may die of interruptions, age or a breaker: every end but the lane's own would hide a
    /// loss.
    pub(crate) fn file(self, destination: &Destination) -> String {
        let (name, url) = (self.name(), destination.url(self));
        let order = match self {
            Self::Ordered => "order_by = \"subject\"\n",
            Self::Steady | Self::Flaky | Self::Slow | Self::Refusing => "",
        };
        format!(
            "name = \"{name}\"\nconnector = \"probe\"\nsubscribe = [\"test.{name}\", \"test.every\"]\n\n\
             [upstreams.target]\nbase_url = \"{url}\"\nattach = \"none\"\nnetworks = [\"127.0.0.0/8\"]\n\
             methods = [\"POST\"]\n\n[policy]\nconcurrency = {CONCURRENCY}\n{order}\n[policy.breaker]\nfailures = 0\n\n\
             [policy.retry]\nschedule_ms = [0, 50, 50, 100, 100, 200, 200, 400, 400, 800]\nmax_age_ms = 86400000\n\
             interruptions_max = 100\n"
        )
    }
}

/// One event in three.
fn stumbles(id: &str) -> bool {
    id.bytes().map(u32::from).sum::<u32>().is_multiple_of(3)
}
