//! The structured JSON form of a CloudEvent: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>.

use cofferdam_sdk::{Event, Failure, time};
use data_encoding::BASE64;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// Attributes that an extension must not be called, or it would appear twice.
const RESERVED: [&str; 11] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
    "correlationid",
];

/// An event on its way out. JSON data is written as it is, byte for byte; anything else as base64.
pub(crate) struct CloudEvent<'a> {
    event: &'a Event,
    json: Option<&'a RawValue>,
}

impl<'a> CloudEvent<'a> {
    /// Looks whether the data is JSON, as its media type says.
    pub(crate) fn new(event: &'a Event) -> Self {
        let json = event
            .is_json()
            .then(|| serde_json::from_slice(&event.data).ok())
            .flatten();
        Self { event, json }
    }

    /// The bytes to send.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(self).map_err(|error| Failure::data_quality(format!("the event has no JSON form: {error}")))
    }
}

impl Serialize for CloudEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.event;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", "1.0")?;
        map.serialize_entry("id", &event.id)?;
        map.serialize_entry("source", &event.source)?;
        map.serialize_entry("type", &event.type_)?;
        if let Some(subject) = &event.subject {
            map.serialize_entry("subject", subject)?;
        }
        if let Some(time) = event.time.and_then(time::format_rfc3339) {
            map.serialize_entry("time", &time)?;
        }
        map.serialize_entry("datacontenttype", &event.data_content_type)?;
        if let Some(schema) = &event.data_schema {
            map.serialize_entry("dataschema", schema)?;
        }
        // https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/correlation.md
        map.serialize_entry("correlationid", &event.correlation_id)?;
        for (name, value) in &event.extensions {
            if !RESERVED.contains(&name.as_str()) {
                map.serialize_entry(name, value)?;
            }
        }
        match self.json {
            Some(json) => map.serialize_entry("data", json)?,
            None if event.data.is_empty() => {}
            None => map.serialize_entry("data_base64", &BASE64.encode(&event.data))?,
        }
        map.end()
    }
}
