mod by_token;
mod described;
mod documented;
mod twilio;

use axum::http::{HeaderName, HeaderValue};
use cofferdam_domain::InboundGrant;

use super::*;

/// A request that a test can spoil.
#[derive(Clone)]
struct Sent {
    headers: HeaderMap,
    path: String,
    rest: String,
    query: String,
    body: Vec<u8>,
    now: Timestamp,
}

impl Sent {
    fn new(body: impl Into<Vec<u8>>, headers: &[(&str, &str)]) -> Self {
        let mut sent = Self {
            headers: HeaderMap::new(),
            path: "/hooks/h".to_owned(),
            rest: String::new(),
            query: String::new(),
            body: body.into(),
            now: Timestamp::ZERO,
        };
        for (name, value) in headers {
            sent = sent.with(name, value);
        }
        sent
    }

    /// At this second.
    fn at(mut self, second: u64) -> Self {
        self.now = Timestamp::from_millis(second * 1_000);
        self
    }

    /// One more header.
    fn with(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers
            .append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }

    /// Another value of a header.
    fn but(mut self, name: &str, value: &str) -> Self {
        self.headers.remove(name);
        self.with(name, value)
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    fn incoming(&self) -> Incoming<'_> {
        Incoming {
            headers: &self.headers,
            path: &self.path,
            rest: &self.rest,
            query: &self.query,
            body: &self.body,
            now: self.now,
        }
    }

    /// What a check with these secrets comes to: `ok` or the reason.
    fn checked(&self, grant: &InboundGrant, secrets: &[&str]) -> &'static str {
        let secrets: Vec<_> = secrets
            .iter()
            .map(|text| Secret::new(text.as_bytes().to_vec()).unwrap())
            .collect();
        match verify(grant, &secrets, &self.incoming()) {
            Ok(()) => "ok",
            Err(unverified) => unverified.label(),
        }
    }

    fn id(&self, grant: &InboundGrant) -> Option<String> {
        delivery_id(grant, &self.incoming())
    }
}

fn grant(json: serde_json::Value) -> InboundGrant {
    let grant: InboundGrant = serde_json::from_value(json).unwrap();
    assert_eq!(grant.problems(), Vec::<String>::new());
    grant
}

fn of(scheme: InboundScheme) -> InboundGrant {
    let credential = scheme.needs_credential().then(|| "secret".parse().unwrap());
    InboundGrant::new(scheme, credential)
}

/// A good request of every scheme with the secret that it is good with.
fn good_ones() -> Vec<(InboundGrant, Sent, &'static str)> {
    vec![
        documented::github(),
        documented::standard_webhooks(),
        documented::standard_webhooks_ed25519(),
        documented::slack(),
        documented::stripe(),
        documented::shopify(),
        twilio::form(),
        twilio::json(),
        described::timed(),
        by_token::basic(),
        by_token::bearer(),
        by_token::in_a_header(),
    ]
}

/// What a good request stands on, by name.
fn checked_headers(sent: &Sent) -> Vec<String> {
    let unchecked = [
        "content-type",
        "x-github-delivery",
        "x-shopify-webhook-id",
        "i-twilio-idempotency-token",
    ];
    let names = sent.headers.keys().map(|name| name.as_str().to_owned());
    names.filter(|name| !unchecked.contains(&name.as_str())).collect()
}

