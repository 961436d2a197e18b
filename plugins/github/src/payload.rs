//! What the mapping reads of a payload, and nothing else: the rest is skipped without being built.
//!
//! Reading is tolerant, since GitHub adds and changes fields: a field of another type than expected counts as absent.
//! Only what is no JSON object at all is refused.

use std::fmt;
use std::marker::PhantomData;

use cofferdam_sdk::Rejection;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Declares a part of a payload; every field may be absent.
macro_rules! part {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default)]
        pub(crate) struct $name {
            $($(#[$attribute])* pub(crate) $field: $type,)+
        }
    )+};
}

part! {
    /// The top level.
    Payload {
        action: Scalar,
        repository: Part<Place>,
        organization: Part<Account>,
        installation: Part<Installation>,
        number: Scalar,
        #[serde(rename = "ref")]
        reference: Scalar,
        ref_type: Scalar,
        sha: Scalar,
        hook_id: Scalar,
        updated_at: Scalar,
        starred_at: Scalar,
        issue: Part<Thing>,
        pull_request: Part<Thing>,
        comment: Part<Thing>,
        review: Part<Thing>,
        release: Part<Thing>,
        discussion: Part<Thing>,
        milestone: Part<Thing>,
        check_run: Part<Thing>,
        check_suite: Part<Thing>,
        workflow_run: Part<Thing>,
        workflow_job: Part<Thing>,
        deployment: Part<Thing>,
        deployment_status: Part<Thing>,
        alert: Part<Thing>,
    }

    /// A repository.
    Place {
        html_url: Scalar,
        full_name: Scalar,
        pushed_at: Scalar,
    }

    /// An organization or user.
    Account {
        html_url: Scalar,
        login: Scalar,
    }

    /// An app's installation.
    Installation {
        account: Part<Account>,
    }

    /// Anything that has a number, an id or times of its own.
    Thing {
        id: Scalar,
        number: Scalar,
        tag_name: Scalar,
        commit_id: Scalar,
        created_at: Scalar,
        updated_at: Scalar,
        submitted_at: Scalar,
        published_at: Scalar,
        started_at: Scalar,
        completed_at: Scalar,
        pull_request: Part<IgnoredFields>,
    }

    /// Something of which only its presence counts.
    IgnoredFields {
        url: Scalar,
    }
}

impl Payload {
    /// Reads the payload.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Rejection> {
        let part: Part<Self> = serde_json::from_slice(json)
            .map_err(|error| Rejection::new("not-json", format!("the payload is no JSON: {error}")))?;
        part.0
            .ok_or_else(|| Rejection::new("not-an-object", "the payload is JSON, but no object"))
    }

    /// What happened, for events that know several things.
    pub(crate) fn action(&self) -> Option<&str> {
        self.action.text()
    }
}

/// An object, or none if there is something else in its place.
#[derive(Debug)]
pub(crate) struct Part<T>(Option<T>);

impl<T> Part<T> {
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartVisitor(PhantomData)).map(Self)
    }
}

/// A text or a whole number, or none if there is something else in its place.
#[derive(Debug, Default)]
pub(crate) enum Scalar {
    #[default]
    None,
    Text(String),
    Number(u64),
}

impl Scalar {
    /// The text, unless empty.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            Self::Text(_) | Self::None | Self::Number(_) => None,
        }
    }

    /// The number.
    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) | Self::None => None,
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// The answers to what neither visitor wants.
macro_rules! otherwise {
    ($value:ty, $otherwise:expr) => {
        type Value = $value;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("any JSON value")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($otherwise)
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($otherwise)
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($otherwise)
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($otherwise)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            Ok($otherwise)
        }
    };
}

struct PartVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for PartVisitor<T> {
    otherwise!(Option<T>, None);

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(Some)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    otherwise!(Scalar, Scalar::None);

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::None)
    }
}
