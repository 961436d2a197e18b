//! `log`: capped lines, kept for the attempt's record. They are not written anywhere until the attempt settles.

use std::time::SystemTime;

use cofferdam_domain::Timestamp;
use cofferdam_domain::attempt::LogLine;
use cofferdam_domain::limits::{
    LOG_BYTES_PER_CALL_MAX, LOG_FIELD_BYTES_MAX, LOG_FIELDS_MAX, LOG_LINES_PER_CALL_MAX, MESSAGE_BYTES_MAX, one_line,
};

use crate::bindings::log::{Host, Level};
use crate::imports::Guest;

impl Host for Guest {
    fn emit(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        if self.logs.len() >= LOG_LINES_PER_CALL_MAX {
            self.logs_dropped = self.logs_dropped.saturating_add(1);
            return Ok(());
        }
        let clip = |text: String| one_line(&text, LOG_FIELD_BYTES_MAX);
        let line = LogLine {
            at: Timestamp::from_system(SystemTime::now()),
            level: match level {
                Level::Trace => "trace",
                Level::Debug => "debug",
                Level::Info => "info",
                Level::Warn => "warn",
                Level::Error => "error",
            }
            .to_owned(),
            message: one_line(&message, MESSAGE_BYTES_MAX),
            fields: fields
                .into_iter()
                .take(LOG_FIELDS_MAX)
                .map(|(name, value)| (clip(name), clip(value)))
                .collect(),
        };
        let kept: usize = self.logs.iter().map(bytes).sum();
        if kept + bytes(&line) > LOG_BYTES_PER_CALL_MAX {
            self.logs_dropped = self.logs_dropped.saturating_add(1);
        } else {
            self.logs.push(line);
        }
        Ok(())
    }
}

/// What a line counts: all that the guest wrote of it and that is kept.
fn bytes(line: &LogLine) -> usize {
    let fields = line.fields.iter().map(|(name, value)| name.len() + value.len());
    line.message.len() + fields.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::environment::Nothing;

    fn emit(guest: &mut Guest, message_bytes: usize, field_bytes: usize, fields: usize) {
        let field = ("n".repeat(field_bytes), "v".repeat(field_bytes));
        guest
            .emit(Level::Info, "m".repeat(message_bytes), vec![field; fields])
            .unwrap();
    }

    #[test]
    fn all_lines_of_a_call_share_one_bound_in_bytes() {
        let mut guest = Guest::new(Arc::new(Nothing), 0);
        let full = MESSAGE_BYTES_MAX + 2 * LOG_FIELD_BYTES_MAX * LOG_FIELDS_MAX;
        let fit = LOG_BYTES_PER_CALL_MAX / full;
        assert!(fit < LOG_LINES_PER_CALL_MAX, "the bound in lines would hide this one");
        for _ in 0..=fit {
            emit(
                &mut guest,
                2 * MESSAGE_BYTES_MAX,
                2 * LOG_FIELD_BYTES_MAX,
                2 * LOG_FIELDS_MAX,
            );
        }
        assert_eq!((guest.logs.len(), guest.logs_dropped), (fit, 1));
        // What is left takes lines until it is used to the byte.
        let mut left = LOG_BYTES_PER_CALL_MAX - fit * full;
        while left > 0 {
            let message = left.min(MESSAGE_BYTES_MAX);
            emit(&mut guest, message, 0, 0);
            left -= message;
        }
        assert_eq!(guest.logs_dropped, 1);
        emit(&mut guest, 1, 0, 0);
        assert_eq!(guest.logs_dropped, 2);
        assert_eq!(guest.logs.iter().map(bytes).sum::<usize>(), LOG_BYTES_PER_CALL_MAX);
    }

    #[test]
    fn lines_are_bounded_in_number() {
        let mut guest = Guest::new(Arc::new(Nothing), 0);
        for _ in 0..=LOG_LINES_PER_CALL_MAX {
            emit(&mut guest, 0, 0, 0);
        }
        assert_eq!((guest.logs.len(), guest.logs_dropped), (LOG_LINES_PER_CALL_MAX, 1));
    }
}
