//! Every key prefix of the product in one place, so that no two parts collide, and how keys are put together.
//!
//! A key is one prefix byte and then parts. Text parts are escaped and terminated (`0x00` becomes `0x00 0xff`, the end is
//! `0x00 0x01`), so that no two tuples share a key whatever bytes they hold, and keys sort as their tuples do. Integers
//! are big-endian, identifiers are their bytes.

/// Who owns which first byte. The store itself keeps `0xfe` and `0xff`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Keyspace {
    /// Queue: workspace, event id → event.
    Event = b'e',
    /// Queue: workspace, event id → the event's body as it came; with one byte more, sealed.
    Body = b'b',
    /// Queue: workspace, delivery id → delivery.
    Delivery = b'd',
    /// Queue: workspace, connection, due, delivery id → size of the body, order key if there is one.
    Due = b'q',
    /// Queue: workspace, connection, order key, place, delivery id → whether it is listed as due, size of the body.
    Order = b'p',
    /// Queue: workspace, connection, order key → whose turn it is.
    Turn = b'u',
    /// Queue: workspace, connection → how many were delivered up to a time.
    Tally = b'w',
    /// Queue: workspace, connection, until, delivery id → nothing.
    Lease = b'l',
    /// Queue: workspace, connection, delivered at, delivery id → nothing.
    Delivered = b'o',
    /// Queue: workspace, dead at, delivery id → connection.
    Dead = b'x',
    /// Queue: workspace, correlation id, event id → nothing.
    Correlation = b'c',
    /// Queue: workspace, event id, delivery id → nothing.
    FanOut = b'f',
    /// Queue: workspace, delivery id, run → attempt.
    Attempt = b'a',
    /// Queue: workspace, hash of scope and key → the first event with it.
    Dedupe = b'k',
    /// Queue: expiry, workspace, hash of scope and key → nothing.
    DedupeExpiry = b'z',
    /// Queue: workspace, connection → lane state.
    Lane = b's',
    /// Queue: workspace, redrive id → redrive.
    Redrive = b'j',
    /// Queue: workspace, redrive id → the deliveries that it names.
    RedriveIds = b'i',
    /// Vault: sealed credentials and their keys.
    Vault = b'v',
    /// Server: workspace, connection → connection.
    Connection = b'n',
    /// Server: API tokens.
    Token = b't',
    /// Queue: workspace, connection, part → what its connector keeps between calls: state, cursor, schedule.
    ConnectorState = b'g',
    /// Server: connector → the file that provides it, and its versions.
    Connector = b'h',
    /// Server: workspace, id → who decided what about a version of a connector.
    Decision = b'm',
    /// Server: workspace, connection → how the versions of its connector have done for it.
    Standing = b'r',
}

impl Keyspace {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Event,
        Self::Body,
        Self::Delivery,
        Self::Due,
        Self::Order,
        Self::Turn,
        Self::Tally,
        Self::Lease,
        Self::Delivered,
        Self::Dead,
        Self::Correlation,
        Self::FanOut,
        Self::Attempt,
        Self::Dedupe,
        Self::DedupeExpiry,
        Self::Lane,
        Self::Redrive,
        Self::RedriveIds,
        Self::Vault,
        Self::Connection,
        Self::Token,
        Self::ConnectorState,
        Self::Connector,
        Self::Decision,
        Self::Standing,
    ];

    /// The keyspace of keys that start with this byte.
    pub fn of_byte(byte: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|space| *space as u8 == byte)
    }

    /// Its name for people, such as `dedupe-expiry`.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }
}

const ESCAPE: u8 = 0x00;
const ESCAPED: u8 = 0xff;
const END: u8 = 0x01;

/// A key under construction, and any prefix of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    /// The prefix of everything in this keyspace.
    pub fn of(space: Keyspace) -> Self {
        Self(vec![space as u8])
    }

    /// Adds a part of any bytes and any length.
    #[must_use]
    pub fn text(mut self, part: impl AsRef<[u8]>) -> Self {
        for byte in part.as_ref() {
            self.0.push(*byte);
            if *byte == ESCAPE {
                self.0.push(ESCAPED);
            }
        }
        self.0.extend([ESCAPE, END]);
        self
    }

    /// Adds an integer.
    #[must_use]
    pub fn u64(self, part: u64) -> Self {
        self.bytes(&part.to_be_bytes())
    }

    /// Adds an integer.
    #[must_use]
    pub fn u32(self, part: u32) -> Self {
        self.bytes(&part.to_be_bytes())
    }

    /// Adds an identifier or hash, whose length its type fixes.
    #[must_use]
    pub fn bytes<const N: usize>(mut self, part: &[u8; N]) -> Self {
        self.0.extend(part);
        self
    }
}

