//! What an admin grants for one upstream.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::base_url::BaseUrl;
use super::budget::BudgetGrant;
use super::oauth2::OAuth2Grant;
use super::signature::Signature;
use super::slot::CredentialSlot;
use crate::id::{CredentialName, UpstreamName};

/// Most redirects of one request that an admin can let the host follow.
pub const REDIRECTS_MAX: u8 = 10;

/// Most origins outside of the base URL that redirects of one upstream may lead to.
pub const REDIRECT_ORIGINS_MAX: usize = 16;

/// Longest text of extra CA certificates, in bytes.
pub const CA_BYTES_MAX: usize = 64 * 1024;

/// What a connector may do with one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamGrant {
    /// Every request starts with it.
    pub base_url: BaseUrl,
    /// Methods that are allowed; empty means those that the descriptor asks for.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Path prefixes below the base URL that are allowed; empty means those that the descriptor asks for.
    #[serde(default)]
    pub path_prefixes: Vec<String>,
    /// The credential to attach.
    #[serde(default)]
    pub credential: Option<CredentialName>,
    /// Where it goes; none means where the descriptor asks for it.
    #[serde(default)]
    pub attach: Option<CredentialSlot>,
    /// How requests are signed, with the slot `hmac` and with no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// Networks that are blocked by default and allowed for this upstream.
    #[serde(default)]
    pub networks: Vec<IpNet>,
    /// How much may be asked of it, and with which connections that is shared.
    #[serde(default, skip_serializing_if = "BudgetGrant::is_nothing")]
    pub budget: BudgetGrant,
    /// How many redirects of one request the host follows, at most [`REDIRECTS_MAX`]; 0 hands every one to the connector.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redirects: u8,
    /// Origins (`https://objects.example.com`) that a redirect may lead to outside of the base URL. A request there carries
    /// no credential.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_origins: Vec<BaseUrl>,
    /// Whom TLS trusts, and what it shows of us.
    #[serde(default, skip_serializing_if = "UpstreamTls::is_default")]
    pub tls: UpstreamTls,
    /// How the host obtains the access tokens, for the slot `oauth2`. `credential` then names what holds the tokens, which
    /// only the host writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2Grant>,
}

/// TLS towards one upstream. By default it trusts whom the platform trusts, and shows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTls {
    /// Certificates of further CAs in PEM, trusted for this upstream and no other; at most [`CA_BYTES_MAX`] bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Whether nobody but these CAs is trusted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ca_only: bool,
    /// The credential that holds a certificate chain and its private key in PEM, with which the host answers when the
    /// upstream asks who we are. It is beside the credential of a slot, not instead of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<CredentialName>,
}

impl UpstreamTls {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl UpstreamGrant {
    /// Every credential that it names.
    pub fn credentials(&self) -> impl Iterator<Item = &CredentialName> {
        let client_secret = self.oauth2.as_ref().and_then(|oauth2| oauth2.client_secret.as_ref());
        let own = self.credential.iter().chain(&self.tls.client_certificate);
        own.chain(client_secret)
    }

    /// Every value out of bounds, and what does not belong together, named as in the connection file. Whether certificates can
    /// be read is the gate's to say.
    pub fn problems(&self, upstream: &UpstreamName) -> Vec<String> {
        let mut problems = self.budget.problems(upstream);
        let found = self
            .signature_problems()
            .into_iter()
            .chain(self.redirect_problems())
            .chain(self.tls_problems());
        problems.extend(found.map(|problem| format!("upstreams.{upstream}.{problem}")));
        problems
    }

    fn signature_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut bad = |problem: &str| problems.push(problem.to_owned());
        match (&self.attach, &self.signature) {
            (Some(CredentialSlot::Hmac), None) => bad(
                "attach is \"hmac\", and the table signature, which says what is signed and where the signature goes, is \
                 missing",
            ),
            (Some(slot), Some(_)) if *slot != CredentialSlot::Hmac => {
                bad("signature means nothing unless attach is \"hmac\"");
            }
            (Some(_) | None, Some(_) | None) => {}
        }
        if let Some(signature) = &self.signature {
            for problem in signature.problems() {
                bad(&format!("signature.{problem}"));
            }
            let own = [Some(&signature.header), signature.timestamp_header.as_ref()];
            if own.into_iter().flatten().any(|name| is_idempotency_key(name.as_str())) {
                bad("signature.header and timestamp_header cannot be `idempotency-key`, which holds the host's key");
            }
        }
        problems
    }

