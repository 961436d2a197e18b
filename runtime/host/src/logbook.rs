//! The log lines of one call, within their bounds, whoever writes them: `log.emit`, standard output or standard error.
//! They are kept for the attempt's record and not written anywhere until the attempt settles.
//!
//! There are two bounds. What is kept is small, and what is over it is counted as dropped. What may be written at all is the
//! call's own limit: over it the guest is trapped, and the call is judged by [`LogBook::exceeded`] whatever it made of that.

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

/// A guest wrote more log than it may. Carried as a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LogExceeded {
    /// Too many lines.
    #[error("wrote {wrote} log lines; {max} are allowed")]
    Lines { wrote: u64, max: u64 },
    /// Too many bytes.
    #[error("wrote {wrote} bytes of log; {max} are allowed")]
    Bytes { wrote: u64, max: u64 },
}

/// Clones share their lines.
#[derive(Clone, Debug)]
pub(crate) struct LogBook(Arc<Mutex<Written>>);

/// All that a call wrote.
#[derive(Debug)]
struct Written {
    lines: Lines,
    wrote_lines: u64,
    wrote_bytes: u64,
    lines_max: u64,
    bytes_max: u64,
    exceeded: Option<LogExceeded>,
}

/// What was kept, and how much was not.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) kept: Vec<LogLine>,
    pub(crate) dropped: u32,
    kept_bytes: usize,
    last_words: Option<String>,
}

impl LogBook {
    /// An empty book, for so many lines and bytes at most.
    pub(crate) fn new(lines_max: u64, bytes_max: u64) -> Self {
        Self(Arc::new(Mutex::new(Written {
            lines: Lines::default(),
            wrote_lines: 0,
            wrote_bytes: 0,
            lines_max,
            bytes_max,
            exceeded: None,
        })))
    }

    /// Takes a line with its fields.
    pub(crate) fn write(&self, level: LogLevel, message: &str, fields: &[(String, String)]) -> Result<(), LogExceeded> {
        let field_bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        let mut written = self.lock();
        written.count(1, message.len() + field_bytes)?;
        written.lines.keep(level, message, fields);
        Ok(())
    }

    /// Takes a line of a stream, whose bytes were counted as they came.
    pub(crate) fn write_line_of(&self, stream: &str, level: LogLevel, message: &str) -> Result<(), LogExceeded> {
        let mut written = self.lock();
        written.count(1, 0)?;
        let fields = [("stream".to_owned(), stream.to_owned())];
        written.lines.keep(level, message, &fields);
        Ok(())
    }

    /// Counts bytes of a stream, whatever lines they make.
    pub(crate) fn count_bytes(&self, bytes: usize) -> Result<(), LogExceeded> {
        self.lock().count(0, bytes)
    }

    /// The bound that was met, if one was.
    pub(crate) fn exceeded(&self) -> Option<LogExceeded> {
        self.lock().exceeded
    }

    /// What was written last, if it is a warning or an error: a panic is written before it traps.
    pub(crate) fn last_words(&self) -> Option<String> {
        self.lock().lines.last_words.clone()
    }

    /// Everything so far; the book is empty behind it.
    pub(crate) fn take(&self) -> Lines {
        std::mem::take(&mut self.lock().lines)
    }

