//! A span of time as a connection file writes it: `30s`, `5m`, `2h`, `1d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest text, in bytes.
const SPAN_BYTES_MAX: usize = 32;

/// The units, the longest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A whole number of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(u64);

/// Not a span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no span of time: write a whole number and ms, s, m, h or d, such as 30s or 5m")]
pub struct BadSpan(String);

impl Span {
    /// Its length.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl FromStr for Span {
    type Err = BadSpan;

    fn from_str(text: &str) -> Result<Self, BadSpan> {
        let bad = || BadSpan(text.chars().take(SPAN_BYTES_MAX).collect());
        if text.len() > SPAN_BYTES_MAX {
            return Err(bad());
        }
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        let number: u64 = number.parse().map_err(|_| bad())?;
        number.checked_mul(*millis).map(Self).ok_or_else(bad)
    }
}

impl TryFrom<String> for Span {
    type Error = BadSpan;

    fn try_from(text: String) -> Result<Self, BadSpan> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

/// In the longest unit of which it is a whole number.
impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, millis): &&(&str, u64)| self.0 >= *millis && self.0.is_multiple_of(*millis);
        match UNITS.iter().find(whole) {
            Some((unit, millis)) => write!(out, "{}{unit}", self.0 / millis),
            None => out.write_str("0s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_and_written_in_its_longest_unit() {
        for (text, millis, written) in [
            ("0s", 0, "0s"),
            ("250ms", 250, "250ms"),
            ("90s", 90_000, "90s"),
            ("120s", 120_000, "2m"),
            ("5m", 300_000, "5m"),
            ("24h", 86_400_000, "1d"),
            ("007s", 7_000, "7s"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(
                (span.duration().as_millis(), span.to_string().as_str()),
                (millis, written),
                "{text}"
            );
            assert_eq!(written.parse(), Ok(span));
        }
    }

    #[test]
    fn what_is_no_span_is_said_so() {
        for text in [
            "",
            "5",
            "m",
            "5 m",
            "-5m",
            "+5m",
            "5.5m",
            "5M",
            "5w",
            "5mm",
            "18446744073709551615d",
            "1e3s",
            "00000000000000000000000000000001s",
        ] {
            let refused = text.parse::<Span>().unwrap_err();
            assert!(refused.to_string().contains("30s or 5m"), "{text}: {refused}");
        }
    }
}
