//! Small texts.

use std::borrow::Cow;

use cofferdam_domain::Timestamp;

/// What came from outside, safe for a terminal: control characters could move its cursor or rewrite what stands there, and
/// direction marks could make it read otherwise than it is. Each becomes `�`.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let hostile = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(hostile) {
        Cow::Owned(text.replace(hostile, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// `2026-11-23 15:09:00`, in UTC.
pub(crate) fn moment(at: Timestamp) -> String {
    let (date, time) = date_and_time(at);
    format!("{date} {}", time.split('.').next().unwrap_or_default())
}

/// `2026-11-23` and `15:09:00.125`, in UTC.
pub(super) fn date_and_time(at: Timestamp) -> (String, String) {
    let text = at.to_string();
    match text.split_once('T') {
        Some((date, time)) => (date.to_owned(), time.trim_end_matches('Z').to_owned()),
        None => (String::new(), text),
    }
}

/// `1 event`, `2 events`.
pub(crate) fn plural(count: usize, what: &str) -> String {
    match (count, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_from_outside_cannot_drive_the_terminal() {
        assert_eq!(printable("plain – ünïcode"), "plain – ünïcode");
        assert_eq!(printable("\u{1b}[2Jgone\r\n"), "\u{fffd}[2Jgone\u{fffd}\u{fffd}");
        assert_eq!(printable("a\u{202e}b"), "a\u{fffd}b");
        assert_eq!(printable("\u{9b}31m"), "\u{fffd}31m");
    }

    #[test]
    fn a_moment_is_written_in_utc_without_its_milliseconds() {
        let at = Timestamp::parse_rfc3339("2026-11-23T15:09:00.125Z").unwrap();
        assert_eq!(moment(at), "2026-11-23 15:09:00");
        assert_eq!(date_and_time(at), ("2026-11-23".to_owned(), "15:09:00.125".to_owned()));
    }

    #[test]
    fn counts_agree_with_their_nouns() {
        assert_eq!(plural(1, "delivery"), "1 delivery");
        assert_eq!(plural(2, "delivery"), "2 deliveries");
        assert_eq!(plural(0, "event"), "0 events");
    }
}
