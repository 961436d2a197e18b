//! The credentials of the cases: one of every kind, each with a secret of its own, where it must travel, and every form in
//! which it must be nowhere.

use std::sync::atomic::{AtomicUsize, Ordering};

use cofferdam_domain::{ConnectionName, CredentialName, WorkspaceName};
use cofferdam_egress::{Credentials, CredentialsUnavailable};
use cofferdam_tests::sign;
use cofferdam_vault::Secret;
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

use crate::needles::{Needles, stable_base64};

/// Kinds of credentials, unusable ones included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The upstream takes none.
    None,
    Bearer,
    Basic,
    /// `X-Api-Key`, behind a prefix.
    Header,
    /// The query parameter `key`.
    Query,
    /// `X-Signature: sha256=…`.
    Hmac,
    StandardWebhooks,
    /// A slot without a credential.
    Missing,
    /// A bearer token with a line break in it.
    BrokenLine,
    /// A basic credential without a colon.
    NoColon,
    /// A Standard Webhooks secret that is no base64.
    NoBase64,
    /// A credential that cannot be unsealed.
    Unreadable,
    /// A bearer token that the host obtains from `/token` of the granted upstream, as a client of its own.
    OAuth,
}

/// One case's credential.
#[derive(Debug)]
pub(crate) struct Credential {
    pub(crate) kind: Kind,
    /// As it lies in the vault.
    pub(crate) value: Vec<u8>,
    /// The client's secret, where tokens are obtained; it must be nowhere either.
    pub(crate) client_secret: Vec<u8>,
    reveals: AtomicUsize,
}

impl Credential {
    /// A secret that nobody else has. It holds characters that every encoding changes, both alphabets of base64 among them at
    /// each alignment.
    pub(crate) fn random(kind: Kind) -> Self {
        let token = format!("xoxb-17/{}+???~~~", HEXLOWER.encode(&rand::random::<[u8; 9]>()));
        let value = match kind {
            Kind::Basic => format!("user:{token}"),
            Kind::StandardWebhooks => format!("whsec_{}", BASE64.encode(&rand::random::<[u8; 24]>())),
            Kind::BrokenLine => format!("{token}\r\nx-injected: 1"),
            Kind::NoBase64 => format!("whsec_{token}"),
            _ => token,
        };
        Self {
            kind,
            value: value.into_bytes(),
            client_secret: format!("app/{}+???~~~", HEXLOWER.encode(&rand::random::<[u8; 9]>())).into_bytes(),
            reveals: AtomicUsize::new(0),
        }
    }

    /// How often it was read.
    pub(crate) fn reveals(&self) -> usize {
        self.reveals.load(Ordering::SeqCst)
    }

    /// Everything that must be nowhere.
    pub(crate) fn needles(&self) -> Needles {
        let mut needles = Needles::default();
        let mut add = |name: &str, bytes: &[u8]| needles.add(name, bytes);
        match self.kind {
            Kind::None | Kind::Missing => {}
            Kind::Basic => {
                add("the user and password", &self.value);
                add("the password", self.secret());
            }
            Kind::StandardWebhooks => {
                add("the signing secret", self.secret());
                add("the signing key", &self.webhook_key());
            }
            Kind::OAuth => {
                add("the access token", &self.value);
                add("the client's secret", &self.client_secret);
            }
            _ => add("the credential", &self.value),
        }
        needles
    }

    /// The part that a careless upstream would print: without user or mark.
    pub(crate) fn secret(&self) -> &[u8] {
        match self.kind {
            Kind::Basic => &self.value["user:".len()..],
            Kind::StandardWebhooks => &self.value["whsec_".len()..],
            _ => &self.value,
        }
    }

    fn webhook_key(&self) -> Vec<u8> {
        BASE64.decode(self.secret()).expect("it was made so")
    }

    /// The credential in a form, by its name in a case's text.
    pub(crate) fn form(&self, form: &str) -> Vec<u8> {
        let secret = self.secret();
        let each = |write: &dyn Fn(u8) -> String| secret.iter().map(|byte| write(*byte)).collect::<String>();
        let text = match form {
            "raw" => return secret.to_vec(),
            "whole" => return self.value.clone(),
            "client" => return self.client_secret.clone(),
            "client-base64" => BASE64.encode(&self.client_secret),
            "hex" => HEXLOWER.encode(secret),
            "HEX" => HEXUPPER.encode(secret),
            "base64" => BASE64.encode(secret),
            "base64-whole" => BASE64.encode(&self.value),
            "base64-key" => BASE64.encode(&self.webhook_key()),
            "hex-key" => HEXLOWER.encode(&self.webhook_key()),
            "base64+1" => BASE64.encode(&[b"\xff", secret, b"\xfe"].concat()),
            "base64+2" => BASE64.encode(&[b"\xff\xfe", secret, b"\xfd\xff"].concat()),
            "base64url" => BASE64URL_NOPAD.encode(secret),
            "base64url+1" => BASE64URL_NOPAD.encode(&[b"\xff", secret, b"\xfe"].concat()),
            "base64url+2" => BASE64URL_NOPAD.encode(&[b"\xff\xfe", secret, b"\xfd\xff"].concat()),
            // Only what depends on nothing but the secret.
            "base64-core+1" => return stable_base64(&BASE64_NOPAD, secret, 1),
            "base64-core+2" => return stable_base64(&BASE64_NOPAD, secret, 2),
            "percent" => each(&|byte| match byte {
                b'/' | b'+' | b'?' | b'=' => format!("%{byte:02X}"),
                plain => char::from(plain).to_string(),
            }),
            "percent-all" => each(&|byte| format!("%{byte:02x}")),
            "percent-first" => format!("%{:02X}{}", secret[0], String::from_utf8_lossy(&secret[1..])),
            "json" => each(&|byte| match byte {
                b'/' => "\\/".to_owned(),
                plain => char::from(plain).to_string(),
            }),
            "json-all" => each(&|byte| format!("\\u{byte:04X}")),
            "json-last" => {
                let (last, rest) = secret.split_last().expect("a secret is not empty");
                format!("{}\\u{last:04x}", String::from_utf8_lossy(rest))
            }
            "percent-of-base64" => BASE64
                .encode(secret)
                .replace('=', "%3D")
                .replace('+', "%2B")
                .replace('/', "%2F"),
            "json-of-hex" => HEXLOWER
                .encode(secret)
                .chars()
                .map(|c| format!("\\u{:04x}", c as u32))
                .collect(),
            unknown => panic!("there is no form {unknown:?}"),
        };
        text.into_bytes()
    }

