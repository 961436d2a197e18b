//! How records lie in the store.
//!
//! The format, version 1: one byte `0x01`, then the domain type as JSON (RFC 8259). Fields are only ever added, and an
//! added field has a default; a reader ignores fields that it does not know. Whatever breaks that raises the first byte.
//! Bodies are not records: see `body.rs`.

use cofferdam_domain::{CorrelationId, EventId, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version that is written.
const VERSION: u8 = 1;

/// A stored record that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by another version of the product.
    #[error("the {what} record has format {found:?}; this version reads {VERSION}")]
    Version {
        /// What it should be.
        what: &'static str,
        /// Its first byte.
        found: Option<u8>,
    },
    /// Not what it should be.
    #[error("the {what} record is malformed")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
}

/// The stored form of a record.
pub(crate) fn encode(record: &impl Serialize) -> Vec<u8> {
    let mut raw = vec![VERSION];
    serde_json::to_writer(&mut raw, record).expect("records hold string keys only, and a Vec takes every write");
    raw
}

/// Reads what [`encode`] wrote; `what` names the record to people.
pub(crate) fn decode<T: DeserializeOwned>(what: &'static str, raw: &[u8]) -> Result<T, RecordError> {
    match raw.split_first() {
        Some((&VERSION, json)) => {
            serde_json::from_slice(json).map_err(|source| RecordError::Malformed { what, source })
        }
        other => Err(RecordError::Version {
            what,
            found: other.map(|(first, _)| *first),
        }),
    }
}

/// What a dedupe key remembers of the first event that had it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The first event.
    pub(crate) event: EventId,
    /// Its correlation id.
    pub(crate) correlation_id: CorrelationId,
    /// The key is free again from then on.
    pub(crate) expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_version_is_refused_and_not_guessed_at() {
        let raw = encode(&7u32);
        assert_eq!(decode::<u32>("number", &raw).unwrap(), 7);
        let newer = [&[2], &raw[1..]].concat();
        assert!(matches!(
            decode::<u32>("number", &newer),
            Err(RecordError::Version { found: Some(2), .. })
        ));
        assert!(matches!(
            decode::<u32>("number", b""),
            Err(RecordError::Version { found: None, .. })
        ));
        assert!(matches!(
            decode::<u32>("number", b"\x01x"),
            Err(RecordError::Malformed { .. })
        ));
    }
}
