//! Whether and how incoming requests are taken.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::CredentialName;
use crate::limits::DEDUPE_WINDOW;

/// How incoming requests are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboundGrant {
    /// The signature scheme.
    pub scheme: InboundScheme,
    /// The signing secret, by name.
    pub credential: CredentialName,
    /// How long the id of a request is remembered, so that the same request sent again is not taken twice, in hours; 1 to
    /// 720, none means 72.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe_window_hours: Option<u32>,
}

impl InboundGrant {
    /// How long the id of a request is remembered.
    pub fn dedupe_window(&self) -> Duration {
        self.dedupe_window_hours
            .map_or(DEDUPE_WINDOW, |hours| Duration::from_secs(u64::from(hours) * 3600))
    }
}

/// Signature schemes of incoming requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InboundScheme {
    /// `X-Hub-Signature-256`.
    Github,
    /// Standard Webhooks 1.0.
    StandardWebhooks,
}

impl InboundScheme {
    /// The name in files, the API and the panel.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::StandardWebhooks => "standard-webhooks",
        }
    }
}
