//! What filters see of one event: built once, parsed when the first filter reads the body.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cofferdam_domain::Event;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Largest body that is parsed for filters, in bytes. Filters that read `data` cannot answer for a larger one.
pub(super) const DATA_BYTES_MAX: usize = 256 * 1024;

/// Most objects, lists, keys and values in it. Parsing costs by these as much as by bytes.
const DATA_NODES_MAX: usize = 32 * 1024;

/// The attributes of CloudEvents 1.0.2 itself. No extension can take the place of one, not even of one that is absent.
const ATTRIBUTES: [&str; 7] = [
    "id",
    "source",
    "type",
    "datacontenttype",
    "subject",
    "time",
    "dataschema",
];

/// One event before the filters.
pub(crate) struct Sight<'a> {
    event: Box<dyn Val>,
    content_type: &'a str,
    body: &'a [u8],
    data: OnceLock<Option<Box<dyn Val>>>,
}

impl<'a> Sight<'a> {
    /// Of this event and its body.
    pub(crate) fn of(event: &'a Event, body: &'a [u8]) -> Self {
        Self {
            event: attributes(event),
            content_type: &event.data_content_type,
            body,
            data: OnceLock::new(),
        }
    }

    /// The body: `null` if it is not JSON; none if it is too large to be read.
    pub(super) fn data(&self) -> Option<&dyn Val> {
        let parsed = self.data.get_or_init(|| {
            if !is_json(self.content_type) {
                return Some(Box::new(CelNull));
            }
            if self.body.len() > DATA_BYTES_MAX {
                return None;
            }
            parse(self.body)
        });
        parsed.as_deref()
    }

    #[cfg(test)]
    pub(super) fn is_parsed(&self) -> bool {
        self.data.get().is_some()
    }
}

impl VariableResolver for Sight<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        match variable {
            "event" => Some(CowVal::Borrowed(self.event.as_ref())),
            "data" => self.data().map(CowVal::Borrowed),
            _ => None,
        }
    }
}

/// CloudEvents attributes by their names; one that is absent has no key.
fn attributes(event: &Event) -> Box<dyn Val> {
    let mut attributes: HashMap<CelMapKey<'_>, Box<dyn Val>> = HashMap::new();
    let mut set = |name: &str, text: &str| {
        attributes.insert(
            CelMapKey::from(name.to_owned()),
            Box::new(CelString::from(text.to_owned())),
        );
    };
    for (name, value) in &event.extensions {
        if !ATTRIBUTES.contains(&name.as_str()) {
            set(name, value);
        }
    }
    set("id", &event.id.to_string());
    set("source", &event.source);
    set("type", &event.kind);
    set("datacontenttype", &event.data_content_type);
    let optional = [
        ("subject", event.subject.clone()),
        ("time", event.time.map(|time| time.to_string())),
        ("dataschema", event.data_schema.clone()),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            set(name, &value);
        }
    }
    Box::new(CelMap::from(attributes))
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let media_type = media_type.to_ascii_lowercase();
    media_type.ends_with("/json") || media_type.ends_with("+json")
}

/// `null` for what is not JSON, none for what holds too many values. A whole number is an `int` (a `uint` above its range),
/// any other a `double`.
fn parse(body: &[u8]) -> Option<Box<dyn Val>> {
    let left = std::cell::Cell::new(DATA_NODES_MAX);
    let mut parser = serde_json::Deserializer::from_slice(body);
    let parsed = DeserializeSeed::deserialize(Node { left: &left }, &mut parser);
    match parsed {
        Ok(value) if parser.end().is_ok() => Some(value),
        Ok(_) => Some(Box::new(CelNull)),
        Err(_) if left.get() == 0 => None,
        Err(_) => Some(Box::new(CelNull)),
    }
}

#[derive(Clone, Copy)]
struct Node<'c> {
    left: &'c std::cell::Cell<usize>,
}

impl Node<'_> {
    fn pay<E: Error>(self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| E::custom("too many values"))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Box<dyn Val>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.pay()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Box<dyn Val>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Box::new(CelBool::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Box::new(CelInt::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(match i64::try_from(value) {
            Ok(value) => Box::new(CelInt::from(value)),
            Err(_) => Box::new(CelUInt::from(value)),
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Box::new(CelDouble::from(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Box::new(CelString::from(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Box::new(CelNull))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut list: Vec<Box<dyn Val>> = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            list.push(element);
        }
        Ok(Box::new(CelList::from(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map: HashMap<CelMapKey<'_>, Box<dyn Val>> = HashMap::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.pay()?;
            let value = entries.next_value_seed(self)?;
            map.insert(CelMapKey::from(key), value);
        }
        Ok(Box::new(CelMap::from(map)))
    }
}
