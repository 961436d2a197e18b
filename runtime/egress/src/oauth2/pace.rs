//! How long an authorization server that does not answer is left alone.

use std::time::Duration;

/// The first wait; each failure doubles it.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait that we choose ourselves.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(300);

/// The longest that a server's `Retry-After` is honoured.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The wait after so many failures in a row: doubled each time, spread over its upper half by `spread` (0 to 1), and never
/// shorter than what the server asked for.
pub(crate) fn wait(failures: u32, retry_after: Option<Duration>, spread: f64) -> Duration {
    let doubled = FIRST
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(WAIT_MAX);
    let own = doubled.mul_f64(0.5 + spread.clamp(0.0, 1.0) / 2.0);
    retry_after.map_or(own, |asked| asked.min(RETRY_AFTER_MAX).max(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_cap_and_are_spread_over_their_upper_half() {
        for (failures, spread, expected_ms) in [
            (1, 0.0, 500),
            (1, 1.0, 1_000),
            (2, 0.0, 1_000),
            (4, 0.5, 6_000),
            (9, 1.0, 256_000),
            (10, 1.0, 300_000),
            (u32::MAX, 0.0, 150_000),
        ] {
            let waits = wait(failures, None, spread);
            assert_eq!(waits, Duration::from_millis(expected_ms), "{failures} {spread}");
        }
    }

    #[test]
    fn a_servers_own_word_is_honoured_up_to_an_hour_and_never_shortens_a_wait() {
        for (asked_s, expected_ms) in [(0, 500), (10, 10_000), (3600, 3_600_000), (86_400, 3_600_000)] {
            let waits = wait(1, Some(Duration::from_secs(asked_s)), 0.0);
            assert_eq!(waits, Duration::from_millis(expected_ms), "{asked_s}");
        }
    }
}
