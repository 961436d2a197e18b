//! Where results go: standard output, as text for people or as one JSON document for programs.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use serde::Serialize;

use crate::paint::Paint;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    paint: Paint,
}

impl Output {
    /// Colours only where a person looks at a terminal and has not asked for none.
    pub(crate) fn new(json: bool) -> Self {
        let variable = |name| std::env::var_os(name);
        Self {
            format: if json { Format::Json } else { Format::Text },
            paint: Paint::for_stream(io::stdout().is_terminal(), variable("NO_COLOR"), variable("TERM")),
        }
    }

    /// Whether a program reads.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// How text is set off.
    pub(crate) fn paint(self) -> Paint {
        self.paint
    }

    /// Writes a result in the form that was asked for.
    pub(crate) fn show<T: Serialize + ?Sized>(
        self,
        value: &T,
        text: impl FnOnce(Paint) -> String,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Text => self.line(&text(self.paint)),
            Format::Json => self.line(&serde_json::to_string_pretty(value).context("the result has no JSON form")?),
        }
    }

    /// Writes a text, and a line end if it has none. A reader who has gone (`| head`) wants no more, and that is no error.
    pub(crate) fn line(self, text: &str) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        let end = if text.ends_with('\n') { "" } else { "\n" };
        match write!(out, "{text}{end}").and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("standard output"),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Writes a line to standard error. Where that is closed there is nobody to tell.
pub(crate) fn complain(text: &str) {
    let _closed = writeln!(io::stderr(), "{text}");
}
