//! Finds a credential that an upstream sends back, and takes it out before the guest sees it.
//!
//! Looked for: the secret as it is, in base64 (all three alignments, both alphabets), in hex of either case, each of them
//! percent-encoded or JSON-escaped in any of the ways these allow. Encodings of fewer than six bytes
//! are not looked for, since they would match innocent text; the plain secret is, however short it is. Not seen:
//! compression inside the body, encryption, HTML entities, or any encoding of an upstream's own devising.
//!
//! An answer is watched while it comes in ([`Watch`]), by vector instructions and for the beginnings of what is looked for;
//! only one that looks suspicious is searched to the letter when it is whole. The first costs no copy of the body, the second
//! one, and one for the cleaned body if there is something to take out.

mod patterns;
mod view;
mod watch;

use std::sync::Arc;

use aho_corasick::AhoCorasick;
use bytes::Bytes;

use self::patterns::Kind;
pub(crate) use self::patterns::Patterns;
use self::view::View;
pub(crate) use self::watch::Watch;

/// What stands in the place of a secret.
pub(crate) const REDACTED: &[u8] = b"[redacted]";

/// A shared last character and two of padding.
const BASE64_TAIL_MAX: usize = 3;

/// Finds one request's secrets in its answer.
pub(crate) struct Scanner(Vec<Arc<Patterns>>);

/// Half-open.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

/// Whether a body may hold a secret in any of its forms: the first look that every answer gets. For those who measure it.
pub fn is_suspicious(secret: &[u8], body: &[u8]) -> bool {
    let patterns = Patterns::new([secret]).ok().map(Arc::new);
    Scanner::new(patterns).is_some_and(|scanner| Watch::new(&scanner).finish(body))
}

impl Scanner {
    /// A scanner for all of these together; none without any.
    pub(crate) fn new(patterns: impl IntoIterator<Item = Arc<Patterns>>) -> Option<Self> {
        let patterns: Vec<_> = patterns.into_iter().collect();
        (!patterns.is_empty()).then_some(Self(patterns))
    }

    /// Whether a search to the letter is worth while. No secret gets by; innocent text hardly ever does not.
    pub(crate) fn suspects(&self, bytes: &[u8]) -> bool {
        Watch::new(self).finish(bytes)
    }

    /// The bytes without secrets, and whether there was one.
    pub(crate) fn redact(&self, bytes: Bytes) -> (Bytes, bool) {
        if self.suspects(&bytes) {
            self.redact_suspicious(bytes)
        } else {
            (bytes, false)
        }
    }

    /// As [`Self::redact`], for bytes that are known to be suspicious.
    pub(crate) fn redact_suspicious(&self, bytes: Bytes) -> (Bytes, bool) {
        let automata: Vec<_> = self.0.iter().map(|patterns| (patterns.automaton(), patterns)).collect();
        let search = |text: &[u8]| merged_sorted(automata.iter().map(|(automaton, of)| spans(automaton, of, text)));
        let mut found = search(&bytes);
        // One view at a time, so that a body costs one copy of itself.
        for view in View::ALL {
            if let Some(text) = view.text(&bytes) {
                let in_text = search(&text);
                drop(text);
                found.extend(view.origins(&bytes, in_text));
            }
        }
        if found.is_empty() {
            return (bytes, false);
        }
        found.sort_unstable_by_key(|span| span.start);
        let found = merged(found);
        let covered: usize = found.iter().map(|span| span.end - span.start).sum();
        let mut clean = Vec::with_capacity(bytes.len() - covered + found.len() * REDACTED.len());
        let mut at = 0;
        for span in found {
            clean.extend_from_slice(&bytes[at..span.start]);
            clean.extend_from_slice(REDACTED);
            at = span.end;
        }
        clean.extend_from_slice(&bytes[at..]);
        (clean.into(), true)
    }

    /// Whether text that somebody has put into lower case, as HTTP does with header names, holds a secret.
    pub(crate) fn is_in_lower_case(&self, text: &[u8]) -> bool {
        let (_, found) = self.redact(Bytes::copy_from_slice(text));
        found || self.may_be_in_lower_case(text)
    }

    /// As [`Self::suspects`], for text that somebody has put into lower case.
    pub(crate) fn may_be_in_lower_case(&self, text: &[u8]) -> bool {
        self.0.iter().any(|patterns| patterns.any_lower_case_in(text))
    }
}

fn spans(automaton: &AhoCorasick, patterns: &Patterns, text: &[u8]) -> Vec<Span> {
    let found = automaton.find_overlapping_iter(text).map(|found| {
        let span = Span {
            start: found.start(),
            end: found.end(),
        };
        match patterns.kind(found.pattern().as_usize()) {
            Kind::Plain => span,
            Kind::Base64 => widened(span, text),
        }
    });
    merged(found)
}

fn merged_sorted(of_each: impl Iterator<Item = Vec<Span>>) -> Vec<Span> {
    let mut all: Vec<Span> = of_each.flatten().collect();
    all.sort_unstable_by_key(|span| span.start);
    merged(all)
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

#[cfg(test)]
mod tests;
