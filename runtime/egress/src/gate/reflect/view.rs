//! A body as it reads once its escapes are undone, with the way back to where each byte came from.
//!
//! Looking at the undone text finds every way in which a secret can be escaped, which no list of patterns could: one
//! character of it, or all, in either case, as `\u0041`, `\/` or `%41`.
//!
//! A view takes no more memory than its source: the way back is read again when it is needed, which is hardly ever, instead
//! of kept for every byte.

use std::ops::Range;

use memchr::memchr;

use super::Span;

/// Longest escape, in bytes: a pair of `\uXXXX`.
const ESCAPE_BYTES_MAX: usize = 12;

/// A way of escaping.
#[derive(Clone, Copy)]
pub(super) enum View {
    /// `%XX`.
    Percent,
    /// RFC 8259 section 7.
    Json,
}

/// One byte, or one escape and what it stands for.
struct Unit {
    /// Which bytes of the text it makes.
    text: Range<usize>,
    /// Where it stands in the source.
    origin: Range<usize>,
}

/// Reads a source unit by unit.
struct Units<'a> {
    view: View,
    source: &'a [u8],
    text_at: usize,
    source_at: usize,
}

/// An escape read at some place: what it stands for, and how long it is.
struct Escape {
    stands_for: [u8; 4],
    stands_for_len: usize,
    len: usize,
}

impl View {
    /// Every view that is looked at.
    pub(super) const ALL: [Self; 2] = [Self::Percent, Self::Json];

    /// Whether there may be something to undo.
    pub(super) fn has_mark(self, source: &[u8]) -> bool {
        memchr(self.mark(), source).is_some()
    }

    /// The text; none if there is nothing to undo.
    pub(super) fn text(self, source: &[u8]) -> Option<Vec<u8>> {
        if !self.has_mark(source) {
            return None;
        }
        let mut text = Vec::with_capacity(source.len());
        self.undo(source, true, &mut text);
        Some(text)
    }

    /// Adds the text of `source` and tells how much of it was read: all of it if it is `whole`, and otherwise up to an escape
    /// that may go on behind its end.
    pub(super) fn undo(self, source: &[u8], whole: bool, text: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while let Some(plain) = memchr(self.mark(), &source[at..]) {
            text.extend_from_slice(&source[at..at + plain]);
            at += plain;
            let rest = &source[at..];
            if !whole && rest.len() < ESCAPE_BYTES_MAX {
                return at;
            }
            let escape = self.escape(rest).unwrap_or_else(|| Escape::byte(self.mark(), 1));
            text.extend_from_slice(&escape.stands_for[..escape.stands_for_len]);
            at += escape.len;
        }
        text.extend_from_slice(&source[at..]);
        source.len()
    }

    /// What spans of the text cover in its source. An escape that is covered in part is covered. The spans are not empty,
    /// sorted, and do not overlap.
    pub(super) fn origins(self, source: &[u8], spans: impl IntoIterator<Item = Span>) -> impl Iterator<Item = Span> {
        let mut units = self.units(source);
        let mut unit = units.next();
        let mut origin_of = move |text_at: usize| {
            while let Some(passed) = unit.take_if(|unit| unit.text.end <= text_at) {
                unit = units.next();
                debug_assert!(unit.is_some(), "the text ends at {}", passed.text.end);
            }
            unit.as_ref()
                .map_or(source.len()..source.len(), |unit| unit.origin.clone())
        };
        spans.into_iter().map(move |span| Span {
            start: origin_of(span.start).start,
            end: origin_of(span.end - 1).end,
        })
    }

    fn units(self, source: &[u8]) -> Units<'_> {
        Units {
            view: self,
            source,
            text_at: 0,
            source_at: 0,
        }
    }

    fn mark(self) -> u8 {
        match self {
            Self::Percent => b'%',
            Self::Json => b'\\',
        }
    }

    /// The escape at the start of `rest`, which starts with the mark.
    fn escape(self, rest: &[u8]) -> Option<Escape> {
        match self {
            Self::Percent => Some(Escape::byte(hex(rest.get(1..3)?)?.to_be_bytes()[3], 3)),
            Self::Json => json_escape(rest),
        }
    }
}

impl Iterator for Units<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        let rest = &self.source[self.source_at..];
        let first = *rest.first()?;
        let escape = (first == self.view.mark())
            .then(|| self.view.escape(rest))
            .flatten()
            .unwrap_or_else(|| Escape::byte(first, 1));
        let unit = Unit {
            text: self.text_at..self.text_at + escape.stands_for_len,
            origin: self.source_at..self.source_at + escape.len,
        };
        self.text_at = unit.text.end;
        self.source_at = unit.origin.end;
        Some(unit)
    }
}

impl Escape {
    fn byte(byte: u8, len: usize) -> Self {
        Self {
            stands_for: [byte, 0, 0, 0],
            stands_for_len: 1,
            len,
        }
    }
}

fn json_escape(rest: &[u8]) -> Option<Escape> {
    Some(match rest.get(1)? {
        b'b' => Escape::byte(0x08, 2),
        b'f' => Escape::byte(0x0c, 2),
        b'n' => Escape::byte(b'\n', 2),
        b'r' => Escape::byte(b'\r', 2),
        b't' => Escape::byte(b'\t', 2),
        b'u' => return json_unicode(rest),
        plain @ (b'"' | b'\\' | b'/') => Escape::byte(*plain, 2),
        _ => return None,
    })
}

fn json_unicode(rest: &[u8]) -> Option<Escape> {
    let unit = |at: usize| hex(rest.get(at..at + 4)?);
    let first = unit(2)?;
    let paired = || {
        let second = (rest.get(6..8)? == br"\u").then(|| unit(8)).flatten()?;
        let both = (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&second);
        both.then(|| 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    };
    let (code, len) = paired().map_or((first, 6), |code| (code, 12));
    let mut stands_for = [0; 4];
    let stands_for_len = char::from_u32(code)?.encode_utf8(&mut stands_for).len();
    Some(Escape {
        stands_for,
        stands_for_len,
        len,
    })
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}
