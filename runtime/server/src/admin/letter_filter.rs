//! Which dead letters, as the API, the command line and the panel say it.

use std::fmt;
use std::str::FromStr;

use cofferdam_domain::{ConnectionName, DeliveryId, FailureClass, Timestamp, TypePattern};
use cofferdam_queue::{DeadCursor, DeadFilter};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Which dead letters; what is left out matches any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LetterFilter {
    /// To whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionName>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<FailureClass>,
    /// The event's type, or a prefix of it followed by `*`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<TypePattern>,
    /// Died then or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<When>,
    /// Died before then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<When>,
}

impl From<LetterFilter> for DeadFilter {
    fn from(filter: LetterFilter) -> Self {
        Self {
            connection: filter.connection,
            class: filter.class,
            event_type: filter.event_type,
            since: filter.since.map(|when| when.0),
            until: filter.until.map(|when| when.0),
        }
    }
}

/// A point in time: RFC 3339, or milliseconds since 1970. Written as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When(pub Timestamp);

/// No point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is written as 2026-11-24T09:30:00Z, or in milliseconds since 1970")]
pub struct BadWhen;

impl FromStr for When {
    type Err = BadWhen;

    fn from_str(text: &str) -> Result<Self, BadWhen> {
        let millis = text.parse().ok().map(Timestamp::from_millis);
        millis
            .or_else(|| Timestamp::parse_rfc3339(text))
            .map(Self)
            .ok_or(BadWhen)
    }
}

impl fmt::Display for When {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = When;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&BadWhen, out)
            }

            fn visit_u64<E: de::Error>(self, millis: u64) -> Result<When, E> {
                Ok(When(Timestamp::from_millis(millis)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<When, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A place among dead letters as a text: what `next` says and `cursor` takes.
pub(crate) fn cursor_text(cursor: &DeadCursor) -> String {
    format!("{}.{}", cursor.at.as_millis(), cursor.delivery)
}

/// Reads what [`cursor_text`] wrote.
pub(crate) fn cursor(text: &str) -> Option<DeadCursor> {
    let (at, delivery) = text.split_once('.')?;
    Some(DeadCursor {
        at: Timestamp::from_millis(at.parse().ok()?),
        delivery: delivery.parse::<DeliveryId>().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_both_forms_and_nothing_else_is_one() {
        let time = When(Timestamp::from_millis(1_795_000_000_000));
        assert_eq!("1795000000000".parse(), Ok(time));
        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!(serde_json::from_str::<When>("1795000000000").unwrap(), time);
        assert_eq!(
            serde_json::from_value::<When>(serde_json::to_value(time).unwrap()).unwrap(),
            time
        );
        for bad in ["", "yesterday", "-1", "2026-13-01T00:00:00Z"] {
            assert_eq!(bad.parse::<When>(), Err(BadWhen), "{bad}");
        }
    }

    #[test]
    fn a_cursor_survives_its_way_through_an_address() {
        let place = DeadCursor {
            at: Timestamp::from_millis(7),
            delivery: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
        };
        assert_eq!(cursor(&cursor_text(&place)), Some(place));
        for bad in ["", "7", "7.", "x.01890a5d-ac96-774b-bcce-b302099a8057"] {
            assert_eq!(cursor(bad), None, "{bad}");
        }
    }
}
