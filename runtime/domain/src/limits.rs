//! Named limits that more than one crate enforces. Each is a default; where an admin can change one, the configuration
//! says so.

use std::time::Duration;

/// Largest event body and largest incoming request body, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Most events in one CloudEvents batch, and most drafts of one `receive`.
pub const EVENTS_PER_REQUEST_MAX: usize = 64;

/// Most drafts of one page of a poll.
pub const EVENTS_PER_PAGE_MAX: usize = 1000;

/// Longest cursor of a poll, in bytes.
pub const CURSOR_BYTES_MAX: usize = 4096;

/// Most polls in a row that ask for more without waiting for the schedule.
pub const PAGES_PER_RUN_MAX: u32 = 1000;

/// Longest event type, source, subject, schema and extension value, in bytes.
pub const ATTRIBUTE_BYTES_MAX: usize = 1024;

/// Most CloudEvents extension attributes of one event.
pub const EXTENSIONS_MAX: usize = 32;

/// Longest dedupe key, in bytes.
pub const DEDUPE_KEY_BYTES_MAX: usize = 256;

/// The shortest that a dedupe key can be remembered, in hours.
pub const DEDUPE_WINDOW_HOURS_MIN: u32 = 1;

/// The longest that a dedupe key can be remembered, in hours: 30 days.
pub const DEDUPE_WINDOW_HOURS_MAX: u32 = 720;

/// How long a dedupe key is remembered, unless its source says otherwise.
pub const DEDUPE_WINDOW: Duration = Duration::from_secs(72 * 3600);

/// Most requests one call may send.
pub const EXCHANGES_PER_CALL_MAX: usize = 32;

/// Largest body of one request that a call sends, in bytes.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most log lines one call may write.
pub const LOG_LINES_PER_CALL_MAX: usize = 64;

/// Longest log message, failure message and receipt summary, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// Longest field of a log line, in bytes.
pub const LOG_FIELD_BYTES_MAX: usize = 256;

/// Most fields of a log line.
pub const LOG_FIELDS_MAX: usize = 16;

/// Longest failure code, in bytes.
pub const CODE_BYTES_MAX: usize = 128;

/// Longest external id of a receipt, in bytes.
pub const EXTERNAL_ID_BYTES_MAX: usize = 256;

/// Most bytes of messages, field names and field values of all log lines of one call together: room for a whole message and
/// one whole field in every line.
pub const LOG_BYTES_PER_CALL_MAX: usize = LOG_LINES_PER_CALL_MAX * (MESSAGE_BYTES_MAX + LOG_FIELD_BYTES_MAX);

/// Largest settings object of a connection, in bytes of JSON.
pub const SETTINGS_BYTES_MAX: usize = 64 * 1024;

/// Cuts a text at a character boundary so that it takes at most `bytes_max` bytes.
pub fn clipped(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = (0..=bytes_max)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// A text from outside as one line: control characters, line breaks among them, become spaces, and it is clipped. Such a
/// text cannot forge a second line in a log.
pub fn one_line(text: &str, bytes_max: usize) -> String {
    clipped(text.trim().replace(char::is_control, " "), bytes_max)
}

#[cfg(test)]
mod tests {
    use super::{clipped, one_line};

    #[test]
    fn a_text_from_outside_cannot_forge_a_line() {
        assert_eq!(
            one_line("all well\n2026 ERROR forged\x1b[31m\n", 100),
            "all well 2026 ERROR forged [31m"
        );
    }

    #[test]
    fn clipping_never_splits_a_character() {
        assert_eq!(clipped("aé".to_owned(), 2), "a");
        assert_eq!(clipped("aé".to_owned(), 3), "aé");
        assert_eq!(clipped("é".to_owned(), 1), "");
    }
}
