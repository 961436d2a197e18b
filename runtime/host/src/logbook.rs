//! The log lines of one call, within their bounds, whoever writes them: `log.emit`, standard output or standard error.
//! They are kept for the attempt's record and not written anywhere until the attempt settles.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use cofferdam_domain::Timestamp;
use cofferdam_domain::attempt::LogLine;
use cofferdam_domain::limits::{
    LOG_BYTES_PER_CALL_MAX, LOG_FIELD_BYTES_MAX, LOG_FIELDS_MAX, LOG_LINES_PER_CALL_MAX, MESSAGE_BYTES_MAX, one_line,
};

/// How serious a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Clones share their lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogBook(Arc<Mutex<Lines>>);

/// What was kept, and how much was not.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) kept: Vec<LogLine>,
    pub(crate) dropped: u32,
    kept_bytes: usize,
    last_words: Option<String>,
}

impl LogBook {
    /// Keeps the line, cut to its bounds, or counts it as dropped.
    pub(crate) fn write(&self, level: LogLevel, message: &str, fields: &[(String, String)]) {
        let mut lines = self.lock();
        if lines.kept.len() >= LOG_LINES_PER_CALL_MAX {
            lines.dropped = lines.dropped.saturating_add(1);
            return;
        }
        let clip = |text: &String| one_line(text, LOG_FIELD_BYTES_MAX);
        let line = LogLine {
            at: Timestamp::from_system(SystemTime::now()),
            level: level.as_str().to_owned(),
            message: one_line(message, MESSAGE_BYTES_MAX),
            fields: fields
                .iter()
                .take(LOG_FIELDS_MAX)
                .map(|(name, value)| (clip(name), clip(value)))
                .collect(),
        };
        let line_bytes = bytes(&line);
        if lines.kept_bytes + line_bytes > LOG_BYTES_PER_CALL_MAX {
            lines.dropped = lines.dropped.saturating_add(1);
        } else {
            lines.kept_bytes += line_bytes;
            lines.last_words = matches!(level, LogLevel::Warn | LogLevel::Error).then(|| line.message.clone());
            lines.kept.push(line);
        }
    }

    /// What was written last, if it is a warning or an error: a panic is written before it traps.
    pub(crate) fn last_words(&self) -> Option<String> {
        self.lock().last_words.clone()
    }

    /// Everything so far; the book is empty behind it.
    pub(crate) fn take(&self) -> Lines {
        std::mem::take(&mut self.lock())
    }

    // A panic elsewhere while the lock was held cannot leave a line half written.
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a line counts: all that the guest wrote of it and that is kept.
fn bytes(line: &LogLine) -> usize {
    let fields = line.fields.iter().map(|(name, value)| name.len() + value.len());
    line.message.len() + fields.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(book: &LogBook, message_bytes: usize, field_bytes: usize, fields: usize) {
        let field = ("n".repeat(field_bytes), "v".repeat(field_bytes));
        book.write(LogLevel::Info, &"m".repeat(message_bytes), &vec![field; fields]);
    }

    #[test]
    fn all_lines_of_a_call_share_one_bound_in_bytes() {
        let book = LogBook::default();
        let full = MESSAGE_BYTES_MAX + 2 * LOG_FIELD_BYTES_MAX * LOG_FIELDS_MAX;
        let fit = LOG_BYTES_PER_CALL_MAX / full;
        assert!(fit < LOG_LINES_PER_CALL_MAX, "the bound in lines would hide this one");
        for _ in 0..=fit {
            write(
                &book,
                2 * MESSAGE_BYTES_MAX,
                2 * LOG_FIELD_BYTES_MAX,
                2 * LOG_FIELDS_MAX,
            );
        }
        let counted = |lines: &Lines| (lines.kept.len(), lines.dropped);
        assert_eq!(counted(&book.lock()), (fit, 1));
        // What is left takes lines until it is used to the byte.
        let mut left = LOG_BYTES_PER_CALL_MAX - fit * full;
        while left > 0 {
            let message = left.min(MESSAGE_BYTES_MAX);
            write(&book, message, 0, 0);
            left -= message;
        }
        assert_eq!(book.lock().dropped, 1);
        write(&book, 1, 0, 0);
        let lines = book.take();
        assert_eq!(lines.dropped, 2);
        assert_eq!(lines.kept.iter().map(bytes).sum::<usize>(), LOG_BYTES_PER_CALL_MAX);
    }

    #[test]
    fn lines_are_bounded_in_number() {
        let book = LogBook::default();
        for _ in 0..=LOG_LINES_PER_CALL_MAX {
            write(&book, 0, 0, 0);
        }
        let lines = book.take();
        assert_eq!((lines.kept.len(), lines.dropped), (LOG_LINES_PER_CALL_MAX, 1));
    }

    #[test]
    fn last_words_are_a_warning_or_an_error_that_nothing_follows() {
        let book = LogBook::default();
        book.write(LogLevel::Error, "help", &[]);
        assert_eq!(book.last_words().as_deref(), Some("help"));
        book.write(LogLevel::Info, "all is well", &[]);
        assert_eq!(book.last_words(), None);
    }
}
