//! The plugins folder: what each connector asks for, in words for the person who decides about it.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use cofferdam_domain::descriptor::UpstreamRequest;
use cofferdam_domain::{CredentialSlot, InboundScheme};
use cofferdam_host::LoadProblem;

use super::frame::{Frame, Section, page};
use super::guard::SignedIn;
use super::problem_page::ProblemPage;
use super::units;
use crate::admin::ConnectorVersions;
use crate::admin::views::{self, ConnectorView, ConnectorsView};
use crate::app::App;
use crate::clock::now;

#[derive(Template)]
#[template(path = "panel/connectors.html")]
pub(super) struct ConnectorsPage {
    pub(super) frame: Frame,
    pub(super) connectors: Vec<ConnectorCard>,
    pub(super) absent: Vec<AbsentRow>,
    /// Files that are being loaded.
    pub(super) loading: Vec<String>,
    pub(super) problems: Vec<ProblemRow>,
}

/// A connector that does not run now: its file has gone, or it is on its way.
pub(super) struct AbsentRow {
    pub(super) name: String,
    /// Versions of it that are kept.
    pub(super) kept: usize,
}

/// A connector.
pub(super) struct ConnectorCard {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) summary: String,
    pub(super) file: String,
    pub(super) size: String,
    pub(super) digest: String,
    /// Versions of it that are kept.
    pub(super) kept: usize,
    /// Whether somebody has rolled back.
    pub(super) held: bool,
    pub(super) connections: Vec<String>,
    pub(super) abilities: Vec<&'static str>,
    pub(super) upstreams: Vec<Asked>,
    pub(super) inbound: Option<String>,
    pub(super) consumes: Vec<String>,
    pub(super) produces: Vec<String>,
    pub(super) wants_state: bool,
    pub(super) poll_every: Option<String>,
}

/// An outside service that a connector asks for.
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) reason: String,
    pub(super) base_url: Option<String>,
    pub(super) methods: Vec<String>,
    pub(super) path_prefixes: Vec<String>,
    pub(super) attached: String,
}

/// A file that is not in use.
pub(super) struct ProblemRow {
    pub(super) file: String,
    pub(super) reason: String,
}

pub(super) async fn list(State(app): State<App>, SignedIn(session): SignedIn) -> Result<Response, ProblemPage> {
    let view = views::connectors(&app, &session.principal.workspace);
    page(&ConnectorsPage::new(
        Frame::of(&app, &session, Section::Connectors, now()),
        &view,
    ))
}

impl ConnectorsPage {
    pub(super) fn new(frame: Frame, view: &ConnectorsView) -> Self {
        Self {
            frame,
            connectors: view.connectors.iter().map(ConnectorCard::new).collect(),
            absent: view.absent.iter().map(AbsentRow::new).collect(),
            loading: view.loading.clone(),
            problems: view.problems.iter().map(ProblemRow::new).collect(),
        }
    }
}

impl ProblemRow {
    pub(super) fn new(problem: &LoadProblem) -> Self {
        let name = problem.path.file_name().unwrap_or(problem.path.as_os_str());
        Self {
            file: name.to_string_lossy().into_owned(),
            reason: problem.reason.clone(),
        }
    }
}

impl AbsentRow {
    fn new(view: &ConnectorVersions) -> Self {
        Self {
            name: view.name.to_string(),
            kept: view.versions.len(),
        }
    }
}

impl ConnectorCard {
    fn new(view: &ConnectorView) -> Self {
        let (descriptor, exports) = (&view.descriptor, view.exports);
        let abilities = [
            (exports.sink, "delivers events"),
            (exports.source, "takes incoming requests"),
            (exports.poller, "asks on a schedule"),
        ];
        Self {
            name: descriptor.name.to_string(),
            version: descriptor.version.to_string(),
            summary: descriptor.summary.clone(),
            file: view.file.clone(),
            size: units::bytes(view.bytes),
            digest: view.digest.to_string(),
            kept: view.versions.len(),
            held: view.held.is_some(),
            connections: view.connections.iter().map(ToString::to_string).collect(),
            abilities: abilities
                .into_iter()
                .filter_map(|(able, words)| able.then_some(words))
                .collect(),
            upstreams: descriptor.upstreams.iter().map(Asked::new).collect(),
            inbound: descriptor
                .inbound
                .as_deref()
                .map(|scheme| expected(scheme, descriptor.inbound_scheme())),
            consumes: descriptor.consumes.iter().map(ToString::to_string).collect(),
            produces: descriptor.produces.clone(),
            wants_state: descriptor.wants_state,
            poll_every: descriptor
                .poll_every_s
                .map(|seconds| units::span(Duration::from_secs(seconds.into()))),
        }
    }

