//! Events: what a producer may say (a draft), and what the host makes of it (a stamped event).

use std::collections::BTreeMap;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::hash::Digest;
use crate::id::{ConnectionName, CorrelationId, EventId, WorkspaceName};
use crate::limits::{ATTRIBUTE_BYTES_MAX, DEDUPE_KEY_BYTES_MAX, EXTENSIONS_MAX};
use crate::time::Timestamp;
use crate::trace::TraceContext;

/// The type of an event that is a raw incoming request which no connector has understood yet.
pub const RAW_REQUEST_TYPE: &str = "dev.cofferdam.request.raw";

/// The type of an event that is a connection's turn to be polled. It is owed to that connection alone.
pub const POLL_TYPE: &str = "dev.cofferdam.poll";

/// The extension of an event that a poll made: the correlation id of the poll.
pub const POLLED_BY: &str = "polledby";

/// One thing that happened. Immutable; the body is kept apart and named by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Minted by the host.
    pub id: EventId,
    /// The tenant.
    pub workspace: WorkspaceName,
    /// Joins everything that follows.
    pub correlation_id: CorrelationId,
    /// Where in a distributed trace this event stands.
    pub trace: TraceContext,
    /// CloudEvents `type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `subject`.
    #[serde(default)]
    pub subject: Option<String>,
    /// CloudEvents `time`.
    #[serde(default)]
    pub time: Option<Timestamp>,
    /// When the host took it in.
    pub received_at: Timestamp,
    /// Who brought it.
    pub origin: Origin,
    /// CloudEvents `datacontenttype`.
    pub data_content_type: String,
    /// CloudEvents `dataschema`.
    #[serde(default)]
    pub data_schema: Option<String>,
    /// CloudEvents extension attributes.
    #[serde(default)]
    pub extensions: BTreeMap<String, String>,
    /// Size of the body.
    pub body_bytes: u64,
    /// SHA-256 of the body.
    pub body_hash: Digest,
    /// The producer's own id, if it gave one.
    #[serde(default)]
    pub dedupe_key: Option<String>,
}

/// Who brought an event in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A caller of `POST /v1/events`, by the name of its token.
    Api(String),
    /// A source connector's `receive`, by its connection.
    Connection(ConnectionName),
}

impl Origin {
    /// The scope in which a dedupe key is unique: one producer cannot suppress another's events.
    pub fn dedupe_scope(&self) -> String {
        match self {
            Self::Api(token) => format!("api/{token}"),
            Self::Connection(name) => format!("connection/{name}"),
        }
    }
}

/// An event and its body, ready to be accepted.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// Its body; `event.body_hash` is its hash.
    pub body: Vec<u8>,
}

/// An event as a producer says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDraft {
    /// CloudEvents `type`.
    pub kind: String,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `subject`.
    pub subject: Option<String>,
    /// CloudEvents `time`.
    pub time: Option<Timestamp>,
    /// CloudEvents `datacontenttype`.
    pub data_content_type: String,
    /// CloudEvents `dataschema`.
    pub data_schema: Option<String>,
    /// CloudEvents extension attributes.
    pub extensions: BTreeMap<String, String>,
    /// The body.
    pub data: Vec<u8>,
    /// The producer's own id of this event.
    pub dedupe_key: Option<String>,
}

/// What a draft cannot say for itself.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// The tenant.
    pub workspace: WorkspaceName,
    /// Who brought it.
    pub origin: Origin,
    /// Kept from a trusted caller; minted if none.
    pub correlation_id: Option<CorrelationId>,
    /// Kept from a trusted caller; minted if none.
    pub trace: Option<TraceContext>,
    /// Now.
    pub received_at: Timestamp,
    /// Largest body, in bytes.
    pub body_bytes_max: usize,
}

/// Why a draft is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct DraftFault {
    /// The CloudEvents attribute at fault.
    pub field: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl DraftFault {
    /// Names the attribute and says what is wrong with it.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

impl EventDraft {
    /// Checks every attribute and makes the event.
    pub fn stamp(self, stamp: Stamp, rng: &mut impl Rng) -> Result<NewEvent, DraftFault> {
        self.check(stamp.body_bytes_max)?;
        let event = Event {
            id: EventId::mint(stamp.received_at, rng),
            workspace: stamp.workspace,
            correlation_id: stamp
                .correlation_id
                .unwrap_or_else(|| CorrelationId::mint(stamp.received_at, rng)),
            trace: match stamp.trace {
                Some(callers) => callers.child(rng),
                None => TraceContext::mint(rng),
            },
            kind: self.kind,
            source: self.source,
            subject: self.subject,
            time: self.time,
            received_at: stamp.received_at,
            origin: stamp.origin,
            data_content_type: self.data_content_type,
            data_schema: self.data_schema,
            extensions: self.extensions,
            body_bytes: self.data.len() as u64,
            body_hash: Digest::of(&self.data),
            dedupe_key: self.dedupe_key,
        };
        Ok(NewEvent { event, body: self.data })
    }

    fn check(&self, body_bytes_max: usize) -> Result<(), DraftFault> {
        required("type", &self.kind)?;
        if self.kind.starts_with("dev.cofferdam.") {
            return Err(DraftFault::new(
                "type",
                "types that start with `dev.cofferdam.` are the host's own",
            ));
        }
        required("source", &self.source)?;
        required("datacontenttype", &self.data_content_type)?;
        for (field, value) in [("subject", &self.subject), ("dataschema", &self.data_schema)] {
            if let Some(value) = value {
                required(field, value)?;
            }
        }
        if self.extensions.len() > EXTENSIONS_MAX {
            return Err(DraftFault::new(
                "extensions",
                format!("more than {EXTENSIONS_MAX} attributes"),
            ));
        }
        for (name, value) in &self.extensions {
            extension_name(name)?;
            text(name, value)?;
        }
        if let Some(key) = &self.dedupe_key
            && !(1..=DEDUPE_KEY_BYTES_MAX).contains(&key.len())
        {
            return Err(DraftFault::new(
                "id",
                format!("must be 1 to {DEDUPE_KEY_BYTES_MAX} bytes"),
            ));
        }
        if self.data.len() > body_bytes_max {
            return Err(DraftFault::new("data", format!("larger than {body_bytes_max} bytes")));
        }
        Ok(())
    }
}

fn required(field: &str, value: &str) -> Result<(), DraftFault> {
    if value.is_empty() {
        return Err(DraftFault::new(field, "must not be empty"));
    }
    text(field, value)
}

fn text(field: &str, value: &str) -> Result<(), DraftFault> {
    if value.len() > ATTRIBUTE_BYTES_MAX {
        return Err(DraftFault::new(
            field,
            format!("longer than {ATTRIBUTE_BYTES_MAX} bytes"),
        ));
    }
    // CloudEvents 1.0.2, "Type System": a String holds no control characters.
    if value.chars().any(char::is_control) {
        return Err(DraftFault::new(field, "must not hold control characters"));
    }
    Ok(())
}

/// CloudEvents 1.0.2, "Attribute Naming Convention": lower-case letters and digits.
fn extension_name(name: &str) -> Result<(), DraftFault> {
    let good = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if good && (1..=64).contains(&name.len()) {
        return Ok(());
    }
    let shown: String = name.chars().take(64).collect();
    Err(DraftFault::new(
        shown,
        "an attribute name is 1 to 64 lower-case letters and digits",
    ))
}

#[cfg(test)]
mod tests;
