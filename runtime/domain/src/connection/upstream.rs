//! What an admin grants for one upstream.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::base_url::BaseUrl;
use super::budget::BudgetGrant;
use super::signature::Signature;
use super::slot::CredentialSlot;
use crate::id::{CredentialName, UpstreamName};

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
}

impl UpstreamGrant {
    /// Every value out of bounds, and what does not belong together, named as in the connection file.
    pub fn problems(&self, upstream: &UpstreamName) -> Vec<String> {
        let mut problems = self.budget.problems(upstream);
        let mut bad = |problem: &str| problems.push(format!("upstreams.{upstream}.{problem}"));
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
}

fn is_idempotency_key(name: &str) -> bool {
    super::header::folded(name) == "idempotency-key"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(table: &str) -> Vec<String> {
        let grant = format!(r#"{{"base_url": "https://h.test", {table}}}"#);
        let grant: UpstreamGrant = serde_json::from_str(&grant).unwrap();
        grant.problems(&"api".parse().unwrap())
    }

    #[test]
    fn a_signature_comes_with_its_slot_and_with_no_other() {
        let check = |table: &str, expected: &[&str]| {
            let found = problems(table);
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
}
