//! How values lie in the engine: whole when they are small, in chunks when they are not.
//!
//! The format, version 1:
//! - an inline record is the byte `0x00` and then the value;
//! - the head of a large value is the byte `0x01`, its generation (u64), its length in bytes (u32) and its number of
//!   chunks (u32), big-endian;
//! - a chunk lies under `0xff`, generation (u64), index (u32), and is the plain bytes;
//! - `0xfe format` holds the version of the format, `0xfe commits` the number of groups committed, without a tag.
//!
//! A generation is used for one value only for as long as the store is open, so a reader that finds a chunk missing knows
//! that the value was replaced after it had read the head, and reads again. Head and chunks are always written, and
//! removed, in one batch.

use crate::error::StoreError;

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// Largest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Largest record handed to the engine: what is larger may become a blob file in sled, which a power loss takes.
pub(crate) const RECORD_BYTES_MAX: usize = 4096;

/// Largest value that is kept inline, beside its tag.
pub(crate) const INLINE_BYTES_MAX: usize = RECORD_BYTES_MAX - 1;

/// What the format record holds.
pub(crate) const FORMAT: &[u8] = b"1";

/// Where the format record lies.
pub(crate) const FORMAT_KEY: &[u8] = b"\xfeformat";

/// The prefix of all chunks.
pub(crate) const CHUNK_PREFIX: u8 = 0xff;

const META_PREFIX: u8 = 0xfe;
const INLINE: u8 = 0;
const CHUNKED: u8 = 1;

/// Whether a key belongs to the store itself.
pub(crate) fn is_reserved(key: &[u8]) -> bool {
    key.first().is_some_and(|first| *first >= META_PREFIX)
}

/// What lies under a caller's key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// The value itself.
    Inline(Vec<u8>),
    /// The head of a large value.
    Chunked(Head),
}

/// Where the chunks of a large value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    generation: u64,
    bytes: u32,
    chunks: u32,
}

impl Record {
    /// Reads what the engine holds under `key`.
    pub(crate) fn decode(key: &[u8], mut raw: Vec<u8>) -> Result<Self, StoreError> {
        let corrupt = |problem| StoreError::Corrupt {
            key: key.to_vec(),
            problem,
        };
        match raw.first() {
            Some(&INLINE) => {
                raw.remove(0);
                Ok(Self::Inline(raw))
            }
            Some(&CHUNKED) => Head::decode(&raw[1..])
                .map(Self::Chunked)
                .ok_or_else(|| corrupt("the head of a large value is malformed")),
            Some(_) => Err(corrupt("unknown tag")),
            None => Err(corrupt("empty record")),
        }
    }
}

impl Head {
    fn decode(raw: &[u8]) -> Option<Self> {
        let (generation, rest) = raw.split_first_chunk()?;
        let (bytes, rest) = rest.split_first_chunk()?;
        let (chunks, rest) = rest.split_first_chunk()?;
        let head = Self {
            generation: u64::from_be_bytes(*generation),
            bytes: u32::from_be_bytes(*bytes),
            chunks: u32::from_be_bytes(*chunks),
        };
        // A damaged head must not make a reader ask for billions of chunks.
        let plausible = head.bytes as usize <= VALUE_BYTES_MAX && head.chunks <= head.bytes;
        (rest.is_empty() && plausible).then_some(head)
    }

    fn encode(self) -> Vec<u8> {
        let mut raw = vec![CHUNKED];
        raw.extend(self.generation.to_be_bytes());
        raw.extend(self.bytes.to_be_bytes());
        raw.extend(self.chunks.to_be_bytes());
        raw
    }

    /// What its chunks' keys begin with.
    pub(crate) fn generation(self) -> u64 {
        self.generation
    }

    /// Bytes of the value, and in how many chunks.
    pub(crate) fn extent(self) -> (u64, u32) {
        (u64::from(self.bytes), self.chunks)
    }

    /// The keys of all chunks, in order.
    pub(crate) fn chunk_keys(self) -> impl Iterator<Item = Vec<u8>> {
        (0..self.chunks).map(move |index| chunk_key(self.generation, index))
    }

    /// Puts the value together; none when a chunk is missing.
    pub(crate) fn assemble(
        self,
        key: &[u8],
        read: &impl Fn(&[u8]) -> Result<Option<Vec<u8>>, StoreError>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut value = Vec::with_capacity(self.bytes as usize);
        for chunk_key in self.chunk_keys() {
            let Some(chunk) = read(&chunk_key)? else {
                return Ok(None);
            };
            value.extend(chunk);
        }
        if value.len() == self.bytes as usize {
            Ok(Some(value))
        } else {
            Err(StoreError::Corrupt {
                key: key.to_vec(),
                problem: "the chunks have another length than the head says",
            })
        }
    }
}

/// The records that hold `value` under `key`; `generation` is asked for only if the value must be split.
pub(crate) fn encode(key: Vec<u8>, value: &[u8], generation: impl FnOnce() -> u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    if value.len() <= INLINE_BYTES_MAX {
        let mut raw = Vec::with_capacity(1 + value.len());
        raw.push(INLINE);
        raw.extend(value);
        return vec![(key, raw)];
    }
    let generation = generation();
    let count =
        |number: usize| u32::try_from(number).expect("a value is far smaller than 4 GiB: Batch::check has seen to it");
    let mut records: Vec<_> = (0u32..)
        .zip(value.chunks(RECORD_BYTES_MAX))
        .map(|(index, chunk)| (chunk_key(generation, index), chunk.to_vec()))
        .collect();
    let head = Head {
        generation,
        bytes: count(value.len()),
        chunks: count(records.len()),
    };
    records.push((key, head.encode()));
    records
}

/// The generation that a chunk's key names.
pub(crate) fn generation_of(chunk_key: &[u8]) -> Option<u64> {
    let (generation, _) = chunk_key.get(1..)?.split_first_chunk()?;
    Some(u64::from_be_bytes(*generation))
}

/// The generation and the index that a chunk's key names, if it is one.
pub(crate) fn chunk_of(key: &[u8]) -> Option<(u64, u32)> {
    let (generation, rest) = key.strip_prefix(&[CHUNK_PREFIX])?.split_first_chunk()?;
    let index = rest.try_into().ok()?;
    Some((u64::from_be_bytes(*generation), u32::from_be_bytes(index)))
}

fn chunk_key(generation: u64, index: u32) -> Vec<u8> {
    let mut key = vec![CHUNK_PREFIX];
    key.extend(generation.to_be_bytes());
    key.extend(index.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_record_is_over_the_limit_whatever_the_value() {
        for bytes in [
            0,
            1,
            INLINE_BYTES_MAX,
            INLINE_BYTES_MAX + 1,
            RECORD_BYTES_MAX * 3,
            RECORD_BYTES_MAX * 3 + 1,
        ] {
            let records = encode(b"k".to_vec(), &vec![7; bytes], || 1);
            assert!(records.iter().all(|(_, raw)| raw.len() <= RECORD_BYTES_MAX), "{bytes}");
            assert_eq!(records.len() == 1, bytes <= INLINE_BYTES_MAX, "{bytes}");
        }
    }

    #[test]
    fn a_damaged_record_is_an_error_and_not_a_value() {
        let huge_head = [&[CHUNKED][..], &[0; 8], &[0xff; 8]].concat();
        for raw in [vec![], vec![9, 1, 2], vec![CHUNKED], vec![CHUNKED, 1, 2, 3], huge_head] {
            assert!(Record::decode(b"k", raw.clone()).is_err(), "{raw:?}");
        }
    }
}
