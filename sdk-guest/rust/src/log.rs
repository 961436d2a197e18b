//! Notes for the person on call, joined to the trace. At most 1 KiB of message and 16 fields of 256 bytes a line, 64 lines a
//! call; what is over is dropped and counted. Never log bodies or personal data.

pub use crate::bindings::imports::cofferdam::connector::log::Level;

use crate::host;

/// Writes one line at this level.
pub fn emit(level: Level, message: &str, fields: &[(&str, &str)]) {
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    host::log(level, message, &fields);
}

/// For following one call step by step.
pub fn trace(message: &str, fields: &[(&str, &str)]) {
    emit(Level::Trace, message, fields);
}

/// For finding out why.
pub fn debug(message: &str, fields: &[(&str, &str)]) {
    emit(Level::Debug, message, fields);
}

/// Something worth knowing.
pub fn info(message: &str, fields: &[(&str, &str)]) {
    emit(Level::Info, message, fields);
}

/// Something that may need attention.
pub fn warn(message: &str, fields: &[(&str, &str)]) {
    emit(Level::Warn, message, fields);
}

/// Something that did not work.
pub fn error(message: &str, fields: &[(&str, &str)]) {
    emit(Level::Error, message, fields);
}
