//! Spans and points in time as a person types them.

use std::time::Duration;

use cofferdam_domain::Timestamp;
use cofferdam_domain::connection::Span;

/// `30s`, `15m`, `2h`, `3d`: as in a connection's file.
pub(crate) fn span(text: &str) -> Option<Duration> {
    text.parse().ok().map(Span::duration)
}

/// A point in time to come: a date, which is its first moment in UTC, or RFC 3339.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let is_date = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if is_date {
        Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z"))
    } else {
        Timestamp::parse_rfc3339(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        for (text, expected) in [
            ("0s", Some(0)),
            ("15m", Some(900)),
            ("24h", Some(86_400)),
            ("30d", Some(2_592_000)),
            ("99999999999999999d", None),
            ("24", None),
            ("h", None),
            ("1é", None),
            ("", None),
        ] {
            assert_eq!(span(text), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_date_is_its_first_moment_in_utc() {
        for (text, expected) in [
            ("2027-01-31", Some("2027-01-31T00:00:00.000Z")),
            ("2027-01-31T12:30:00Z", Some("2027-01-31T12:30:00.000Z")),
            ("2027-01-31T12:30:00+01:00", Some("2027-01-31T11:30:00.000Z")),
            ("2027-02-30", None),
            ("31.1.2027", None),
            ("soon", None),
        ] {
            assert_eq!(moment(text).map(|at| at.to_string()).as_deref(), expected, "{text}");
        }
    }
}