impl From<Key> for Vec<u8> {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The bytes are no key of the expected shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key of the expected shape")]
pub struct NotThisKey;

/// Takes a key apart in the order in which it was built.
#[derive(Clone, Debug)]
pub struct KeyReader<'a>(&'a [u8]);

impl<'a> KeyReader<'a> {
    /// Starts behind the prefix of this keyspace.
    pub fn of(space: Keyspace, key: &'a [u8]) -> Result<Self, NotThisKey> {
        match key.split_first() {
            Some((first, rest)) if *first == space as u8 => Ok(Self(rest)),
            _ => Err(NotThisKey),
        }
    }

    /// The next part, written by [`Key::text`].
    pub fn text(&mut self) -> Result<Vec<u8>, NotThisKey> {
        let mut part = Vec::new();
        let mut rest = self.0;
        loop {
            rest = match rest {
                [ESCAPE, END, rest @ ..] => {
                    self.0 = rest;
                    return Ok(part);
                }
                [ESCAPE, ESCAPED, rest @ ..] => {
                    part.push(ESCAPE);
                    rest
                }
                [] | [ESCAPE, ..] => return Err(NotThisKey),
                [byte, rest @ ..] => {
                    part.push(*byte);
                    rest
                }
            };
        }
    }

    /// The next part, written by [`Key::u64`].
    pub fn u64(&mut self) -> Result<u64, NotThisKey> {
        self.bytes().map(u64::from_be_bytes)
    }

    /// The next part, written by [`Key::u32`].
    pub fn u32(&mut self) -> Result<u32, NotThisKey> {
        self.bytes().map(u32::from_be_bytes)
    }

    /// The next part, written by [`Key::bytes`].
    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], NotThisKey> {
        let (part, rest) = self.0.split_first_chunk().ok_or(NotThisKey)?;
        self.0 = rest;
        Ok(*part)
    }

    /// Checks that nothing is left.
    pub fn end(self) -> Result<(), NotThisKey> {
        if self.0.is_empty() { Ok(()) } else { Err(NotThisKey) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_keyspace_is_listed_and_has_a_byte_of_its_own() {
        let own = include_str!("keyspace.rs");
        let declared = own
            .lines()
            .filter(|line| line.starts_with("    ") && line.contains(" = b'"));
        assert_eq!(
            Keyspace::ALL.len(),
            declared.filter(|line| line.ends_with("',")).count()
        );
        for space in Keyspace::ALL {
            assert_eq!(Keyspace::of_byte(*space as u8), Some(*space));
        }
        assert_eq!(Keyspace::DedupeExpiry.name(), "dedupe-expiry");
        assert_eq!(Keyspace::of_byte(0xfe), None);
    }

    #[test]
    fn what_was_put_in_comes_out() {
        for text in [&b""[..], b"a", b"\x00", b"a\x00\x01b", b"\x00\xff\x00\x01", b"\xff\xff"] {
            let key = Key::of(Keyspace::Due).text(text).u64(7).text("x").bytes(&[9; 16]);
            let mut reader = KeyReader::of(Keyspace::Due, key.as_ref()).unwrap();
            assert_eq!(reader.text().unwrap(), text);
            assert_eq!(reader.u64(), Ok(7));
            assert_eq!(reader.text().unwrap(), b"x");
            assert_eq!(reader.bytes(), Ok([9; 16]));
            assert_eq!(reader.end(), Ok(()));
        }
    }

    #[test]
    fn no_two_tuples_share_a_key_and_none_is_a_prefix_of_another() {
        let texts = ["", "a", "ab", "b", "\0", "\0a", "a\0", "a\0\u{1}", "\u{1}"];
        let mut keys = Vec::new();
        for left in texts {
            for right in texts {
                keys.push(((left, right), Key::of(Keyspace::Event).text(left).text(right)));
            }
        }
        for (left_tuple, left) in &keys {
            for (right_tuple, right) in &keys {
                assert_eq!(left_tuple == right_tuple, right.as_ref().starts_with(left.as_ref()));
                assert_eq!(
                    left_tuple.cmp(right_tuple),
                    left.cmp(right),
                    "{left_tuple:?} {right_tuple:?}"
                );
            }
        }
    }

    #[test]
    fn a_key_of_another_shape_is_refused() {
        let key = Key::of(Keyspace::Due).text("a");
        assert!(KeyReader::of(Keyspace::Lease, key.as_ref()).is_err());
        let mut reader = KeyReader::of(Keyspace::Due, key.as_ref()).unwrap();
        assert_eq!(reader.clone().end(), Err(NotThisKey));
        reader.text().unwrap();
        assert_eq!(reader.u64(), Err(NotThisKey));
        let cut = &key.as_ref()[..key.as_ref().len() - 1];
        assert_eq!(KeyReader::of(Keyspace::Due, cut).unwrap().text(), Err(NotThisKey));
    }
}
