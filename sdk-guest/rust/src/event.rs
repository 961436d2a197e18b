//! Reading an event, and drafting one.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Event, EventDraft, Failure};

impl Event {
    /// The data as JSON.
    ///
    /// # Errors
    /// `data-quality`, with the place at which the data is no such `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.data)
            .map_err(|error| Failure::data_quality(format!("the data of {} cannot be read: {error}", self.type_)))
    }

    /// Whether the data says that it is JSON: `application/json`, `text/json`, or a `+json` suffix (RFC 6839 section 3.1).
    #[must_use]
    pub fn is_json(&self) -> bool {
        let essence = self.data_content_type.split(';').next().unwrap_or_default().trim();
        ["application/json", "text/json"]
            .iter()
            .any(|json| essence.eq_ignore_ascii_case(json))
            || essence
                .rsplit_once('+')
                .is_some_and(|(_, suffix)| suffix.eq_ignore_ascii_case("json"))
    }

    /// A CloudEvents extension attribute.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

impl EventDraft {
    /// An event of this type from this source with these bytes, and nothing else said of it.
    #[must_use]
    pub fn new(kind: &str, source: &str, data_content_type: &str, data: Vec<u8>) -> Self {
        Self {
            type_: kind.to_owned(),
            source: source.to_owned(),
            subject: None,
            time: None,
            data_content_type: data_content_type.to_owned(),
            data_schema: None,
            extensions: Vec::new(),
            data,
            dedupe_key: None,
        }
    }

    /// An event whose data is this value as JSON.
    ///
    /// # Errors
    /// `data-quality` when the value has no JSON form.
    pub fn json(kind: &str, source: &str, data: &impl Serialize) -> Result<Self, Failure> {
        let data = serde_json::to_vec(data)
            .map_err(|error| Failure::data_quality(format!("the data of {kind} has no JSON form: {error}")))?;
        Ok(Self::new(kind, source, "application/json", data))
    }

    /// What it happened to, within the source.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// When it happened, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn time_ms(mut self, time: u64) -> Self {
        self.time = Some(time);
        self
    }

    /// The producer's own id of this event: two drafts with the same key are one event. At most 256 bytes.
    #[must_use]
    pub fn dedupe_key(mut self, key: impl Into<String>) -> Self {
        self.dedupe_key = Some(key.into());
        self
    }

    /// A CloudEvents extension attribute; the name is lower-case letters and digits.
    #[must_use]
    pub fn extension(mut self, name: &str, value: impl Into<String>) -> Self {
        self.extensions.push((name.to_owned(), value.into()));
        self
    }
}
