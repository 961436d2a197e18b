//! Finds a credential that an upstream sends back, and takes it out before the guest sees it.
//!
//! Looked for: the secret as it is, in base64 (all three alignments, both alphabets), in hex of either case, each of them
//! percent-encoded or JSON-escaped in any of the ways these allow. Encodings of fewer than [`ENCODED_BYTES_MIN`] bytes
//! are not looked for, since they would match innocent text; the plain secret is, however short it is. Not seen:
//! compression inside the body, encryption, HTML entities, or any encoding of an upstream's own devising.
//!
//! A scan takes memory for one more copy of the body, and one for the cleaned body if there is something to take out.

mod view;

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError, MatchKind};
use bytes::Bytes;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use zeroize::Zeroizing;

use self::view::View;

/// What stands in the place of a secret.
pub(crate) const REDACTED: &[u8] = b"[redacted]";

/// Shortest encoded form that is looked for, in bytes.
pub(crate) const ENCODED_BYTES_MIN: usize = 6;

/// A shared last character and two of padding.
const BASE64_TAIL_MAX: usize = 3;

/// Finds one request's secrets in its answer. The automaton holds the patterns unwiped for as long as the exchange
/// lasts.
pub(crate) struct Scanner {
    patterns: AhoCorasick,
    kinds: Vec<Kind>,
    lower_case: Vec<Zeroizing<Vec<u8>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Its first and last byte share a character with what stands beside them, which is taken out too.
    Base64,
}

/// Half-open.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

impl Scanner {
    /// A scanner for every needle in every encoding.
    pub(crate) fn new<'a>(needles: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, BuildError> {
        let mut patterns: Vec<(Kind, Zeroizing<Vec<u8>>)> = Vec::new();
        let mut lower_case = Vec::new();
        for needle in needles.into_iter().filter(|needle| !needle.is_empty()) {
            lower_case.push(Zeroizing::new(needle.to_ascii_lowercase()));
            add_forms(needle, &mut patterns);
        }
        let kinds = patterns.iter().map(|(kind, _)| *kind).collect();
        let patterns = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .match_kind(MatchKind::Standard)
            .build(patterns.iter().map(|(_, bytes)| bytes.as_slice()))?;
        Ok(Self {
            patterns,
            kinds,
            lower_case,
        })
    }

    /// The bytes without secrets, and whether there was one.
    pub(crate) fn redact(&self, bytes: Bytes) -> (Bytes, bool) {
        let mut spans = self.spans(&bytes);
        // One view at a time, so that a body costs one copy of itself.
        for view in View::ALL {
            if let Some(text) = view.text(&bytes) {
                let found = self.spans(&text);
                drop(text);
                spans.extend(view.origins(&bytes, found));
            }
        }
        if spans.is_empty() {
            return (bytes, false);
        }
        spans.sort_unstable_by_key(|span| span.start);
        let spans = merged(spans);
        let covered: usize = spans.iter().map(|span| span.end - span.start).sum();
        let mut clean = Vec::with_capacity(bytes.len() - covered + spans.len() * REDACTED.len());
        let mut at = 0;
        for span in spans {
            clean.extend_from_slice(&bytes[at..span.start]);
            clean.extend_from_slice(REDACTED);
            at = span.end;
        }
        clean.extend_from_slice(&bytes[at..]);
        (clean.into(), true)
    }

    /// Whether a header name, which HTTP writes in lower case, holds a secret.
    pub(crate) fn is_in_name(&self, name: &str) -> bool {
        let holds = |needle: &[u8]| name.as_bytes().windows(needle.len()).any(|window| window == needle);
        !self.spans(name.as_bytes()).is_empty() || self.lower_case.iter().any(|needle| holds(needle))
    }

    fn spans(&self, bytes: &[u8]) -> Vec<Span> {
        let found = self.patterns.find_overlapping_iter(bytes).map(|found| {
            let span = Span {
                start: found.start(),
                end: found.end(),
            };
            match self.kinds[found.pattern().as_usize()] {
                Kind::Plain => span,
                Kind::Base64 => widened(span, bytes),
            }
        });
        merged(found)
    }
}

/// Joins spans that touch. Wants them sorted by start or by end.
fn merged(spans: impl IntoIterator<Item = Span>) -> Vec<Span> {
    let mut joined: Vec<Span> = Vec::new();
    for mut span in spans {
        while let Some(last) = joined.pop_if(|last| span.start <= last.end) {
            span = Span {
                start: span.start.min(last.start),
                end: span.end.max(last.end),
            };
        }
        joined.push(span);
    }
    joined
}

fn widened(span: Span, bytes: &[u8]) -> Span {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let before = span
        .start
        .checked_sub(1)
        .and_then(|at| bytes.get(at))
        .is_some_and(is_base64);
    let mut end = span.end + usize::from(bytes.get(span.end).is_some_and(is_base64));
    while bytes.get(end) == Some(&b'=') && end < span.end + BASE64_TAIL_MAX {
        end += 1;
    }
    Span {
        start: span.start - usize::from(before),
        end,
    }
}

fn add_forms(needle: &[u8], patterns: &mut Vec<(Kind, Zeroizing<Vec<u8>>)>) {
    let mut add = |kind, bytes: Vec<u8>, bytes_min: usize| {
        if bytes.len() >= bytes_min {
            patterns.push((kind, Zeroizing::new(bytes)));
        }
    };
    add(Kind::Plain, needle.to_vec(), 1);
    if needle.contains(&b' ') {
        // application/x-www-form-urlencoded
        let plus = needle
            .iter()
            .map(|byte| if *byte == b' ' { b'+' } else { *byte })
            .collect();
        add(Kind::Plain, plus, 1);
    }
    add(Kind::Plain, HEXLOWER.encode(needle).into_bytes(), ENCODED_BYTES_MIN);
    add(Kind::Plain, HEXUPPER.encode(needle).into_bytes(), ENCODED_BYTES_MIN);
    for alignment in 0..3 {
        let shifted = Zeroizing::new([&[0; 2][..alignment], needle].concat());
        // Characters that depend on nothing but the needle.
        let first = (alignment * 8).div_ceil(6);
        let end = shifted.len() * 8 / 6;
        let standard = BASE64_NOPAD.encode(&shifted);
        let url_safe = BASE64URL_NOPAD.encode(&shifted);
        let stable = |text: &str| text.as_bytes().get(first..end).unwrap_or_default().to_vec();
        add(Kind::Base64, stable(&standard), ENCODED_BYTES_MIN);
        if standard != url_safe {
            add(Kind::Base64, stable(&url_safe), ENCODED_BYTES_MIN);
        }
    }
}

#[cfg(test)]
mod tests;
