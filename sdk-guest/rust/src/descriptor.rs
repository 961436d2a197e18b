//! Builds what a connector says about itself.

use crate::bindings::describes::exports::cofferdam::connector::describe::{AwsScope, CredentialSlot, HeaderSlot};
use crate::{Descriptor, InboundScheme, Upstream};

impl Descriptor {
    /// A connector with no settings, upstreams or state, that takes any event. `name` is 1 to 64 lower-case letters,
    /// digits and `-`; `version` is a semantic version (use `env!("CARGO_PKG_VERSION")`); `summary` is one sentence for
    /// an admin, at most 512 bytes.
    #[must_use]
    pub fn new(name: &str, version: &str, summary: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            summary: summary.to_owned(),
            settings_schema: r#"{"type":"object"}"#.to_owned(),
            upstreams: Vec::new(),
            inbound: None,
            consumes: Vec::new(),
            produces: Vec::new(),
            wants_state: false,
            poll_every_s: None,
        }
    }

    /// JSON Schema (2020-12) of the connection's settings: `serde_json::json!({ … })`. The host checks the settings
    /// against it, and the panel makes a form of it. At most 64 KiB.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "so that a call takes `json!({ … })` as it is"
    )]
    pub fn settings(mut self, schema: serde_json::Value) -> Self {
        self.settings_schema = schema.to_string();
        self
    }

    /// Asks for one more outside service. At most 16.
    #[must_use]
    pub fn upstream(mut self, upstream: Upstream) -> Self {
        self.upstreams.push(upstream);
        self
    }

    /// The signature scheme of incoming requests, which the host verifies.
    #[must_use]
    pub fn inbound(mut self, scheme: InboundScheme) -> Self {
        self.inbound = Some(scheme);
        self
    }

    /// Takes events of this type too; a trailing `*` matches any suffix.
    #[must_use]
    pub fn consumes(mut self, pattern: &str) -> Self {
        self.consumes.push(pattern.to_owned());
        self
    }

    /// Makes events of this type too; a trailing `*` stands for types that are not known beforehand.
    #[must_use]
    pub fn produces(mut self, kind: &str) -> Self {
        self.produces.push(kind.to_owned());
        self
    }

    /// Asks for [`crate::state`].
    #[must_use]
    pub fn wants_state(mut self) -> Self {
        self.wants_state = true;
        self
    }

    /// Asks to be polled, and how often unless the admin says otherwise.
    #[must_use]
    pub fn poll_every_s(mut self, seconds: u32) -> Self {
        self.poll_every_s = Some(seconds);
        self
    }
}

impl Upstream {
    /// An outside service that [`crate::Request`] names, without credential; an admin reads `reason` before granting.
    #[must_use]
    pub fn new(name: &str, reason: &str) -> Self {
        Self {
            name: name.to_owned(),
            base_url: None,
            reason: reason.to_owned(),
            methods: Vec::new(),
            path_prefixes: Vec::new(),
            credential: CredentialSlot::None,
        }
    }

    /// Where it is, unless the connection says otherwise: `https://…`, without a trailing slash.
    #[must_use]
    pub fn base_url(mut self, url: &str) -> Self {
        self.base_url = Some(url.to_owned());
        self
    }

    /// One more method that is used, upper case. At least one is needed.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.methods.push(method.to_owned());
        self
    }

    /// One more path prefix that is used, starting with `/`; none means any.
    #[must_use]
    pub fn path_prefix(mut self, prefix: &str) -> Self {
        self.path_prefixes.push(prefix.to_owned());
        self
    }

    /// `Authorization: Bearer <secret>`.
    #[must_use]
    pub fn bearer(self) -> Self {
        self.credential(CredentialSlot::Bearer)
    }

    /// `Authorization: Basic <base64>`; the secret is `user:password`.
    #[must_use]
    pub fn basic(self) -> Self {
        self.credential(CredentialSlot::Basic)
    }

    /// The secret in a header of this name, behind a prefix that may be empty.
    #[must_use]
    pub fn header(self, name: &str, prefix: &str) -> Self {
        self.credential(CredentialSlot::Header(header_slot(name, prefix)))
    }

    /// The secret in a query parameter of this name.
    #[must_use]
    pub fn query(self, name: &str) -> Self {
        self.credential(CredentialSlot::Query(name.to_owned()))
    }

    /// A bearer token that the host obtains and refreshes by OAuth 2.0, with these scopes.
    #[must_use]
    pub fn oauth2(self, scopes: &[&str]) -> Self {
        self.credential(CredentialSlot::Oauth2(
            scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ))
    }

    /// The body signed by HMAC-SHA256, in hex, in a header of this name behind a prefix such as `sha256=`.
    #[must_use]
    pub fn hmac_sha256(self, name: &str, prefix: &str) -> Self {
        self.credential(CredentialSlot::HmacSha256(header_slot(name, prefix)))
    }

    /// The body signed by [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks): HMAC or ed25519, as the
    /// credential is.
    #[must_use]
    pub fn standard_webhooks(self) -> Self {
        self.credential(CredentialSlot::StandardWebhooks)
    }

    /// Signed by HMAC as the admin's grant says: what is covered, with which algorithm, in which header.
    #[must_use]
    pub fn hmac(self) -> Self {
        self.credential(CredentialSlot::Hmac)
    }

    /// Signed by AWS Signature Version 4 in headers, for a region such as `eu-central-1`, which the admin may change, and the
    /// name that the service signs by, such as `s3`.
    #[must_use]
    pub fn aws_sigv4(self, region: &str, service: &str) -> Self {
        self.credential(CredentialSlot::AwsSigv4(AwsScope {
            region: region.to_owned(),
            service: service.to_owned(),
        }))
    }

    fn credential(mut self, slot: CredentialSlot) -> Self {
        self.credential = slot;
        self
    }
}

fn header_slot(name: &str, prefix: &str) -> HeaderSlot {
    HeaderSlot {
        name: name.to_owned(),
        prefix: prefix.to_owned(),
    }
}
