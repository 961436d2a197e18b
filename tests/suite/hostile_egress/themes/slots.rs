//! A guest that fills the credential's slot itself, in every spelling, or writes a credential of its own beside it.

use crate::hostile_egress::case::{Case, case};
use crate::hostile_egress::credential::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = HEADERS
        .iter()
        .map(|(kind, name)| {
            case(format!("{kind:?}: the header {name}"))
                .kind(*kind)
                .header(name, "the guest's own")
                .refused("credential-slot-taken")
        })
        .collect();
    cases.extend(QUERIES.iter().map(|query| {
        case(format!("Query: {query}"))
            .kind(Kind::Query)
            .query(*query)
            .refused("credential-slot-taken")
    }));
    cases.extend([
        case("a bearer token of the guest's own, where the upstream takes none")
            .kind(Kind::None)
            .header("Authorization", "Bearer smuggled")
            .refused("header-not-allowed"),
        case("a bearer token of the guest's own, where the credential is in the query")
            .kind(Kind::Query)
            .header("authorization", "Bearer smuggled")
            .refused("header-not-allowed"),
        case("a parameter that ends like the slot's")
            .kind(Kind::Query)
            .query("monkey=1")
            .wire("/ok?monkey=1&key="),
        case("a parameter that the slot's name is the value of")
            .kind(Kind::Query)
            .query("a=key")
            .wire("/ok?a=key&key="),
        case("a placeholder for the secret is not filled in")
            .post("{\"token\": \"{{credential}} ${target} {{secrets.key}}\"}")
            .header("x-token", "{{credential}}")
            .wire("x-token: {{credential}}\r\n"),
    ]);
    for kind in [
        Kind::Bearer,
        Kind::Basic,
        Kind::Header,
        Kind::Query,
        Kind::Hmac,
        Kind::StandardWebhooks,
        Kind::None,
    ] {
        cases.push(
            case(format!("{kind:?}: left alone, it is where it belongs"))
                .kind(kind)
                .post("a body to sign")
                .requests(1)
                .reveals(usize::from(kind != Kind::None)),
        );
    }
    cases
}

/// Each is the slot of its kind to some server.
const HEADERS: [(Kind, &str); 18] = [
    (Kind::Bearer, "authorization"),
    (Kind::Bearer, "Authorization"),
    (Kind::Bearer, "AUTHORIZATION"),
    (Kind::Basic, "Authorization"),
    (Kind::Header, "X-Api-Key"),
    (Kind::Header, "x-api-key"),
    (Kind::Header, "x_api_key"),
    (Kind::Header, "X-API_KEY"),
    (Kind::Header, "x.api.key"),
    (Kind::Hmac, "X-Signature"),
    (Kind::Hmac, "x_signature"),
    (Kind::StandardWebhooks, "webhook-signature"),
    (Kind::StandardWebhooks, "Webhook-Signature"),
    (Kind::StandardWebhooks, "webhook_signature"),
    (Kind::StandardWebhooks, "webhook-id"),
    (Kind::StandardWebhooks, "webhook-timestamp"),
    (Kind::StandardWebhooks, "WEBHOOK_TIMESTAMP"),
    (Kind::StandardWebhooks, "webhook.id"),
];

/// Each holds the parameter `key` to some server.
const QUERIES: [&str; 9] = [
    "key=mine",
    "KEY=mine",
    "a=1&key=mine",
    "key",
    "%6bey=mine",
    "%4B%45%59=mine",
    "a=1;key=mine",
    "+key=mine",
    "%20key%09=mine",
];
