//! Looks at a body while it comes in, piece by piece, for anything that a secret could begin with.
//!
//! What it has looked at it does not look at again, but for the few bytes across which a beginning could lie. Escapes are
//! undone on the way, one piece at a time, so that it takes no more memory than a piece whatever the body's size.

use super::Scanner;
use super::patterns::PROBE_BYTES_MAX;
use super::view::View;

/// Most bytes that are undone at once.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// New bytes before it is worth while to look, so that an upstream that sends byte by byte has each looked at once or twice and
/// not as often as there are pieces.
const LOOK_BYTES_MIN: usize = 4 * 1024;

/// Bytes that are looked at again with what follows them.
const OVERLAP_BYTES: usize = PROBE_BYTES_MAX - 1;

/// One body being watched.
pub(crate) struct Watch<'a> {
    scanner: &'a Scanner,
    seen: usize,
    undone: [Undone; View::ALL.len()],
    suspicious: bool,
}

/// How far one view has come.
struct Undone {
    view: View,
    /// Where in the source it goes on.
    at: usize,
    /// The last [`OVERLAP_BYTES`] of the text so far; while a piece is looked at, that piece behind them.
    text: Vec<u8>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(scanner: &'a Scanner) -> Self {
        Self {
            scanner,
            seen: 0,
            undone: View::ALL.map(|view| Undone {
                view,
                at: 0,
                text: Vec::new(),
            }),
            suspicious: false,
        }
    }

    /// Looks at what has been added to the body since the last time.
    pub(crate) fn grown(&mut self, body: &[u8]) {
        if body.len() - self.seen >= LOOK_BYTES_MIN {
            self.look(body, false);
        }
    }

    /// Looks at what is left of the body, which is whole now; whether anything in it is suspicious.
    pub(crate) fn finish(mut self, body: &[u8]) -> bool {
        self.look(body, true);
        self.suspicious
    }

    pub(super) fn look(&mut self, body: &[u8], whole: bool) {
        if self.suspicious {
            return;
        }
        let from = self.seen.saturating_sub(OVERLAP_BYTES);
        self.suspicious = self.begins_in(&body[from..]);
        self.seen = body.len();
        let Self {
            scanner,
            undone,
            suspicious,
            ..
        } = self;
        for undone in undone {
            while !*suspicious && undone.at < body.len() {
                let end = body.len().min(undone.at + PIECE_BYTES_MAX);
                let before = undone.at;
                *suspicious = undone.take(&body[..end], whole && end == body.len(), |text| {
                    scanner.0.iter().any(|patterns| patterns.may_begin_in(text))
                });
                if undone.at == before {
                    break;
                }
            }
        }
    }

    fn begins_in(&self, text: &[u8]) -> bool {
        self.scanner.0.iter().any(|patterns| patterns.may_begin_in(text))
    }
}

impl Undone {
    /// Undoes what is new in `source` and looks at it.
    fn take(&mut self, source: &[u8], whole: bool, begins_in: impl Fn(&[u8]) -> bool) -> bool {
        let new = &source[self.at..];
        if !self.view.has_mark(new) {
            // It reads as it is and has been looked at. New is how it joins what was undone before it.
            let held = self.text.len();
            self.text.extend_from_slice(&new[..new.len().min(OVERLAP_BYTES)]);
            let suspicious = held > 0 && begins_in(&self.text);
            self.text.truncate(held);
            self.text
                .extend_from_slice(&new[new.len().saturating_sub(OVERLAP_BYTES)..]);
            self.at = source.len();
            self.keep_overlap();
            return suspicious;
        }
        self.at += self.view.undo(new, whole, &mut self.text);
        let suspicious = begins_in(&self.text);
        self.keep_overlap();
        suspicious
    }

    fn keep_overlap(&mut self) {
        let passed = self.text.len().saturating_sub(OVERLAP_BYTES);
        self.text.drain(..passed);
    }
}