    // A panic elsewhere while the lock was held cannot leave a line half written.
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Written {
    fn count(&mut self, lines: u64, bytes: usize) -> Result<(), LogExceeded> {
        self.wrote_lines += lines;
        self.wrote_bytes = self.wrote_bytes.saturating_add(bytes as u64);
        let exceeded = if self.wrote_lines > self.lines_max {
            LogExceeded::Lines {
                wrote: self.wrote_lines,
                max: self.lines_max,
            }
        } else if self.wrote_bytes > self.bytes_max {
            LogExceeded::Bytes {
                wrote: self.wrote_bytes,
                max: self.bytes_max,
            }
        } else {
            return Ok(());
        };
        Err(*self.exceeded.get_or_insert(exceeded))
    }
}

impl Lines {
    /// Keeps the line, cut to its bounds, or counts it as dropped.
    fn keep(&mut self, level: LogLevel, message: &str, fields: &[(String, String)]) {
        // Also of a line that there is no room for: it may be why the call ends.
        let is_grave = matches!(level, LogLevel::Warn | LogLevel::Error);
        self.last_words = is_grave.then(|| one_line(message, MESSAGE_BYTES_MAX));
        if self.kept.len() >= LOG_LINES_PER_CALL_MAX {
            self.dropped = self.dropped.saturating_add(1);
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
        if self.kept_bytes + line_bytes > LOG_BYTES_PER_CALL_MAX {
            self.dropped = self.dropped.saturating_add(1);
        } else {
            self.kept_bytes += line_bytes;
            self.kept.push(line);
        }
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

    fn unbounded() -> LogBook {
        LogBook::new(u64::MAX, u64::MAX)
    }

    fn write(book: &LogBook, message_bytes: usize, field_bytes: usize, fields: usize) {
        let field = ("n".repeat(field_bytes), "v".repeat(field_bytes));
        let written = book.write(LogLevel::Info, &"m".repeat(message_bytes), &vec![field; fields]);
        written.unwrap();
    }

    #[test]
    fn all_lines_of_a_call_share_one_bound_in_bytes() {
        let book = unbounded();
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
        assert_eq!(counted(&book.lock().lines), (fit, 1));
        // What is left takes lines until it is used to the byte.
        let mut left = LOG_BYTES_PER_CALL_MAX - fit * full;
        while left > 0 {
            let message = left.min(MESSAGE_BYTES_MAX);
            write(&book, message, 0, 0);
            left -= message;
        }
        assert_eq!(book.lock().lines.dropped, 1);
        write(&book, 1, 0, 0);
        let lines = book.take();
        assert_eq!(lines.dropped, 2);
        assert_eq!(lines.kept.iter().map(bytes).sum::<usize>(), LOG_BYTES_PER_CALL_MAX);
    }

    #[test]
    fn lines_are_bounded_in_number() {
        let book = unbounded();
        for _ in 0..=LOG_LINES_PER_CALL_MAX {
            write(&book, 0, 0, 0);
        }
        let lines = book.take();
        assert_eq!((lines.kept.len(), lines.dropped), (LOG_LINES_PER_CALL_MAX, 1));
    }

    #[test]
    fn last_words_are_a_warning_or_an_error_that_nothing_follows() {
        let book = unbounded();
        book.write(LogLevel::Error, "help", &[]).unwrap();
        assert_eq!(book.last_words().as_deref(), Some("help"));
        book.write(LogLevel::Info, "all is well", &[]).unwrap();
        assert_eq!(book.last_words(), None);
    }

    #[test]
    fn last_words_are_the_last_even_where_no_line_is_kept_any_more() {
        let book = unbounded();
        for _ in 0..LOG_LINES_PER_CALL_MAX {
            book.write(LogLevel::Warn, "slow", &[]).unwrap();
        }
        book.write(LogLevel::Error, "panicked", &[]).unwrap();
        assert_eq!(book.last_words().as_deref(), Some("panicked"));
    }

    #[test]
    fn what_may_be_written_is_bounded_whether_it_is_kept_or_not() {
        let two_lines = LogBook::new(2, u64::MAX);
        write(&two_lines, 1, 0, 0);
        two_lines.write_line_of("stdout", LogLevel::Info, "two").unwrap();
        assert_eq!(two_lines.exceeded(), None);
        let refused = two_lines.write(LogLevel::Info, "three", &[]).unwrap_err();
        assert_eq!(refused.to_string(), "wrote 3 log lines; 2 are allowed");
        assert_eq!((two_lines.exceeded(), two_lines.take().kept.len()), (Some(refused), 2));

        let ten_bytes = LogBook::new(u64::MAX, 10);
        write(&ten_bytes, 2, 1, 2);
        ten_bytes.count_bytes(4).unwrap();
        assert_eq!(ten_bytes.exceeded(), None);
        let refused = ten_bytes.count_bytes(1).unwrap_err();
        assert_eq!(refused.to_string(), "wrote 11 bytes of log; 10 are allowed");
        assert!(ten_bytes.write(LogLevel::Info, "", &[]).is_err());
        assert_eq!(ten_bytes.exceeded(), Some(refused), "the first is what is told");
    }
}