#[test]
fn every_scheme_takes_its_own_request_and_nothing_near_it() {
    for (grant, sent, secret) in good_ones() {
        let scheme = grant.scheme;
        assert_eq!(sent.checked(&grant, &[secret]), "ok", "{scheme}");
        for other in ["another secret", "x", &format!("{secret}x")] {
            let checked = sent.checked(&grant, &[other]);
            assert!(
                ["mismatch", "unusable-secret"].contains(&checked),
                "{scheme}: {checked}"
            );
        }
        assert_eq!(sent.checked(&grant, &[]), "no-secret", "{scheme}");
        for name in checked_headers(&sent) {
            let value = sent.headers[&name].to_str().unwrap().to_owned();
            assert_eq!(
                sent.clone().without(&name).checked(&grant, &[secret]),
                "missing-header",
                "{scheme}"
            );
            let twice = sent.clone().with(&name, &value);
            assert_eq!(twice.checked(&grant, &[secret]), "repeated-header", "{scheme}: {name}");
            for bad in [
                "",
                " ",
                "é",
                &"x".repeat(header::VALUE_BYTES_MAX + 1),
                &"v1,AAAA ".repeat(1_000),
            ] {
                let checked = sent.clone().but(&name, bad).checked(&grant, &[secret]);
                assert!(
                    ["malformed", "mismatch"].contains(&checked),
                    "{scheme}: {name}: {bad:.20}: {checked}"
                );
            }
            // Spaces are what separates signatures in this one.
            if name == "webhook-signature" {
                continue;
            }
            for near in [format!("{value} "), format!(" {value}"), format!("{value}\t")] {
                // A header's value has no space around it when it comes from the wire; whatever has is no other's.
                assert_ne!(
                    sent.clone().but(&name, &near).checked(&grant, &[secret]),
                    "ok",
                    "{scheme}: {near:?}"
                );
            }
        }
    }
}

/// `%2b` is `%2B`: a form is signed by what it says.
fn is_other_case_of_an_escape(body: &[u8], at: usize, other: u8) -> bool {
    let escaped = body[at.saturating_sub(2)..at].contains(&b'%');
    escaped && body[at] != b'%' && body[at].eq_ignore_ascii_case(&other)
}

#[test]
fn every_bit_of_a_signed_body_counts() {
    for (grant, sent, secret) in good_ones() {
        if matches!(grant.scheme, InboundScheme::Basic | InboundScheme::Bearer) {
            continue;
        }
        for at in 0..sent.body.len() {
            for bit in 0..8 {
                let mut spoilt = sent.clone();
                spoilt.body[at] ^= 1 << bit;
                if grant.scheme == InboundScheme::Twilio && is_other_case_of_an_escape(&sent.body, at, spoilt.body[at])
                {
                    continue;
                }
                assert_ne!(
                    spoilt.checked(&grant, &[secret]),
                    "ok",
                    "{}: byte {at}, bit {bit}",
                    grant.scheme
                );
            }
        }
        let mut longer = sent.clone();
        longer.body.push(b'\n');
        assert_eq!(longer.checked(&grant, &[secret]), "mismatch", "{}", grant.scheme);
    }
}

#[test]
fn every_character_of_a_signature_counts() {
    for (grant, sent, secret) in good_ones() {
        for name in checked_headers(&sent) {
            let value = sent.headers[&name].to_str().unwrap().to_owned();
            for at in 0..value.len() {
                let other = if value.as_bytes()[at] == b'0' { "1" } else { "0" };
                let mut spoilt = value.clone();
                spoilt.replace_range(at..=at, other);
                assert_ne!(
                    sent.clone().but(&name, &spoilt).checked(&grant, &[secret]),
                    "ok",
                    "{name}: {spoilt}"
                );
                let mut shorter = value.clone();
                shorter.remove(at);
                assert_ne!(
                    sent.clone().but(&name, &shorter).checked(&grant, &[secret]),
                    "ok",
                    "{name}: {shorter}"
                );
            }
        }
    }
}

#[test]
fn any_of_several_active_secrets_may_be_the_one() {
    for (grant, sent, secret) in good_ones() {
        let scheme = grant.scheme;
        assert_eq!(sent.checked(&grant, &["older:secret", secret]), "ok", "{scheme}");
        assert_eq!(sent.checked(&grant, &[secret, "newer:secret"]), "ok", "{scheme}");
        let others = sent.checked(&grant, &["older:secret", "newer:secret"]);
        assert_ne!(others, "ok", "{scheme}");
    }
}

