//! What is known of a credential beside its values, in the clear: the head of a sealed record.

use cofferdam_domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::envelope::OpenError;

/// Values before the present one that may be accepted at a time. A further rotation ends the oldest.
pub const PREVIOUS_MAX: usize = 3;

/// The format of records that this version writes.
pub(crate) const FORMAT: u8 = 2;

/// The format of records before there was rotation and expiry.
pub(crate) const FORMAT_1: u8 = 1;

/// The head of a format 1 record: the format, and three integers.
pub(crate) const HEAD_1_BYTES: usize = 25;

/// The part of a head of fixed size: the format, four integers, and three single bytes.
const FIXED_BYTES: usize = 1 + 4 * 8 + 3;

/// A value before the present one: its version, and until when it is accepted.
const PREVIOUS_BYTES: usize = 16;

const RENEWED_BY_HOST: u8 = 1;
const REFRESHED: u8 = 2;

/// Who sees to it that a value is replaced before it expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Renewal {
    /// A person: they are told ahead of time.
    #[default]
    ByPerson,
    /// The host refreshes it. That it is about to expire is no news; that it could not be refreshed is.
    ByHost,
}

/// A value before the present one that is accepted for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// The version that it was.
    pub version: u64,
    /// It is accepted before this moment, and not at it.
    pub until: Timestamp,
}

/// How far a person has been told of an expiry. Each is told once for a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Told {
    #[default]
    Nothing = 0,
    Month = 1,
    Week = 2,
    Day = 3,
    Expired = 4,
}

impl Told {
    pub(crate) const ALL: [Self; 5] = [Self::Nothing, Self::Month, Self::Week, Self::Day, Self::Expired];
}

/// The head of a record, integers big-endian. It is authenticated by the seal of the present value's data key.
///
/// | bytes | |
/// |---|---|
/// | 1 | format, 2 |
/// | 8 | version of the present value |
/// | 8 | when the first value was set, milliseconds |
/// | 8 | when the present value was set |
/// | 8 | when the present value expires; 0 if that is not known |
/// | 1 | bit 0: the host renews it; bit 1: the present value came by a refresh |
/// | 1 | how far its expiry has been told, 0 to 4 |
/// | 1 | how many values before it follow, 0 to 3 |
/// | 16 each | version, and until when it is accepted; the latest first |
///
/// Format 1 has the first four fields only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub renewal: Renewal,
    pub refreshed: bool,
    pub told: Told,
    pub previous: Vec<Previous>,
}

impl Head {
    /// The head of a first value.
    pub(crate) fn first(now: Timestamp) -> Self {
        Self {
            version: 1,
            created_at: now,
            updated_at: now,
            expires_at: None,
            renewal: Renewal::ByPerson,
            refreshed: false,
            told: Told::Nothing,
            previous: Vec::new(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        let expires_at = self.expires_at.unwrap_or(Timestamp::ZERO);
        bytes.extend(self.version.to_be_bytes());
        for time in [self.created_at, self.updated_at, expires_at] {
            bytes.extend(time.as_millis().to_be_bytes());
        }
        let renewed = if self.renewal == Renewal::ByHost {
            RENEWED_BY_HOST
        } else {
            0
        };
        let refreshed = if self.refreshed { REFRESHED } else { 0 };
        let count = u8::try_from(self.previous.len()).expect("there are at most PREVIOUS_MAX");
        bytes.extend([renewed | refreshed, self.told as u8, count]);
        for Previous { version, until } in &self.previous {
            bytes.extend(version.to_be_bytes());
            bytes.extend(until.as_millis().to_be_bytes());
        }
        bytes
    }

    /// The head of a record of either format, and how many bytes it takes. Authentic only once the present value was opened.
    pub(crate) fn decode(record: &[u8]) -> Result<(Self, usize), OpenError> {
        match record.first() {
            Some(&FORMAT) => Self::decode_2(record).ok_or(OpenError::Malformed),
            Some(&FORMAT_1) => {
                let numbers = record.get(1..HEAD_1_BYTES).ok_or(OpenError::Malformed)?;
                let head = Self {
                    version: number(numbers, 0),
                    updated_at: Timestamp::from_millis(number(numbers, 2)),
                    ..Self::first(Timestamp::from_millis(number(numbers, 1)))
                };
                Ok((head, HEAD_1_BYTES))
            }
            Some(_) | None => Err(OpenError::Malformed),
        }
    }

    fn decode_2(record: &[u8]) -> Option<(Self, usize)> {
        let fixed = record.get(1..FIXED_BYTES)?;
        let time = |at| Timestamp::from_millis(number(fixed, at));
        let [flags, told, count] = *fixed.last_chunk::<3>()?;
        if flags & !(RENEWED_BY_HOST | REFRESHED) != 0 || usize::from(count) > PREVIOUS_MAX {
            return None;
        }
        let bytes = FIXED_BYTES + usize::from(count) * PREVIOUS_BYTES;
        let previous = record.get(FIXED_BYTES..bytes)?.as_chunks::<PREVIOUS_BYTES>().0.iter();
        let previous = previous.map(|entry| Previous {
            version: number(entry, 0),
            until: Timestamp::from_millis(number(entry, 1)),
        });
        let head = Self {
            version: number(fixed, 0),
            created_at: time(1),
            updated_at: time(2),
            expires_at: Some(time(3)).filter(|at| *at != Timestamp::ZERO),
            renewal: if flags & RENEWED_BY_HOST == 0 {
                Renewal::ByPerson
            } else {
                Renewal::ByHost
            },
            refreshed: flags & REFRESHED != 0,
            told: Told::ALL.into_iter().find(|step| *step as u8 == told)?,
            previous: previous.collect(),
        };
        Some((head, bytes))
    }
}

/// The integer at this place among others; there is one, or it counts as 0.
fn number(bytes: &[u8], at: usize) -> u64 {
    let numbers = bytes.as_chunks::<8>().0;
    numbers.get(at).map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_of_every_shape_comes_back_as_it_was() {
        let at = Timestamp::from_millis;
        let entry = |version| Previous {
            version,
            until: at(version * 100),
        };
        for previous in 0..=PREVIOUS_MAX as u64 {
            for renewal in [Renewal::ByPerson, Renewal::ByHost] {
                for told in Told::ALL {
                    let head = Head {
                        version: 9,
                        created_at: at(1),
                        updated_at: at(2),
                        expires_at: (previous > 1).then(|| at(3)),
                        renewal,
                        refreshed: previous % 2 == 0,
                        told,
                        previous: (0..previous).map(entry).collect(),
                    };
                    let mut bytes = head.encode();
                    let length = bytes.len();
                    bytes.extend(b"what follows");
                    assert_eq!(Head::decode(&bytes), Ok((head, length)));
                }
            }
        }
    }

    #[test]
    fn a_head_with_something_unknown_in_it_is_refused() {
        let bytes = Head::first(Timestamp::from_millis(1)).encode();
        let changed = |at: usize, to: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = to;
            Head::decode(&bytes)
        };
        assert!(changed(0, FORMAT).is_ok());
        for (at, to) in [(0, 0), (0, 3), (33, 4), (34, 5), (35, 4), (35, 1)] {
            assert_eq!(changed(at, to), Err(OpenError::Malformed), "byte {at} as {to}");
        }
        for length in 0..bytes.len() {
            assert_eq!(
                Head::decode(&bytes[..length]),
                Err(OpenError::Malformed),
                "cut at {length}"
            );
        }
    }
}
