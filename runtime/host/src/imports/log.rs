//! `log`: lines for the attempt's record.

use crate::bindings::log::{Host, Level};
use crate::imports::Guest;
use crate::logbook::LogLevel;

impl Host for Guest {
    fn emit(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        self.entered()?;
        let level = match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        Ok(self.logs.write(level, &message, &fields)?)
    }
}
