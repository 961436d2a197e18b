//! CloudEvents 1.0 over HTTP in its three content modes: binary, structured and batched.
//!
//! Rules: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md> and
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use cofferdam_domain::Timestamp;
use cofferdam_domain::event::{DraftFault, EventDraft};
use cofferdam_domain::hash::Digest;
use cofferdam_domain::limits::{DEDUPE_KEY_BYTES_MAX, EVENTS_PER_REQUEST_MAX};
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;

/// Reads the events of a request. The first fault is named by its attribute, and in a batch by its index too.
pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Vec<EventDraft>, DraftFault> {
    let content_type = text_header(headers, "content-type")?.unwrap_or_default();
    let media_type = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let mut drafts = match media_type.as_str() {
        "application/cloudevents+json" => {
            let event = serde_json::from_slice(body).map_err(|error| not_json("body", &error))?;
            vec![structured(event)?]
        }
        "application/cloudevents-batch+json" => batch(body)?,
        other if other.starts_with("application/cloudevents") => {
            return Err(DraftFault::new(
                "content-type",
                format!("{other} is not supported; send JSON or binary mode"),
            ));
        }
        _ => vec![binary(headers, content_type, body)?],
    };
    if let Some(key) = text_header(headers, "idempotency-key")? {
        if drafts.len() != 1 {
            return Err(DraftFault::new(
                "idempotency-key",
                "cannot be used with a batch; each event's id serves",
            ));
        }
        if !(1..=DEDUPE_KEY_BYTES_MAX - 5).contains(&key.len()) {
            return Err(DraftFault::new(
                "idempotency-key",
                format!("must be 1 to {} bytes", DEDUPE_KEY_BYTES_MAX - 5),
            ));
        }
        drafts[0].dedupe_key = Some(format!("idem:{key}"));
    }
    Ok(drafts)
}

fn batch(body: &[u8]) -> Result<Vec<EventDraft>, DraftFault> {
    // Counted before any of them is taken apart.
    let events: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| not_json("body", &error))?;
    if events.is_empty() || events.len() > EVENTS_PER_REQUEST_MAX {
        return Err(DraftFault::new(
            "body",
            format!(
                "a batch holds 1 to {EVENTS_PER_REQUEST_MAX} events, not {}",
                events.len()
            ),
        ));
    }
    let mut drafts = Vec::with_capacity(events.len());
    for (at, event) in events.into_iter().enumerate() {
        let event = serde_json::from_str(event.get()).map_err(|error| not_json(&format!("[{at}]"), &error))?;
        drafts.push(
            structured(event).map_err(|fault| DraftFault::new(format!("[{at}].{}", fault.field), fault.problem))?,
        );
    }
    Ok(drafts)
}

fn structured(mut event: BTreeMap<String, Box<RawValue>>) -> Result<EventDraft, DraftFault> {
    let version = required(&mut event, "specversion")?;
    check_version(&version)?;
    let id = required(&mut event, "id")?;
    let source = required(&mut event, "source")?;
    let kind = required(&mut event, "type")?;
    let subject = string(&mut event, "subject")?;
    let time = string(&mut event, "time")?.map(|text| parse_time(&text)).transpose()?;
    let data_schema = string(&mut event, "dataschema")?;
    let content_type = string(&mut event, "datacontenttype")?;
    let (data, default_type) = data(&mut event, content_type.as_deref())?;
    let mut extensions = BTreeMap::new();
    for (name, value) in event {
        if value.get() != "null" {
            extensions.insert(name.clone(), scalar(&name, &value)?);
        }
    }
    Ok(EventDraft {
        dedupe_key: Some(dedupe_key(&source, &id)?),
        kind,
        source,
        subject,
        time,
        data_content_type: content_type.unwrap_or_else(|| default_type.to_owned()),
        data_schema,
        extensions,
        data,
    })
}

/// `data` is JSON as it stands, byte for byte, unless its content type says that it is a text; `data_base64` is bytes.
fn data(
    event: &mut BTreeMap<String, Box<RawValue>>,
    content_type: Option<&str>,
) -> Result<(Vec<u8>, &'static str), DraftFault> {
    let encoded = string(event, "data_base64")?;
    match (event.remove("data"), encoded) {
        (Some(_), Some(_)) => Err(DraftFault::new("data", "data and data_base64 cannot both be there")),
        (None, Some(encoded)) => {
            let bytes = data_encoding::BASE64
                .decode(encoded.as_bytes())
                .map_err(|_| DraftFault::new("data_base64", "is not base64 (RFC 4648 section 4)"))?;
            Ok((bytes, "application/octet-stream"))
        }
        (Some(value), None) => {
            let is_json = content_type.is_none_or(is_json);
            match serde_json::from_str::<String>(value.get()) {
                Ok(text) if !is_json => Ok((text.into_bytes(), "text/plain")),
                Ok(_) | Err(_) => Ok((value.get().as_bytes().to_vec(), "application/json")),
            }
        }
        (None, None) => Ok((Vec::new(), "application/json")),
    }
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    media_type.ends_with("/json") || media_type.ends_with("+json")
}