    fn redirect_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut add = |key: &str, problem: String| problems.push(format!("{key} {problem}"));
        if self.redirects > REDIRECTS_MAX {
            add(
                "redirects",
                format!("is {}; it must be 0 to {REDIRECTS_MAX}", self.redirects),
            );
        }
        if self.redirect_origins.len() > REDIRECT_ORIGINS_MAX {
            let count = self.redirect_origins.len();
            add(
                "redirect_origins",
                format!("has {count} origins; {REDIRECT_ORIGINS_MAX} are allowed"),
            );
        }
        if self.redirects == 0 && !self.redirect_origins.is_empty() {
            add(
                "redirect_origins",
                "is set while no redirect is followed; set `redirects` too".to_owned(),
            );
        }
        for origin in &self.redirect_origins {
            if !origin.is_origin() {
                add(
                    "redirect_origins",
                    format!("names {origin}; an origin is scheme, host and port without a path"),
                );
            } else if self.base_url.is_https() && !origin.is_https() {
                add(
                    "redirect_origins",
                    format!("names {origin}; a redirect from https to http is never followed"),
                );
            }
        }
        problems
    }

    fn tls_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut add = |key: &str, problem: String| problems.push(format!("{key} {problem}"));
        let tls = &self.tls;
        if let Some(bytes) = tls.ca.as_ref().map(String::len).filter(|bytes| *bytes > CA_BYTES_MAX) {
            add("tls.ca", format!("takes {bytes} bytes; {CA_BYTES_MAX} are allowed"));
        }
        if tls.ca_only && tls.ca.is_none() {
            add(
                "tls.ca_only",
                "is true without any `ca`; nobody would be trusted".to_owned(),
            );
        }
        if !tls.is_default() && !self.base_url.is_https() {
            add("tls", "is for an https base URL; this one is http".to_owned());
        }
        problems
    }
}

fn is_idempotency_key(name: &str) -> bool {
    super::header::folded(name) == "idempotency-key"
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(table: &str) -> Vec<String> {
        let grant = format!(r#"{{"base_url": "https://h.test", {table}}}"#);
        let grant: UpstreamGrant = serde_json::from_str(&grant).unwrap();
        grant.problems(&"api".parse().unwrap())
    }

    fn problems(change: impl FnOnce(&mut UpstreamGrant)) -> Vec<String> {
        let mut grant: UpstreamGrant = serde_json::from_str(r#"{"base_url":"https://api.example.com/v1"}"#).unwrap();
        change(&mut grant);
        grant.problems(&"api".parse().unwrap())
    }

    #[test]
    fn a_signature_comes_with_its_slot_and_with_no_other() {
        let check = |table: &str, expected: &[&str]| {
            let found = problems_of(table);
            assert_eq!(found.len(), expected.len(), "{table}: {found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.starts_with(&format!("upstreams.api.{expected}")), "{found}");
            }
        };
        check(r#""attach": "bearer""#, &[]);
        check(r#""attach": "hmac", "signature": {"header": "x-sig"}"#, &[]);
        // The connector may be the one that asks for the slot.
        check(r#""signature": {"header": "x-sig"}"#, &[]);
        check(r#""attach": "hmac""#, &["attach"]);
        check(
            r#""attach": "bearer", "signature": {"header": "x-sig"}"#,
            &["signature means"],
        );
        check(
            r#""attach": "hmac", "signature": {"header": "x-sig", "template": "{timestamp}.{body}"}"#,
            &["signature.template"],
        );
        check(
            r#""attach": "hmac", "signature": {"header": "Idempotency_Key"}"#,
            &["signature.header"],
        );
        check(r#""budget": {"requests": 0, "per_ms": 1}"#, &["budget.requests"]);
    }

    #[test]
    fn an_old_grant_reads_as_before_and_is_written_as_before() {
        let text = r#"{"base_url":"https://h.test","methods":[],"path_prefixes":[],"credential":null,"attach":null,"networks":[]}"#;
        let grant: UpstreamGrant = serde_json::from_str(text).unwrap();
        assert_eq!((grant.redirects, &grant.tls), (0, &UpstreamTls::default()));
        assert_eq!(serde_json::to_string(&grant).unwrap(), text);
    }

    #[test]
    fn every_rule_about_redirects_and_tls_names_its_key() {
        let check = |change: fn(&mut UpstreamGrant), expected: Option<&str>| {
            let found = problems(change);
            assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
            let begins = expected.is_none_or(|key| found[0].starts_with(&format!("upstreams.api.{key} ")));
            assert!(begins, "{found:?}");
        };
        check(|_| {}, None);
        check(|grant| grant.redirects = REDIRECTS_MAX, None);
        check(|grant| grant.redirects = REDIRECTS_MAX + 1, Some("redirects"));
        check(
            |grant| grant.redirect_origins = vec!["https://a.test".parse().unwrap()],
            Some("redirect_origins"),
        );
        for (origin, good) in [
            ("https://a.test", true),
            ("https://a.test:8443/", true),
            ("https://a.test/path", false),
            ("http://a.test", false),
        ] {
            let found = problems(|grant| {
                grant.redirects = 1;
                grant.redirect_origins = vec![origin.parse().unwrap()];
            });
            assert_eq!(found.is_empty(), good, "{origin}: {found:?}");
        }
        for (count, good) in [(REDIRECT_ORIGINS_MAX, true), (REDIRECT_ORIGINS_MAX + 1, false)] {
            let found = problems(|grant| {
                grant.redirects = 1;
                grant.redirect_origins = vec!["https://a.test".parse().unwrap(); count];
            });
            assert_eq!(found.is_empty(), good, "{count}: {found:?}");
        }
        check(|grant| grant.tls.ca = Some("x".repeat(CA_BYTES_MAX)), None);
        check(
            |grant| grant.tls.ca = Some("x".repeat(CA_BYTES_MAX + 1)),
            Some("tls.ca"),
        );
        check(|grant| grant.tls.ca_only = true, Some("tls.ca_only"));
        check(
            |grant| {
                grant.base_url = "http://h.test".parse().unwrap();
                grant.tls.client_certificate = Some("cert".parse().unwrap());
            },
            Some("tls"),
        );
    }
}