    /// The slot, as an admin writes it.
    pub(crate) fn slot(&self) -> &'static str {
        match self.kind {
            Kind::None => "none",
            Kind::Bearer | Kind::Missing | Kind::BrokenLine | Kind::Unreadable => "bearer",
            Kind::OAuth => "oauth2",
            Kind::Basic | Kind::NoColon => "basic",
            Kind::Header => "header X-Api-Key key ",
            Kind::Query => "query key",
            Kind::Hmac => "hmac-sha256 X-Signature sha256=",
            Kind::StandardWebhooks | Kind::NoBase64 => "standard-webhooks",
        }
    }

    /// What is wrong with how a request carries it, if anything: it must be there once, in its slot, and nowhere else.
    pub(crate) fn misplaced(&self, request: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(request);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let values: Vec<_> = lines
                .filter(|(given, _)| given.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
                .collect();
            values.join(" AND ")
        };
        let secret = String::from_utf8_lossy(&self.value);
        if self.kind == Kind::OAuth && head.starts_with("POST /token ") {
            let client = format!(
                "Basic {}",
                BASE64.encode(&[b"client:", encoded(&self.client_secret).as_bytes()].concat())
            );
            let found = header("authorization");
            return (found != client).then(|| format!("authorization of the token request is {found:?}"));
        }
        let (name, expected) = match self.kind {
            Kind::None | Kind::Missing | Kind::BrokenLine | Kind::NoColon | Kind::NoBase64 | Kind::Unreadable => {
                ("authorization", String::new())
            }
            Kind::Bearer | Kind::OAuth => ("authorization", format!("Bearer {secret}")),
            Kind::Basic => ("authorization", format!("Basic {}", BASE64.encode(&self.value))),
            Kind::Header => ("x-api-key", format!("key {secret}")),
            Kind::Query => {
                let parameter = format!("key={}", String::from_utf8_lossy(&self.form("percent")));
                let line = head.lines().next().unwrap_or_default();
                let carried = line.matches(&parameter).count() == 1;
                let rest = text.replacen(&parameter, "", 1);
                return match self.needles().find(rest.as_bytes()) {
                    _ if !carried => Some(format!("{line:?} does not carry it once")),
                    Some(found) => Some(format!("{found} is elsewhere in the request too")),
                    None => None,
                };
            }
            Kind::Hmac => ("x-signature", sign::github(&secret, body.as_bytes())),
            Kind::StandardWebhooks => {
                let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
                (
                    "webhook-signature",
                    sign::standard_webhooks(&secret, &id, &time, body.as_bytes()),
                )
            }
        };
        let found = header(name);
        if found != expected {
            return Some(format!("{name} is {found:?}"));
        }
        let of_slot = |line: &&str| {
            line.split_once(": ")
                .is_some_and(|(given, _)| given.eq_ignore_ascii_case(name))
        };
        let others: Vec<_> = head.lines().filter(|line| !of_slot(line)).chain([body]).collect();
        let elsewhere = self.needles();
        let elsewhere = elsewhere.find(others.join("\n").as_bytes())?;
        Some(format!("{elsewhere} is elsewhere in the request too"))
    }
}

/// As RFC 6749 section 2.3.1 wants a client's secret in HTTP Basic.
fn encoded(secret: &[u8]) -> String {
    url::form_urlencoded::byte_serialize(secret).collect()
}

impl Credentials for Credential {
    fn reveal(
        &self,
        _: &WorkspaceName,
        _: &ConnectionName,
        _: &CredentialName,
    ) -> Result<Option<Secret>, CredentialsUnavailable> {
        self.reveals.fetch_add(1, Ordering::SeqCst);
        let value = || Secret::new(self.value.clone()).expect("it has a fitting size");
        match self.kind {
            Kind::Missing => Ok(None),
            Kind::Unreadable => Err(CredentialsUnavailable("the record is damaged".into())),
            _ => Ok(Some(value())),
        }
    }
}
