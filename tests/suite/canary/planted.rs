//! The canaries: one secret of each of these kinds, and what must be found nowhere for each. Client certificates, described HMACs
//! and the further schemes of hooks are not among them.

use data_encoding::{BASE64, HEXLOWER};

use crate::needles::{Needles, forms};

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// The gate attaches it to requests.
    Outbound,
    /// Incoming requests are verified with it.
    Inbound,
}

/// A kind of secret.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// The connection that holds it.
    pub(crate) connection: &'static str,
    pub(crate) used: Use,
    /// Where the gate attaches it, as an admin writes it; or the scheme that it verifies.
    pub(crate) slot: &'static str,
    make: fn() -> Vec<u8>,
}

/// An AWS key's name, which is no secret, before the key.
const ACCESS_KEY_ID: &[u8] = b"AKIDCANARY:";

/// What is planted.
pub(crate) const KINDS: [Kind; 10] = [
    outbound("bearer", "bearer", token),
    outbound("basic", "basic", password),
    outbound("header", "header X-Api-Key key ", token),
    outbound("cookie", "header Cookie session=", hex),
    outbound("query", "query key", token),
    outbound("hmac", "hmac-sha256 X-Signature sha256=", token),
    outbound("signed", "standard-webhooks", webhook),
    outbound("aws", "aws-sigv4 eu-central-1 execute-api", access_key),
    inbound("in-github", "github", token),
    inbound("in-standard", "standard-webhooks", webhook),
];

const fn outbound(connection: &'static str, slot: &'static str, make: fn() -> Vec<u8>) -> Kind {
    Kind {
        connection,
        used: Use::Outbound,
        slot,
        make,
    }
}

const fn inbound(connection: &'static str, slot: &'static str, make: fn() -> Vec<u8>) -> Kind {
    Kind {
        connection,
        used: Use::Inbound,
        slot,
        make,
    }
}

fn hex() -> Vec<u8> {
    HEXLOWER.encode(&rand::random::<[u8; 12]>()).into_bytes()
}

/// Holds characters that every encoding changes.
fn token() -> Vec<u8> {
    [b"canary/", hex().as_slice(), b"+???~~~"].concat()
}

fn password() -> Vec<u8> {
    [b"user:", token().as_slice()].concat()
}

fn access_key() -> Vec<u8> {
    [ACCESS_KEY_ID, token().as_slice()].concat()
}

fn webhook() -> Vec<u8> {
    format!("whsec_{}", BASE64.encode(&rand::random::<[u8; 24]>())).into_bytes()
}

/// A secret that is set on the server.
#[derive(Clone, Debug)]
pub(crate) struct Canary {
    pub(crate) kind: Kind,
    pub(crate) value: Vec<u8>,
}

impl Kind {
    /// A new secret of this kind.
    pub(crate) fn canary(self) -> Canary {
        Canary {
            kind: self,
            value: (self.make)(),
        }
    }
}

impl Canary {
    /// As text: it is sent to the API as a body.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.value.clone()).expect("a canary is text")
    }

    /// The secret and what follows from it.
    fn parts(&self) -> Vec<(String, Vec<u8>)> {
        let name = |of: &str| format!("{of} of {}", self.kind.connection);
        let mut parts = vec![(name("the secret"), self.value.clone())];
        if let Some(password) = self.value.strip_prefix(b"user:") {
            parts.push((name("the password"), password.to_vec()));
        }
        if let Some(key) = self.value.strip_prefix(ACCESS_KEY_ID) {
            parts.push((name("the secret access key"), key.to_vec()));
        }
        if let Some(text) = self.value.strip_prefix(b"whsec_") {
            parts.push((name("the secret's text"), text.to_vec()));
            parts.push((name("the signing key"), BASE64.decode(text).expect("it was made so")));
        }
        parts
    }

    /// Adds everything that must be nowhere.
    pub(crate) fn add_to(&self, needles: &mut Needles) {
        for (name, bytes) in self.parts() {
            needles.add(&name, &bytes);
        }
    }

    /// A body in which an upstream sends the secret back in every form.
    pub(crate) fn in_every_form(&self) -> String {
        let parts = self.parts();
        let forms = parts
            .iter()
            .flat_map(|(_, bytes)| forms(bytes))
            .filter_map(|(name, form)| {
                // A list of numbers is what a careless log prints; upstreams know no such encoding.
                let text = String::from_utf8(form).ok()?;
                (!name.contains("list of numbers")).then_some(text)
            });
        forms.collect::<Vec<_>>().join("\n")
    }
}
