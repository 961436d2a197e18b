//! Standard input is at its end. Standard output and standard error are lines of the call's log, within the same bounds as
//! those of `log.emit`.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cofferdam_domain::limits::MESSAGE_BYTES_MAX;
use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::cli::{stderr, stdin, stdout};
use wasmtime_wasi::p2::pipe::ClosedInputStream;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, OutputStream, Pollable, StreamError};

use super::Entered;
use crate::logbook::{LogBook, LogExceeded, LogLevel};

/// Bytes that one write may hold.
const WRITE_BYTES_MAX: usize = 4096;

impl stdin::Host for Entered<'_> {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<DynInputStream>> {
        Ok(self.wasi()?.table.push(Box::new(ClosedInputStream) as DynInputStream)?)
    }
}

impl stdout::Host for Entered<'_> {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        let wasi = self.wasi()?;
        Ok(wasi.table.push(Box::new(wasi.stdout.clone()) as DynOutputStream)?)
    }
}

impl stderr::Host for Entered<'_> {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        let wasi = self.wasi()?;
        Ok(wasi.table.push(Box::new(wasi.stderr.clone()) as DynOutputStream)?)
    }
}

/// Puts lines together and writes each into the log. Clones write to the same line.
#[derive(Clone)]
pub(super) struct Lines {
    logs: LogBook,
    level: LogLevel,
    stream: &'static str,
    unfinished: Arc<Mutex<Vec<u8>>>,
}

impl Lines {
    pub(super) fn new(logs: LogBook, level: LogLevel, stream: &'static str) -> Self {
        Self {
            logs,
            level,
            stream,
            unfinished: Arc::default(),
        }
    }

    fn take(&self, bytes: &[u8]) -> Result<(), LogExceeded> {
        self.logs.count_bytes(bytes.len())?;
        let mut line = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (part, ends) = match part.strip_suffix(b"\n") {
                Some(part) => (part, true),
                None => (part, false),
            };
            // What a line has over its bound is cut here, so that a line that never ends costs no more than one that does.
            let room = MESSAGE_BYTES_MAX.saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            if ends {
                self.write(&line)?;
                line.clear();
            }
        }
        Ok(())
    }

    /// Writes the last line, if it did not end. That it may be one too many, the log knows.
    pub(super) fn finish(self) {
        let line = std::mem::take(&mut *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner));
        _ = self.write(&line);
    }

    fn write(&self, line: &[u8]) -> Result<(), LogExceeded> {
        let text = String::from_utf8_lossy(line);
        if text.trim().is_empty() {
            return Ok(());
        }
        self.logs.write_line_of(self.stream, self.level, &text)
    }
}

#[async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.take(&bytes).map_err(|exceeded| StreamError::Trap(exceeded.into()))
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(chunks: &[&[u8]]) -> Vec<String> {
        let logs = LogBook::new(u64::MAX, u64::MAX);
        let lines = Lines::new(logs.clone(), LogLevel::Info, "stdout");
        for chunk in chunks {
            lines.take(chunk).unwrap();
        }
        lines.finish();
        logs.take().kept.into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn lines_are_put_together_whatever_they_are_written_in() {
        assert_eq!(written(&[b"one\ntw", b"o\n\n", b"thr", b"ee"]), ["one", "two", "three"]);
        assert_eq!(written(&[b"a\r\nb\x1b[31m\xff\n"]), ["a", "b [31m\u{fffd}"]);
        assert!(written(&[b"\n \n", b""]).is_empty());
    }

    #[test]
    fn a_line_that_never_ends_is_cut_at_the_bound() {
        let chunk = [b'x'; 3000];
        let lines = written(&[&chunk, &chunk, b"\nnext\n"]);
        assert_eq!(lines, ["x".repeat(MESSAGE_BYTES_MAX), "next".to_owned()]);
    }
}