#[test]
fn a_signed_time_has_a_window_in_both_directions() {
    let mut timed = 0;
    for (grant, sent, secret) in good_ones() {
        let second = sent.now.as_millis() / 1_000;
        if second == 0 {
            continue;
        }
        timed += 1;
        for (now, expected) in [
            (second - 301, "stale"),
            (second - 300, "ok"),
            (second + 300, "ok"),
            (second + 301, "stale"),
        ] {
            assert_eq!(
                sent.clone().at(now).checked(&grant, &[secret]),
                expected,
                "{}",
                grant.scheme
            );
        }
        // One millisecond beyond it.
        let mut late = sent.clone();
        late.now = Timestamp::from_millis((second + 300) * 1_000 + 1);
        assert_eq!(late.checked(&grant, &[secret]), "stale", "{}", grant.scheme);
        // What nobody signed is a mismatch whenever it comes.
        assert_ne!(sent.clone().at(0).checked(&grant, &["another:secret"]), "stale");
    }
    assert_eq!(
        timed, 5,
        "Standard Webhooks twice, Slack, Stripe, and the described one"
    );
}

#[test]
fn a_hook_that_checks_nothing_takes_everything_and_has_no_id_of_its_own() {
    let sent = Sent::new("anything", &[("webhook-id", "1"), ("x-github-delivery", "2")]);
    assert_eq!(sent.checked(&of(InboundScheme::None), &[]), "ok");
    assert_eq!(sent.id(&of(InboundScheme::None)), None);
}

#[test]
fn no_connector_gets_what_a_request_could_be_sent_again_with() {
    for (grant, sent, _) in good_ones() {
        let left: Vec<_> = sent
            .headers
            .keys()
            .map(HeaderName::as_str)
            .filter(|name| is_for_connector(Some(&grant), name))
            .collect();
        for signature in ["signature", "authorization", "hmac", "token-header"] {
            assert!(
                !left.iter().any(|name| name.contains(signature)),
                "{}: {left:?}",
                grant.scheme
            );
        }
    }
    assert!(is_for_connector(None, "x-github-event"));
    assert!(!is_for_connector(None, "cookie"));
}

#[test]
fn an_id_is_bounded_and_a_text() {
    let github = of(InboundScheme::Github);
    let with = |id: &str| Sent::new("", &[("x-github-delivery", id)]).id(&github);
    assert_eq!(with("72d3162e").as_deref(), Some("72d3162e"));
    assert_eq!(with(""), None);
    assert!(with(&"x".repeat(200)).is_some());
    assert_eq!(with(&"x".repeat(201)), None);
    let twice = Sent::new("", &[("x-github-delivery", "1"), ("x-github-delivery", "2")]);
    assert_eq!(twice.id(&github), None);

    let stripe = of(InboundScheme::Stripe);
    let of_body = |body: &str| Sent::new(body, &[]).id(&stripe);
    assert_eq!(
        of_body(r#"{"id": "evt_1", "data": {"id": "other"}}"#).as_deref(),
        Some("evt_1")
    );
    for none in [
        r#"{"id": 1}"#,
        r#"{"id": null}"#,
        r#"{"id": {"id": "x"}}"#,
        r#"{"data": {"id": "x"}}"#,
        r#"["id"]"#,
        "not JSON",
        "",
        "\u{feff}{}",
        &format!(r#"{{"id": "{}"}}"#, "x".repeat(201)),
        &"[".repeat(100_000),
    ] {
        assert_eq!(of_body(none), None, "{none:.40}");
    }
}

#[test]
fn a_reason_repeats_nothing_that_was_sent() {
    for (grant, sent, _) in good_ones() {
        let secrets = [Secret::new(b"c4n4ry-secret".to_vec()).unwrap()];
        for name in checked_headers(&sent) {
            for value in [
                "c4n4ry",
                "v0=c4n4ry",
                "sha256=c4n4ry",
                "t=c4n4ry",
                "Basic c4n4ry",
                "YzRuNHJ5",
            ] {
                let sent = sent.clone().but(&name, value);
                let Err(unverified) = verify(&grant, &secrets, &sent.incoming()) else {
                    panic!("{}", grant.scheme);
                };
                let told = format!("{unverified} {unverified:?}");
                assert!(!told.contains("c4n4ry") && !told.contains("YzRu"), "{told}");
            }
        }
    }
}
