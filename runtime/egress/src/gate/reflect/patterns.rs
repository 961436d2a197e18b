//! What is looked for: every form of every secret, and the short beginnings by which a search starts.

use std::sync::OnceLock;

use aho_corasick::packed::{Config, MatchKind as PackedMatch, Searcher};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use memchr::memmem;
use zeroize::Zeroizing;

/// Shortest encoded form that is looked for, in bytes.
pub(crate) const ENCODED_BYTES_MIN: usize = 6;

/// Most bytes of all forms together: room for a few secrets of the largest size.
const FORMS_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bytes of a form that a first look goes by. Long enough that innocent text does not have them, short enough that little is
/// looked at twice where one piece of a body meets the next.
pub(super) const PROBE_BYTES_MAX: usize = 32;

/// Most probes of one vector search; more would have to share its buckets.
const PROBES_PER_SEARCH_MAX: usize = 32;

/// Shortest text for which vector searchers are made. They take longer to make than a short text takes to be searched.
const PACKED_BYTES_MIN: usize = 2 * 1024;

/// Every form of some secrets. Forms are wiped when it is dropped; what the searchers keep of them is not.
pub(crate) struct Patterns {
    forms: Vec<(Kind, Zeroizing<Vec<u8>>)>,
    lower_case: Vec<Zeroizing<Vec<u8>>>,
    /// One form of each that begin alike.
    beginnings: Vec<usize>,
    probes: OnceLock<Vec<Probe>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// Its first and last byte share a character with what stands beside them, which is taken out too.
    Base64,
}

enum Probe {
    Packed(Searcher),
    /// Where the processor has no vector instructions that the other could use.
    Automaton(AhoCorasick),
}

/// The secrets are too long to be searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("every form of the secrets together takes more than {FORMS_BYTES_MAX} bytes")]
pub(crate) struct TooMuchToSearchFor;

impl Patterns {
    /// Every form of these secrets; empty ones are passed over.
    pub(crate) fn new<'a>(needles: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, TooMuchToSearchFor> {
        let mut forms: Vec<(Kind, Zeroizing<Vec<u8>>)> = Vec::new();
        let mut lower_case = Vec::new();
        for needle in needles.into_iter().filter(|needle| !needle.is_empty()) {
            lower_case.push(Zeroizing::new(needle.to_ascii_lowercase()));
            add_forms(needle, &mut forms);
        }
        if forms.iter().map(|(_, form)| form.len()).sum::<usize>() > FORMS_BYTES_MAX {
            return Err(TooMuchToSearchFor);
        }
        let beginning = |form: usize| beginning(&forms[form].1);
        let mut beginnings: Vec<usize> = (0..forms.len()).collect();
        // Of like length together: a search is as good as its shortest probe lets it be.
        beginnings.sort_unstable_by_key(|form| (beginning(*form).len(), beginning(*form)));
        beginnings.dedup_by_key(|form| beginning(*form));
        Ok(Self {
            forms,
            lower_case,
            beginnings,
            probes: OnceLock::new(),
        })
    }

    pub(super) fn kind(&self, form: usize) -> Kind {
        self.forms[form].0
    }

    /// Whether a form may begin here. None that lies within the text is missed.
    pub(super) fn may_begin_in(&self, text: &[u8]) -> bool {
        if text.len() < PACKED_BYTES_MIN && self.probes.get().is_none() {
            return self
                .beginnings()
                .any(|beginning| memmem::find(text, beginning).is_some());
        }
        self.probes
            .get_or_init(|| self.probes())
            .iter()
            .any(|probe| match probe {
                Probe::Packed(searcher) => searcher.find(text).is_some(),
                Probe::Automaton(automaton) => automaton.is_match(text),
            })
    }

    fn beginnings(&self) -> impl Iterator<Item = &[u8]> {
        self.beginnings.iter().map(|form| beginning(&self.forms[*form].1))
    }

    fn probes(&self) -> Vec<Probe> {
        let beginnings: Vec<&[u8]> = self.beginnings().collect();
        beginnings.chunks(PROBES_PER_SEARCH_MAX).map(probe).collect()
    }

    /// Finds every form, overlapping ones too.
    pub(super) fn automaton(&self) -> AhoCorasick {
        automaton(self.forms.iter().map(|(_, form)| form.as_slice()))
    }

    pub(super) fn any_lower_case_in(&self, text: &[u8]) -> bool {
        self.lower_case
            .iter()
            .any(|needle| memmem::find(text, needle).is_some())
    }
}

fn beginning(form: &[u8]) -> &[u8] {
    &form[..form.len().min(PROBE_BYTES_MAX)]
}

fn probe(beginnings: &[&[u8]]) -> Probe {
    let mut packed = Config::new().match_kind(PackedMatch::LeftmostFirst).builder();
    packed.extend(beginnings);
    packed.build().map_or_else(
        || Probe::Automaton(automaton(beginnings.iter().copied())),
        Probe::Packed,
    )
}

fn automaton<'a>(patterns: impl Iterator<Item = &'a [u8]>) -> AhoCorasick {
    AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::ContiguousNFA))
        .match_kind(MatchKind::Standard)
        .build(patterns)
        .expect("patterns of no more than FORMS_BYTES_MAX bytes make fewer states than there are numbers for")
}

fn add_forms(needle: &[u8], forms: &mut Vec<(Kind, Zeroizing<Vec<u8>>)>) {
    let mut add = |kind, bytes: Vec<u8>, bytes_min: usize| {
        if bytes.len() >= bytes_min {
            forms.push((kind, Zeroizing::new(bytes)));
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
        let standard = Zeroizing::new(BASE64_NOPAD.encode(&shifted));
        let url_safe = Zeroizing::new(BASE64URL_NOPAD.encode(&shifted));
        let stable = |text: &str| text.as_bytes().get(first..end).unwrap_or_default().to_vec();
        add(Kind::Base64, stable(&standard), ENCODED_BYTES_MIN);
        if standard != url_safe {
            add(Kind::Base64, stable(&url_safe), ENCODED_BYTES_MIN);
        }
    }
}
