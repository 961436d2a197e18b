//! What an admin grants a connector to keep, and when it is asked for news: `[state]` and `[poll]` of a connection file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::span::Span;
use crate::state::{STATE_BYTES_DEFAULT, STATE_BYTES_MAX, STATE_BYTES_MIN};

/// The shortest interval between two polls.
pub const POLL_EVERY_MIN: Duration = Duration::from_secs(1);

/// The longest interval.
pub const POLL_EVERY_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// The most that jitter is where the file does not say, and the part of the interval that it is.
pub const POLL_JITTER_DEFAULT_MAX: Duration = Duration::from_secs(60);
/// See [`POLL_JITTER_DEFAULT_MAX`].
pub const POLL_JITTER_DEFAULT_DIVISOR: u32 = 10;

/// The longest jitter that can be asked for.
pub const POLL_JITTER_MAX: Duration = Duration::from_secs(3600);

/// Longest cron expression and time zone, in bytes.
pub(super) const POLL_TEXT_BYTES_MAX: usize = 256;

/// The grant of a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateGrant {
    /// Keys and values together, in bytes; never more than the server's `host.maximum.state_bytes`.
    pub bytes_max: u64,
}

impl Default for StateGrant {
    fn default() -> Self {
        Self {
            bytes_max: STATE_BYTES_DEFAULT,
        }
    }
}

impl StateGrant {
    /// What is wrong with it, as a sentence that begins with the key.
    pub fn problems(&self) -> Vec<String> {
        if (STATE_BYTES_MIN..=STATE_BYTES_MAX).contains(&self.bytes_max) {
            return Vec::new();
        }
        vec![format!(
            "state.bytes_max is {}; it must be {STATE_BYTES_MIN} to {STATE_BYTES_MAX}",
            self.bytes_max
        )]
    }
}

/// The grant of a schedule. Without `every` and `cron` the connector's own wish counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PollGrant {
    /// An interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// Five fields of cron: minute, hour, day of month, month, day of week.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// An IANA name, by which `cron` goes; none means UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Each poll comes up to so much later than its time, by chance; none means a tenth of the interval, at most a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
    /// What becomes of times at which the connection could not be polled.
    pub missed: Missed,
}

/// What becomes of times that passed while the server was down, the connection off, or the poll before still under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// One poll at once stands for all of them.
    #[default]
    Once,
    /// The next one is at its own time.
    Skip,
}

impl PollGrant {
    /// What is wrong with it, each as a sentence that begins with the key. Whether a cron expression and its time zone can be
    /// read is not looked at here.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(every) = self.every
            && !(POLL_EVERY_MIN..=POLL_EVERY_MAX).contains(&every.duration())
        {
            let (min, max) = (Span::from(POLL_EVERY_MIN), Span::from(POLL_EVERY_MAX));
            problems.push(format!("poll.every is {every}; it must be {min} to {max}"));
        }
        if self.every.is_some() && self.cron.is_some() {
            problems.push("poll.cron stands beside poll.every: write one of them".to_owned());
        }
        if self.timezone.is_some() && self.cron.is_none() {
            problems.push("poll.timezone means nothing without poll.cron: leave it out".to_owned());
        }
        for (name, text) in [("cron", &self.cron), ("timezone", &self.timezone)] {
            if text
                .as_ref()
                .is_some_and(|text| text.len() > POLL_TEXT_BYTES_MAX || text.trim().is_empty())
            {
                problems.push(format!("poll.{name} must be 1 to {POLL_TEXT_BYTES_MAX} bytes"));
            }
        }
        if let Some(jitter) = self.jitter {
            let max = self
                .every
                .map_or(POLL_JITTER_MAX, |every| (every.duration() / 2).min(POLL_JITTER_MAX));
            if jitter.duration() > max {
                let max = Span::from(max);
                problems.push(format!(
                    "poll.jitter is {jitter}; it must be at most {max}: half of the interval, and an hour"
                ));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(grant: &serde_json::Value, expected: &[&str]) {
        let problems = serde_json::from_value::<PollGrant>(grant.clone()).unwrap().problems();
        let begins = |(problem, expected): (&String, &&str)| problem.starts_with(expected);
        assert!(
            problems.len() == expected.len() && problems.iter().zip(expected).all(begins),
            "{grant}: {problems:?}"
        );
    }

    #[test]
    fn every_value_out_of_bounds_is_named() {
        check(&serde_json::json!({}), &[]);
        check(&serde_json::json!({ "every": "1s" }), &[]);
        check(&serde_json::json!({ "every": "366d" }), &[]);
        check(
            &serde_json::json!({ "every": "999ms" }),
            &["poll.every is 999ms; it must be 1s to 366d"],
        );
        check(&serde_json::json!({ "every": "367d" }), &["poll.every is 367d"]);
        check(
            &serde_json::json!({ "every": "5m", "cron": "* * * * *" }),
            &["poll.cron stands beside"],
        );
        check(
            &serde_json::json!({ "every": "5m", "timezone": "UTC" }),
            &["poll.timezone means nothing"],
        );
        check(
            &serde_json::json!({ "cron": "" }),
            &["poll.cron must be 1 to 256 bytes"],
        );
        check(&serde_json::json!({ "cron": "x".repeat(257) }), &["poll.cron must be"]);
        check(&serde_json::json!({ "every": "10s", "jitter": "5s" }), &[]);
        check(
            &serde_json::json!({ "every": "10s", "jitter": "5001ms" }),
            &["poll.jitter is 5001ms; it must be at most 5s"],
        );
        check(
            &serde_json::json!({ "cron": "0 * * * *", "jitter": "61m" }),
            &["poll.jitter is 61m; it must be at most 1h"],
        );
    }

    #[test]
    fn a_state_is_granted_within_bounds() {
        assert_eq!(StateGrant::default().problems(), Vec::<String>::new());
        for (bytes_max, good) in [
            (STATE_BYTES_MIN - 1, false),
            (STATE_BYTES_MIN, true),
            (STATE_BYTES_MAX, true),
            (STATE_BYTES_MAX + 1, false),
        ] {
            assert_eq!(StateGrant { bytes_max }.problems().is_empty(), good, "{bytes_max}");
        }
    }
}
