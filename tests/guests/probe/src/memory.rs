//! The guest's own linear memory, searched from end to end: what a hostile connector would do to find a secret that was ever
//! copied in, freed buffers included. Both probes have it.
//!
//! The needles come masked and are compared masked, so that the search itself brings none of them into memory.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// What every byte of a needle is combined with, by exclusive or.
const MASK: u8 = 0xa5;

/// A masked needle. Written as hex digits.
pub(crate) struct Needle(Vec<u8>);

/// What a search came to.
pub(crate) struct Searched {
    /// How much was looked at.
    pub(crate) bytes: usize,
    /// Which needles are there, by their place in the list.
    pub(crate) found: Vec<usize>,
}

impl fmt::Display for Searched {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "searched {} bytes, found {:?}", self.bytes, self.found)
    }
}

impl<'de> Deserialize<'de> for Needle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        unhex(&text)
            .filter(|bytes| !bytes.is_empty())
            .map(Self)
            .ok_or_else(|| de::Error::custom("a needle is hex digits"))
    }
}

/// Looks for every needle in all of this instance's memory.
pub(crate) fn search(needles: &[Needle]) -> Searched {
    if needles.is_empty() {
        return Searched {
            bytes: 0,
            found: Vec::new(),
        };
    }
    let mut starts = [false; 256];
    for needle in needles {
        starts[usize::from(needle.0[0])] = true;
    }
    let end = extent();
    let mut found = vec![false; needles.len()];
    // The byte at address 0 is no place for a Rust value, and cannot be read by a pointer.
    for at in 1..end {
        if !starts[usize::from(read(at) ^ MASK)] {
            continue;
        }
        for (needle, found) in needles.iter().zip(&mut found) {
            let bytes = &needle.0;
            *found |= bytes.len() <= end - at && (0..bytes.len()).all(|nth| read(at + nth) ^ MASK == bytes[nth]);
        }
    }
    Searched {
        bytes: end,
        found: (0..needles.len()).filter(|nth| found[*nth]).collect(),
    }
}

/// A search behind the last request of a call: what the earlier ones left is still there, or something lies over it.
pub(crate) fn search_if(last: bool, needles: &[Needle]) -> Searched {
    search(if last { needles } else { &[] })
}

/// The bytes of hex digits.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let value = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    digits
        .chunks(2)
        .map(|pair| Some(value(*pair.first()?)? << 4 | value(*pair.get(1)?)?))
        .collect()
}

#[cfg(target_family = "wasm")]
fn extent() -> usize {
    const PAGE_BYTES: usize = 64 * 1024;
    core::arch::wasm32::memory_size::<0>() * PAGE_BYTES
}

#[cfg(target_family = "wasm")]
#[expect(unsafe_code, reason = "no safe code reads memory that is not its own")]
fn read(at: usize) -> u8 {
    // SAFETY: every address below the memory's size can be read; nothing else runs meanwhile.
    unsafe { core::ptr::with_exposed_provenance::<u8>(at).read_volatile() }
}

/// Elsewhere than in a component there is no memory that is the guest's alone.
#[cfg(not(target_family = "wasm"))]
fn extent() -> usize {
    1
}

#[cfg(not(target_family = "wasm"))]
fn read(_at: usize) -> u8 {
    0
}
