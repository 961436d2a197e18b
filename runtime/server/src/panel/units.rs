//! Times, spans and sizes as a person reads them.

use std::time::Duration;

use cofferdam_domain::Timestamp;

/// A point in time, and how far it is from when the page was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// RFC 3339, for machines and for who points at it.
    pub(super) exact: String,
    /// `5 min ago`, `in 2 h`.
    pub(super) relative: String,
}

impl Moment {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        let relative = if at > now {
            format!("in {}", rounded(at.since(now)))
        } else if now.since(at) < Duration::from_secs(1) {
            "just now".to_owned()
        } else {
            format!("{} ago", rounded(now.since(at)))
        };
        Self {
            exact: at.to_string(),
            relative,
        }
    }
}

/// The time of day in UTC with milliseconds; the date is shown elsewhere.
pub(super) fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('T') {
        Some((_, time)) => time.trim_end_matches('Z').to_owned(),
        None => text,
    }
}

const UNITS: [(u128, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];

/// The largest unit of it, cut off: `3 d`, `59 min`.
pub(super) fn rounded(span: Duration) -> String {
    let millis = span.as_millis();
    match UNITS.into_iter().find(|(unit, _)| millis >= *unit) {
        Some((unit, name)) => format!("{} {name}", millis / unit),
        None => format!("{millis} ms"),
    }
}

/// Exactly, in the two largest units where that is exact: `30 s`, `1 min 30 s`, `1.5 s`, `250 ms`.
pub(super) fn span(span: Duration) -> String {
    let millis = span.as_millis();
    let Some(at) = UNITS.iter().position(|(unit, _)| millis >= *unit) else {
        return format!("{millis} ms");
    };
    let (unit, name) = UNITS[at];
    let (whole, rest) = (millis / unit, millis % unit);
    match (rest, UNITS.get(at + 1)) {
        (0, _) => format!("{whole} {name}"),
        (_, Some((smaller, smaller_name))) => format!("{whole} {name} {} {smaller_name}", rest / smaller),
        (_, None) => format!("{whole}.{} s", format!("{rest:03}").trim_end_matches('0')),
    }
}

/// How long after `start` something happened: `+0.125 s`, `+2 min 5 s`.
pub(super) fn offset(since_start: Duration) -> String {
    match since_start.as_millis() {
        millis @ 0..=59_999 => format!("+{}.{:03} s", millis / 1_000, millis % 1_000),
        _ => format!("+{}", span(since_start)),
    }
}

/// `977`, `18,204`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `512 B`, `1.4 KiB`, `64 MiB`.
pub(super) fn bytes(count: u64) -> String {
    let unit = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
        .into_iter()
        .find(|(unit, _)| count >= *unit);
    match unit {
        None => format!("{count} B"),
        Some((unit, name)) => match (count / unit, count % unit * 10 / unit) {
            (whole, 0) => format!("{whole} {name}"),
            (whole, tenths) => format!("{whole}.{tenths} {name}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_in_the_units_a_person_would_use() {
        for (millis, exact, short) in [
            (0, "0 ms", "0 ms"),
            (999, "999 ms", "999 ms"),
            (1_000, "1 s", "1 s"),
            (1_250, "1.25 s", "1 s"),
            (90_000, "1 min 30 s", "1 min"),
            (3_600_000, "1 h", "1 h"),
            (7_500_000, "2 h 5 min", "2 h"),
            (259_200_000, "3 d", "3 d"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), exact);
            assert_eq!(rounded(Duration::from_millis(millis)), short);
        }
    }

    #[test]
    fn a_moment_says_how_far_it_is_in_either_direction() {
        let now = Timestamp::from_millis(10_000_000);
        for (at, expected) in [
            (10_000_000, "just now"),
            (9_999_500, "just now"),
            (9_999_000, "1 s ago"),
            (9_700_000, "5 min ago"),
            (10_000_250, "in 250 ms"),
            (10_120_000, "in 2 min"),
        ] {
            assert_eq!(Moment::new(Timestamp::from_millis(at), now).relative, expected, "{at}");
        }
    }

    #[test]
    fn offsets_keep_milliseconds_for_a_minute() {
        for (millis, expected) in [(0, "+0.000 s"), (59_999, "+59.999 s"), (125_400, "+2 min 5 s")] {
            assert_eq!(offset(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn sizes_have_at_most_one_decimal() {
        for (count, expected) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1 KiB"),
            (1_536, "1.5 KiB"),
            (64 << 20, "64 MiB"),
            (3 << 30, "3 GiB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
    }

    #[test]
    fn counts_have_separators_from_a_thousand_on() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (18_204, "18,204"),
            (1_000_000, "1,000,000"),
        ] {
            assert_eq!(count(number), expected);
        }
    }

    #[test]
    fn the_clock_is_the_time_of_day() {
        let at = Timestamp::parse_rfc3339("2026-11-23T15:09:00.125Z").unwrap();
        assert_eq!(clock(at), "15:09:00.125");
    }
}
