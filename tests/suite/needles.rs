//! What must be nowhere: secrets in every known form, and the search for them.
//!
//! Written apart from the code under test, so that a form which that code forgets is not forgotten here too. A place is
//! searched as it is, and once more with its percent-encoding and its JSON escapes undone.

use std::collections::HashMap;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

/// Shortest form that is looked for, in bytes. What is shorter is found in innocent text.
const FORM_BYTES_MIN: usize = 6;

/// As many bytes of a form decide whether it is compared.
const START_BYTES: usize = 4;

/// What the guest that searches its memory combines every byte with; the other side is `memory.rs` of the probe.
const MASK: u8 = 0xa5;

/// Secrets in every form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needles {
    forms: Vec<(String, Vec<u8>)>,
    starts: HashMap<[u8; START_BYTES], Vec<usize>>,
}

impl Needles {
    /// Looks for this secret too.
    pub(crate) fn add(&mut self, name: &str, secret: &[u8]) {
        for (form, bytes) in forms(secret) {
            let Some(start) = bytes.first_chunk().filter(|_| bytes.len() >= FORM_BYTES_MIN) else {
                continue;
            };
            let known = self.starts.entry(*start).or_default();
            if known.iter().all(|at| self.forms[*at].1 != bytes) {
                known.push(self.forms.len());
                self.forms.push((format!("{name} {form}"), bytes));
            }
        }
    }

    /// Looks for everything that another looks for.
    pub(crate) fn join(&mut self, other: &Self) {
        for (name, bytes) in &other.forms {
            let start = bytes.first_chunk().expect("a form is longer than its start");
            self.starts.entry(*start).or_default().push(self.forms.len());
            self.forms.push((name.clone(), bytes.clone()));
        }
    }

    /// How many forms are looked for.
    pub(crate) fn count(&self) -> usize {
        self.forms.len()
    }

    /// What is found first, by name.
    pub(crate) fn find(&self, place: &[u8]) -> Option<&str> {
        self.find_in(place)
            .or_else(|| self.find_in(&unpercented(place)?))
            .or_else(|| self.find_in(&unescaped(place)?))
    }

    fn find_in(&self, place: &[u8]) -> Option<&str> {
        let mut windows = place.windows(START_BYTES).enumerate();
        windows.find_map(|(at, start)| {
            let known = self.starts.get(start)?;
            let found = known
                .iter()
                .find(|form| place[at..].starts_with(&self.forms[**form].1))?;
            Some(self.forms[*found].0.as_str())
        })
    }

    /// Masked, as hex digits, for a guest that searches its memory.
    pub(crate) fn masked(&self) -> Vec<String> {
        let mask = |bytes: &[u8]| bytes.iter().map(|byte| byte ^ MASK).collect::<Vec<_>>();
        self.forms
            .iter()
            .map(|(_, bytes)| HEXLOWER.encode(&mask(bytes)))
            .collect()
    }

    /// The name of what a guest has found.
    pub(crate) fn name(&self, at: usize) -> &str {
        self.forms.get(at).map_or("a needle that is none", |(name, _)| name)
    }
}

/// Every form of one secret.
pub(crate) fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let each = |write: &dyn Fn(u8) -> String| secret.iter().map(|byte| write(*byte)).collect::<String>().into_bytes();
    let listed = |between: &str| {
        let numbers: Vec<_> = secret.iter().map(u8::to_string).collect();
        numbers.join(between).into_bytes()
    };
    let mut forms = vec![
        ("as it is", secret.to_vec()),
        ("in hex", HEXLOWER.encode(secret).into_bytes()),
        ("in upper-case hex", HEXUPPER.encode(secret).into_bytes()),
        ("percent-encoded", each(&percented)),
        ("percent-encoded throughout", each(&|byte| format!("%{byte:02X}"))),
        (
            "percent-encoded throughout in lower case",
            each(&|byte| format!("%{byte:02x}")),
        ),
        ("JSON-escaped throughout", each(&|byte| format!("\\u{byte:04x}"))),
        (
            "JSON-escaped throughout in upper case",
            each(&|byte| format!("\\u{byte:04X}")),
        ),
        ("as text of ISO 8859-1", each(&|byte| char::from(byte).to_string())),
        ("as a list of numbers", listed(", ")),
        ("as a list of numbers without spaces", listed(",")),
    ];
    for (alignment, name) in ["in base64", "in base64 behind one byte", "in base64 behind two bytes"]
        .into_iter()
        .enumerate()
    {
        forms.push((name, stable_base64(&BASE64_NOPAD, secret, alignment)));
        forms.push((name, stable_base64(&BASE64URL_NOPAD, secret, alignment)));
    }
    forms
}