    /// The part of the digest that people compare.
    fn short_digest(&self) -> &str {
        self.digest.get(..12).unwrap_or(&self.digest)
    }
}

impl Asked {
    fn new(asked: &UpstreamRequest) -> Self {
        Self {
            name: asked.name.to_string(),
            reason: asked.reason.clone(),
            base_url: asked.base_url.as_ref().map(ToString::to_string),
            methods: asked.methods.clone(),
            path_prefixes: asked.path_prefixes.clone(),
            attached: attached(&asked.credential),
        }
    }
}

/// Where a credential goes, in words.
pub(super) fn attached(slot: &CredentialSlot) -> String {
    let named = |what: &str, name: &str, prefix: &str| match prefix.trim() {
        "" => format!("{what} the header {name}"),
        prefix => format!("{what} the header {name}, behind “{prefix}”"),
    };
    match slot {
        CredentialSlot::None => "no credential".to_owned(),
        CredentialSlot::Bearer => "a bearer token in the header authorization".to_owned(),
        CredentialSlot::Basic => "user and password in the header authorization".to_owned(),
        CredentialSlot::Header { name, prefix } => named("in", name, prefix),
        CredentialSlot::Query(name) => format!("in the query parameter {name}"),
        CredentialSlot::OAuth2(scopes) if scopes.is_empty() => "a token that the host obtains by OAuth 2.0".to_owned(),
        CredentialSlot::OAuth2(scopes) => {
            format!("a token that the host obtains by OAuth 2.0, for {}", scopes.join(", "))
        }
        CredentialSlot::HmacSha256 { name, prefix } => named(
            "never sent: it signs the body by HMAC-SHA256, and the signature goes into",
            name,
            prefix,
        ),
        CredentialSlot::StandardWebhooks => "never sent: it signs the request by Standard Webhooks".to_owned(),
        CredentialSlot::Hmac => "never sent: it signs the request by HMAC, as the grant's signature says".to_owned(),
        CredentialSlot::AwsSigV4 { region, service } => {
            format!("never sent: it signs the request by AWS Signature Version 4, for {service} in {region}")
        }
    }
}

/// What an incoming request must prove, in words.
fn expected(scheme: &str, verifiable: Option<InboundScheme>) -> String {
    match verifiable {
        Some(InboundScheme::None) => "requests that nobody signs".to_owned(),
        Some(verifiable) => format!("requests {} (scheme {verifiable})", verifiable.in_words()),
        None => format!("requests signed by the scheme {scheme}, which this host cannot verify"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_told_in_words() {
        for (slot, words) in [
            ("none", "no credential"),
            ("bearer", "a bearer token in the header authorization"),
            ("header X-Api-Key", "in the header x-api-key"),
            (
                "header Authorization token ",
                "in the header authorization, behind “token”",
            ),
            ("query key", "in the query parameter key"),
            (
                "aws-sigv4 eu-central-1 s3",
                "never sent: it signs the request by AWS Signature Version 4, for s3 in eu-central-1",
            ),
            ("oauth2 a b", "a token that the host obtains by OAuth 2.0, for a, b"),
            (
                "hmac-sha256 X-Sig sha256=",
                "never sent: it signs the body by HMAC-SHA256, and the signature goes into the header x-sig, behind “sha256=”",
            ),
        ] {
            assert_eq!(attached(&slot.parse().unwrap()), words);
        }
    }

    #[test]
    fn a_scheme_that_cannot_be_verified_is_told_as_such() {
        assert_eq!(
            expected("github", Some(InboundScheme::Github)),
            "requests signed by GitHub (scheme github)"
        );
        assert_eq!(
            expected("hmac-sha256", Some(InboundScheme::Hmac)),
            "requests signed by an HMAC (scheme hmac)"
        );
        assert_eq!(
            expected("none", Some(InboundScheme::None)),
            "requests that nobody signs"
        );
        assert!(expected("morse", None).ends_with("cannot verify"));
    }
}
