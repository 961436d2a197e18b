//! What a connector says about itself, checked.

use serde::{Deserialize, Serialize};

use crate::connection::{BaseUrl, CredentialSlot, InboundScheme};
use crate::id::{ConnectorName, UpstreamName};
use crate::limits::{ATTRIBUTE_BYTES_MAX, SETTINGS_BYTES_MAX};
use crate::subscription::TypePattern;

/// Most upstreams that one connector may ask for.
pub const UPSTREAMS_MAX: usize = 16;

/// Longest summary or reason, in bytes.
pub const SENTENCE_BYTES_MAX: usize = 512;

/// Longest version, in bytes.
pub const VERSION_BYTES_MAX: usize = 64;

/// Most entries of each list of a descriptor but its upstreams: event types, methods, path prefixes, scopes. None of them is
/// longer than [`ATTRIBUTE_BYTES_MAX`].
pub const LIST_ITEMS_MAX: usize = 64;

/// A checked descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Connections name the connector by it.
    pub name: ConnectorName,
    /// Semantic version.
    pub version: semver::Version,
    /// One sentence.
    pub summary: String,
    /// JSON Schema of the settings.
    pub settings_schema: serde_json::Value,
    /// Outside services that it asks for.
    pub upstreams: Vec<UpstreamRequest>,
    /// The signature scheme that it expects, by the contract's name.
    pub inbound: Option<String>,
    /// Event types it takes.
    pub consumes: Vec<TypePattern>,
    /// Event types it makes.
    pub produces: Vec<String>,
    /// Whether it wants state.
    pub wants_state: bool,
    /// Whether it wants to be polled, and how often, in seconds.
    pub poll_every_s: Option<u32>,
}

/// One outside service that a connector asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamRequest {
    /// What `http.send` names.
    pub name: UpstreamName,
    /// Default base URL.
    pub base_url: Option<BaseUrl>,
    /// Why.
    pub reason: String,
    /// Methods, upper case.
    pub methods: Vec<String>,
    /// Path prefixes; empty means any.
    pub path_prefixes: Vec<String>,
    /// Where the credential goes.
    pub credential: CredentialSlot,
}

impl Descriptor {
    /// Every bound that the contract names and the types do not hold.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.version.to_string().len() > VERSION_BYTES_MAX {
            problems.push(format!("version is longer than {VERSION_BYTES_MAX} bytes"));
        }
        if self.summary.len() > SENTENCE_BYTES_MAX {
            problems.push(format!("summary is longer than {SENTENCE_BYTES_MAX} bytes"));
        }
        if self.upstreams.len() > UPSTREAMS_MAX {
            problems.push(format!("more than {UPSTREAMS_MAX} upstreams"));
        }
        if !self.settings_schema.is_object() {
            problems.push("settings-schema is not a JSON object".to_owned());
        }
        if self.settings_schema.to_string().len() > SETTINGS_BYTES_MAX {
            problems.push(format!("settings-schema is larger than {SETTINGS_BYTES_MAX} bytes"));
        }
        let consumed = self.consumes.iter().map(|pattern| pattern.to_string().len());
        problems.extend(list_problem("consumes", consumed));
        problems.extend(list_problem("produces", self.produces.iter().map(String::len)));
        for (at, upstream) in self.upstreams.iter().enumerate() {
            let name = &upstream.name;
            if self.upstreams[..at].iter().any(|earlier| earlier.name == *name) {
                problems.push(format!("upstream {name} is named twice"));
            }
            if upstream.reason.is_empty() || upstream.reason.len() > SENTENCE_BYTES_MAX {
                problems.push(format!(
                    "upstream {name}: reason must be 1 to {SENTENCE_BYTES_MAX} bytes"
                ));
            }
            if upstream.methods.is_empty() || !upstream.methods.iter().all(|method| is_method(method)) {
                problems.push(format!(
                    "upstream {name}: methods must be upper-case HTTP methods, at least one"
                ));
            }
            if !upstream.path_prefixes.iter().all(|prefix| prefix.starts_with('/')) {
                problems.push(format!("upstream {name}: path prefixes start with `/`"));
            }
            problems.extend(upstream.list_problems());
        }
        problems
    }

    /// The request for this upstream.
    pub fn upstream(&self, name: &UpstreamName) -> Option<&UpstreamRequest> {
        self.upstreams.iter().find(|upstream| upstream.name == *name)
    }

    /// The scheme it expects, if this host can verify it.
    pub fn inbound_scheme(&self) -> Option<InboundScheme> {
        self.inbound.as_deref().and_then(InboundScheme::of_contract)
    }
}

impl UpstreamRequest {
    fn list_problems(&self) -> impl Iterator<Item = String> {
        let scopes: &[String] = match &self.credential {
            CredentialSlot::OAuth2(scopes) => scopes,
            CredentialSlot::None
            | CredentialSlot::Bearer
            | CredentialSlot::Basic
            | CredentialSlot::Header { .. }
            | CredentialSlot::Query(_)
            | CredentialSlot::HmacSha256 { .. }
            | CredentialSlot::StandardWebhooks
            | CredentialSlot::Hmac
            | CredentialSlot::AwsSigV4 { .. } => &[],
        };
        [
            ("methods", self.methods.as_slice()),
            ("path prefixes", &self.path_prefixes),
            ("scopes", scopes),
        ]
        .into_iter()
        .filter_map(|(list, items)| {
            list_problem(
                &format!("upstream {}: {list}", self.name),
                items.iter().map(String::len),
            )
        })
    }
}

/// What is wrong with a list whose items have these lengths.
fn list_problem(list: &str, mut lengths: impl ExactSizeIterator<Item = usize>) -> Option<String> {
    (lengths.len() > LIST_ITEMS_MAX || lengths.any(|length| length > ATTRIBUTE_BYTES_MAX))
        .then(|| format!("{list}: more than {LIST_ITEMS_MAX}, or one is longer than {ATTRIBUTE_BYTES_MAX} bytes"))
}

fn is_method(text: &str) -> bool {
    (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests;
