//! `log`: capped lines, kept for the attempt's record. They are not written anywhere until the attempt settles.

use std::time::SystemTime;

use cofferdam_domain::Timestamp;
use cofferdam_domain::attempt::LogLine;
use cofferdam_domain::limits::{
    LOG_FIELD_BYTES_MAX, LOG_FIELDS_MAX, LOG_LINES_PER_CALL_MAX, MESSAGE_BYTES_MAX, one_line,
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
        self.logs.push(LogLine {
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
        });
        Ok(())
    }
}