fn binary(headers: &HeaderMap, content_type: String, body: &[u8]) -> Result<EventDraft, DraftFault> {
    let attribute = |name: &str| -> Result<Option<String>, DraftFault> {
        let Some(text) = text_header(headers, &format!("ce-{name}"))? else {
            return Ok(None);
        };
        // HTTP binding, section 3.1.3.2: values are percent-encoded.
        let decoded = percent_decode_str(&text).decode_utf8();
        decoded
            .map(|text| Some(text.into_owned()))
            .map_err(|_| DraftFault::new(name, "is not UTF-8 after percent-decoding"))
    };
    let needed = |name: &str| attribute(name)?.ok_or_else(|| missing(name));
    check_version(&needed("specversion")?)?;
    let (id, source) = (needed("id")?, needed("source")?);
    let mut extensions = BTreeMap::new();
    for name in headers.keys() {
        let Some(name) = name.as_str().strip_prefix("ce-") else {
            continue;
        };
        if !["specversion", "id", "source", "type", "subject", "time", "dataschema"].contains(&name)
            && let Some(value) = attribute(name)?
        {
            extensions.insert(name.to_owned(), value);
        }
    }
    Ok(EventDraft {
        dedupe_key: Some(dedupe_key(&source, &id)?),
        kind: needed("type")?,
        source,
        subject: attribute("subject")?,
        time: attribute("time")?.map(|text| parse_time(&text)).transpose()?,
        data_content_type: if content_type.is_empty() {
            "application/octet-stream".to_owned()
        } else {
            content_type
        },
        data_schema: attribute("dataschema")?,
        extensions,
        data: body.to_vec(),
    })
}

/// `source` and `id` together name an event (CloudEvents 1.0.2, "id"); their hash fits every bound.
fn dedupe_key(source: &str, id: &str) -> Result<String, DraftFault> {
    if id.is_empty() {
        return Err(DraftFault::new("id", "must not be empty"));
    }
    Ok(format!(
        "ce:{}",
        Digest::of(format!("{}\n{source}{id}", source.len()).as_bytes())
    ))
}

fn check_version(version: &str) -> Result<(), DraftFault> {
    if version == "1.0" {
        Ok(())
    } else {
        Err(DraftFault::new("specversion", "must be 1.0"))
    }
}

fn parse_time(text: &str) -> Result<Timestamp, DraftFault> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| DraftFault::new("time", "must be an RFC 3339 time"))
}

fn missing(name: &str) -> DraftFault {
    DraftFault::new(name, "is required")
}

fn not_json(field: &str, error: &serde_json::Error) -> DraftFault {
    DraftFault::new(
        field,
        format!(
            "is not the JSON of an event: line {}, column {}",
            error.line(),
            error.column()
        ),
    )
}

fn required(event: &mut BTreeMap<String, Box<RawValue>>, name: &str) -> Result<String, DraftFault> {
    string(event, name)?.ok_or_else(|| missing(name))
}

/// An attribute that is a JSON string; `null` counts as absent (JSON format, section 2.2).
fn string(event: &mut BTreeMap<String, Box<RawValue>>, name: &str) -> Result<Option<String>, DraftFault> {
    match event.remove(name) {
        Some(value) => serde_json::from_str(value.get()).map_err(|_| DraftFault::new(name, "must be a string")),
        None => Ok(None),
    }
}

/// Extension attributes are strings, booleans or integers (JSON format, section 2.2).
fn scalar(name: &str, value: &RawValue) -> Result<String, DraftFault> {
    match serde_json::from_str(value.get()) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        Ok(serde_json::Value::Bool(flag)) => Ok(flag.to_string()),
        Ok(serde_json::Value::Number(number)) if number.is_i64() => Ok(number.to_string()),
        Ok(_) | Err(_) => Err(DraftFault::new(
            name,
            "an extension is a string, a boolean or an integer",
        )),
    }
}

fn text_header(headers: &HeaderMap, name: &str) -> Result<Option<String>, DraftFault> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let field = name.strip_prefix("ce-").unwrap_or(name);
    if headers.get_all(name).iter().count() > 1 {
        return Err(DraftFault::new(field, "is there more than once"));
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| DraftFault::new(field, "is not UTF-8"))?;
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests;
