//! The limits of one call: the one table of their names, defaults and bounds, and what a server allows at most.
//!
//! A connection's policy sets each of them between what makes sense and the server's maximum. The names are the keys of
//! `[policy]` and of `[host.maximum]`.

use std::fmt;

use super::policy::Policy;
use crate::limits::EVENTS_PER_PAGE_MAX;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What one call is limited in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallLimit {
    /// Wall time.
    Deadline,
    /// Processor time.
    Cpu,
    /// Linear memory, and what the host holds for the call.
    Memory,
    /// Elements of all tables.
    TableElements,
    /// Core instances.
    Instances,
    /// Handles alive at once.
    Handles,
    /// Calls of the host.
    HostCalls,
    /// Bytes of one crossing from the guest to the host.
    HostCallBytes,
    /// Log lines, kept or not.
    LogLines,
    /// Bytes of log, kept or not.
    LogBytes,
    /// Bytes of what is returned.
    OutputBytes,
    /// Event drafts of what is returned.
    Drafts,
}

/// The values of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What a connection has that does not say otherwise.
    pub default: u64,
    /// The least that can be asked for.
    pub least: u64,
    /// What a server allows that does not say otherwise.
    pub maximum: u64,
    /// The most that a server can allow.
    pub most: u64,
}

const fn bounds(default: u64, least: u64, maximum: u64, most: u64) -> Bounds {
    Bounds {
        default,
        least,
        maximum,
        most,
    }
}

impl CallLimit {
    /// How many there are.
    pub const COUNT: usize = 12;

    /// Every limit, in the order in which they are shown.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Deadline,
        Self::Cpu,
        Self::Memory,
        Self::TableElements,
        Self::Instances,
        Self::Handles,
        Self::HostCalls,
        Self::HostCallBytes,
        Self::LogLines,
        Self::LogBytes,
        Self::OutputBytes,
        Self::Drafts,
    ];

    /// Its key in `[policy]` and in `[host.maximum]`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Deadline => "deadline_ms",
            Self::Cpu => "cpu_ms",
            Self::Memory => "memory_bytes",
            Self::TableElements => "table_elements",
            Self::Instances => "instances",
            Self::Handles => "handles",
            Self::HostCalls => "host_calls",
            Self::HostCallBytes => "host_call_bytes",
            Self::LogLines => "log_lines",
            Self::LogBytes => "log_bytes",
            Self::OutputBytes => "output_bytes",
            Self::Drafts => "drafts",
        }
    }

    /// Its default and its bounds.
    pub const fn bounds(self) -> Bounds {
        match self {
            Self::Deadline => bounds(30_000, 100, 300_000, 300_000),
            Self::Cpu => bounds(2_000, 10, 60_000, 60_000),
            Self::Memory => bounds(64 * MIB, MIB, 256 * MIB, 4096 * MIB),
            Self::TableElements => bounds(100_000, 1, 100_000, 1_000_000),
            Self::Instances => bounds(64, 1, 64, 1_000),
            Self::Handles => bounds(10_000, 1, 100_000, 1_000_000),
            Self::HostCalls => bounds(100_000, 1, 10_000_000, 1_000_000_000),
            Self::HostCallBytes => bounds(16 * MIB, 64 * KIB, 64 * MIB, 1024 * MIB),
            Self::LogLines => bounds(10_000, 1, 1_000_000, 1_000_000_000),
            Self::LogBytes => bounds(4 * MIB, KIB, 64 * MIB, 1024 * MIB),
            Self::OutputBytes => bounds(8 * MIB, KIB, 64 * MIB, 1024 * MIB),
            Self::Drafts => bounds(EVENTS_PER_PAGE_MAX as u64, 1, 10_000, 10_000),
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for CallLimit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.key())
    }
}

/// The most that a server allows any connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maximum([u64; CallLimit::COUNT]);

/// A limit that a policy sets higher than the server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverMaximum {
    /// Which one.
    pub limit: CallLimit,
    /// What the policy says.
    pub asked: u64,
    /// What the server allows, and a call gets.
    pub maximum: u64,
}

impl Default for Maximum {
    fn default() -> Self {
        Self(CallLimit::ALL.map(|limit| limit.bounds().maximum))
    }
}

impl Maximum {
    /// With one limit set to another value.
    #[must_use]
    pub fn with(mut self, limit: CallLimit, value: u64) -> Self {
        self.0[limit.index()] = value;
        self
    }

    /// The most of this limit.
    pub fn of(&self, limit: CallLimit) -> u64 {
        self.0[limit.index()]
    }

    /// What a call under this policy gets.
    pub fn held(&self, policy: &Policy, limit: CallLimit) -> u64 {
        policy.limit(limit).min(self.of(limit))
    }

    /// Every limit that the policy sets higher than the server allows, and that a call does not get.
    pub fn over(&self, policy: &Policy) -> impl Iterator<Item = OverMaximum> {
        CallLimit::ALL
            .map(|limit| OverMaximum {
                limit,
                asked: policy.limit(limit),
                maximum: self.of(limit),
            })
            .into_iter()
            .filter(|over| over.asked > over.maximum)
    }

    /// What a connection file asks for and cannot have, each as a sentence that begins with the key. A default that is above
    /// the maximum was not asked for: it is held to the maximum, and [`over`](Self::over) tells of it.
    pub fn problems(&self, policy: &Policy) -> Vec<String> {
        self.over(policy)
            .filter(|over| over.asked != over.limit.bounds().default)
            .map(|over| {
                format!(
                    "policy.{limit} is {}; this server allows {} (host.maximum.{limit} of its configuration)",
                    over.asked,
                    over.maximum,
                    limit = over.limit
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_and_every_maximum_is_within_its_bounds_and_has_a_key_of_its_own() {
        let keys: std::collections::BTreeSet<_> = CallLimit::ALL.map(CallLimit::key).into();
        assert_eq!(keys.len(), CallLimit::COUNT);
        for (at, limit) in CallLimit::ALL.into_iter().enumerate() {
            let Bounds {
                default,
                least,
                maximum,
                most,
            } = limit.bounds();
            assert_eq!(limit.index(), at);
            assert!(least <= default && default <= maximum && maximum <= most, "{limit}");
        }
    }

    #[test]
    fn a_policy_gets_what_it_asks_for_up_to_the_maximum() {
        let policy = |cpu_ms| Policy {
            cpu_ms,
            ..Policy::default()
        };
        let maximum = Maximum::default().with(CallLimit::Cpu, 1_000);
        for (asked, held, over, problems) in [
            (999, 999, 0, 0),
            (1_000, 1_000, 0, 0),
            (1_001, 1_000, 1, 1),
            // The default was not asked for.
            (2_000, 1_000, 1, 0),
        ] {
            let policy = policy(asked);
            assert_eq!(maximum.held(&policy, CallLimit::Cpu), held, "{asked}");
            assert_eq!(maximum.over(&policy).count(), over, "{asked}");
            assert_eq!(maximum.problems(&policy).len(), problems, "{asked}");
        }
        assert_eq!(
            maximum.problems(&policy(1_001)),
            ["policy.cpu_ms is 1001; this server allows 1000 (host.maximum.cpu_ms of its configuration)"]
        );
        assert_eq!(Maximum::default().over(&Policy::default()).count(), 0);
    }
}