/// The characters that depend on the secret alone, whatever stands before and behind it.
pub(crate) fn stable_base64(alphabet: &data_encoding::Encoding, secret: &[u8], alignment: usize) -> Vec<u8> {
    let padded = [vec![0; alignment], secret.to_vec()].concat();
    let text = alphabet.encode(&padded).into_bytes();
    let (start, end) = ((alignment * 4).div_ceil(3), padded.len() * 4 / 3);
    text.get(start..end).unwrap_or_default().to_vec()
}

fn percented(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// None if there is nothing to undo.
fn unpercented(place: &[u8]) -> Option<Vec<u8>> {
    undone(place, b'%', |rest| {
        let digits = std::str::from_utf8(rest.get(1..3)?).ok()?;
        Some((u8::from_str_radix(digits, 16).ok()?, 3))
    })
}

/// None if there is nothing to undo. Characters beyond one byte stay as they are: no canary holds one.
fn unescaped(place: &[u8]) -> Option<Vec<u8>> {
    undone(place, b'\\', |rest| match rest.get(1)? {
        b'u' => {
            let digits = std::str::from_utf8(rest.get(2..6)?).ok()?;
            Some((u8::try_from(u32::from_str_radix(digits, 16).ok()?).ok()?, 6))
        }
        plain @ (b'/' | b'"' | b'\\') => Some((*plain, 2)),
        _ => None,
    })
}

fn undone(place: &[u8], mark: u8, escape: impl Fn(&[u8]) -> Option<(u8, usize)>) -> Option<Vec<u8>> {
    if !place.contains(&mark) {
        return None;
    }
    let mut text = Vec::with_capacity(place.len());
    let mut at = 0;
    while let Some(&byte) = place.get(at) {
        let read = if byte == mark { escape(&place[at..]) } else { None };
        let (byte, length) = read.unwrap_or((byte, 1));
        text.push(byte);
        at += length;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"xoxb-17/Se+cret?=value";

    fn needles() -> Needles {
        let mut needles = Needles::default();
        needles.add("the token", SECRET);
        needles
    }

    #[test]
    fn every_form_is_found_between_other_bytes_and_by_its_name() {
        for (name, bytes) in forms(SECRET) {
            let place = [b"before ", bytes.as_slice(), b" behind"].concat();
            let needles = needles();
            let found = needles.find(&place).unwrap_or_else(|| panic!("not found {name}"));
            assert!(found.starts_with("the token "), "{found}");
        }
    }

    #[test]
    fn base64_is_found_whatever_stands_around_it() {
        for before in 0..6 {
            for behind in 0..4 {
                let whole = [&b"abcdef"[..before], SECRET, &b"wxyz"[..behind]].concat();
                for text in [BASE64_NOPAD.encode(&whole), BASE64URL_NOPAD.encode(&whole)] {
                    assert!(needles().find(text.as_bytes()).is_some(), "{before} {behind}");
                }
            }
        }
    }

    #[test]
    fn a_form_that_is_escaped_in_part_is_found() {
        for place in [
            "xoxb-17%2FSe+cret?=value",
            "xoxb-17\\/Se+cre\\u0074?=value",
            "%78oxb-17/Se+cret?=value",
        ] {
            assert!(needles().find(place.as_bytes()).is_some(), "{place}");
        }
    }

    #[test]
    fn what_only_resembles_a_secret_is_not_found() {
        for place in [
            &b""[..],
            b"xoxb-17/Se+cret?=valu",
            b"oxb-17/Se+cret?=value",
            b"%",
            b"\\u12",
            b"[redacted]",
        ] {
            assert_eq!(needles().find(place), None);
        }
    }
}
