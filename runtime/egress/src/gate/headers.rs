//! Which headers a guest may write: none that frames the message, routes it, names the host, carries the trace, puts
//! another method or path behind the granted one, or is a credential.
//!
//! A forbidden header is refused, not dropped, so that its author learns of it. `authorization` and `cookie` are refused
//! whatever the slot is: a connector holds no credential, and one smuggled in would let data leave through somebody
//! else's account at a granted upstream. Languages' HTTP clients add some framing headers by themselves; an adapter for
//! them drops what [`added_by_clients`] names before it comes here.

use cofferdam_domain::CredentialSlot;
use cofferdam_domain::connection::header;
use cofferdam_domain::connection::signature::Signature;
use http::{HeaderMap, HeaderName, HeaderValue};
use url::form_urlencoded;

use super::attach::{aws, standard_webhooks, template};
use crate::refusal::{Refusal, RefusalCode};

/// Most headers of one request.
pub(crate) const HEADERS_MAX: usize = 64;

/// Most bytes of names and values together.
pub(crate) const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Credentials, which a guest may never write beside the [`HOST_HEADERS`](header::HOST_HEADERS).
const CREDENTIALS: [&str; 2] = ["authorization", "cookie"];

/// Headers that HTTP clients add without being asked and that the host writes anyway; in lower case.
pub fn added_by_clients(name: &str) -> bool {
    [
        "accept-encoding",
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "transfer-encoding",
    ]
    .iter()
    .any(|added| name.eq_ignore_ascii_case(added))
}

/// The headers as they will leave, if all of them may. `signature` says how requests are signed where the slot is `hmac`.
pub(crate) fn check(
    headers: &[(String, Vec<u8>)],
    slot: &CredentialSlot,
    signature: Option<&Signature>,
) -> Result<HeaderMap, Refusal> {
    let taken = slot_headers(slot, signature);
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return Err(Refusal::new(
            RefusalCode::HeadersTooLarge,
            format!("a request has at most {HEADERS_MAX} headers of {HEADER_BYTES_MAX} bytes together"),
        ));
    }
    let mut checked = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let bad = |problem: &str| Refusal::new(RefusalCode::BadHeader, problem);
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| bad("a header name is letters, digits and !#$%&'*+-.^_`|~ (RFC 9110 section 5.1)"))?;
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| bad("a header value holds no line break and no other control character"))?;
        check_name(name.as_str(), &taken)?;
        checked.append(name, value);
    }
    Ok(checked)
}

fn check_name(name: &str, taken: &[&str]) -> Result<(), Refusal> {
    let folded = header::folded(name);
    if taken.iter().any(|taken| header::folded(taken) == folded) {
        return Err(Refusal::new(
            RefusalCode::CredentialSlotTaken,
            format!("the host writes `{name}` for this upstream; leave it out"),
        ));
    }
    let problem = if CREDENTIALS.contains(&folded.as_str()) {
        "is a credential; bind one to the upstream and the host attaches it"
    } else if header::is_hosts(&folded) {
        "is the host's; leave it out"
    } else {
        return Ok(());
    };
    Err(Refusal::new(
        RefusalCode::HeaderNotAllowed,
        format!("`{name}` {problem}"),
    ))
}

/// The headers that the host writes for a slot.
fn slot_headers<'a>(slot: &'a CredentialSlot, signature: Option<&'a Signature>) -> Vec<&'a str> {
    match slot {
        CredentialSlot::None | CredentialSlot::Query(_) => Vec::new(),
        CredentialSlot::Bearer | CredentialSlot::Basic | CredentialSlot::OAuth2(_) => vec!["authorization"],
        CredentialSlot::Header { name, .. } | CredentialSlot::HmacSha256 { name, .. } => vec![name],
        CredentialSlot::StandardWebhooks => standard_webhooks::HEADERS.to_vec(),
        CredentialSlot::Hmac => signature.map(template::headers).unwrap_or_default(),
        CredentialSlot::AwsSigV4 { .. } => aws::HEADERS.to_vec(),
    }
}

/// Refuses a query that has a parameter in which the credential, or a signature by it, travels, however it is encoded.
pub(crate) fn check_query(query: Option<&str>, slot: &CredentialSlot) -> Result<(), Refusal> {
    let Some(query) = query else {
        return Ok(());
    };
    let names: &[&str] = match slot {
        CredentialSlot::Query(name) => &[name],
        CredentialSlot::AwsSigV4 { .. } => &aws::PARAMETERS,
        CredentialSlot::None
        | CredentialSlot::Bearer
        | CredentialSlot::Basic
        | CredentialSlot::Header { .. }
        | CredentialSlot::OAuth2(_)
        | CredentialSlot::HmacSha256 { .. }
        | CredentialSlot::StandardWebhooks
        | CredentialSlot::Hmac => return Ok(()),
    };
    // Some servers take `;` as a separator too; no slot's name holds one.
    let taken = query
        .split(';')
        .flat_map(|pairs| form_urlencoded::parse(pairs.as_bytes()))
        .find_map(|(given, _)| names.iter().find(|name| given.trim().eq_ignore_ascii_case(name)));
    if let Some(name) = taken {
        return Err(Refusal::new(
            RefusalCode::CredentialSlotTaken,
            format!("the host writes the query parameter `{name}` for this upstream; leave it out"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &[u8], slot: &str) -> Option<RefusalCode> {
        check(&[(name.to_owned(), value.to_vec())], &slot.parse().unwrap(), None)
            .err()
            .map(|refusal| refusal.code)
    }

    #[test]
    fn the_hosts_own_headers_are_refused_in_any_case_and_with_any_marks() {
        for name in header::HOST_HEADERS.into_iter().chain(CREDENTIALS) {
            for name in [name.to_owned(), name.to_uppercase(), name.replace('-', "_")] {
                assert_eq!(of(&name, b"x", "none"), Some(RefusalCode::HeaderNotAllowed), "{name}");
            }
        }
        assert_eq!(of("Proxy-Anything", b"x", "none"), Some(RefusalCode::HeaderNotAllowed));
        assert_eq!(of("proxy_anything", b"x", "none"), Some(RefusalCode::HeaderNotAllowed));
        assert_eq!(of("Content-Type", b"application/json", "none"), None);
        assert_eq!(of("X-Api-Key", b"x", "none"), None);
    }

    #[test]
    fn smuggled_names_and_values_are_refused() {
        for (name, value) in [
            ("", &b"x"[..]),
            ("a b", b"x"),
            ("host ", b"x"),
            ("x\r\nhost", b"x"),
            ("x:", b"x"),
            ("é", b"x"),
            ("x-a", b"1\r\nhost: evil.test"),
            ("x-a", b"1\n"),
            ("x-a", b"1\r"),
            ("x-a", b"1\0"),
            ("x-a", b"\x7f"),
        ] {
            assert_eq!(
                of(name, value, "none"),
                Some(RefusalCode::BadHeader),
                "{name:?}: {value:?}"
            );
        }
    }

    #[test]
    fn the_credentials_own_slot_is_the_hosts() {
        let check = |slot: &str, name: &str| {
            assert_eq!(
                of(name, b"x", slot),
                Some(RefusalCode::CredentialSlotTaken),
                "{name} with {slot}"
            );
        };
        check("bearer", "Authorization");
        check("basic", "authorization");
        check("oauth2", "authorization");
        check("header x-api-key", "X-API-KEY");
        check("header x-api-key", "x_api_key");
        check("header x_api_key", "x-api-key");
        check("hmac-sha256 x-signature sha256=", "X-Signature");
        check("standard-webhooks", "webhook-id");
        check("standard-webhooks", "Webhook-Timestamp");
        check("standard-webhooks", "webhook-signature");
        check("standard-webhooks", "webhook_signature");
        check("aws-sigv4 eu-central-1 s3", "Authorization");
        check("aws-sigv4 eu-central-1 s3", "X-Amz-Date");
        check("aws-sigv4 eu-central-1 sqs", "x_amz_security_token");
        check("aws-sigv4 eu-central-1 sqs", "x-amz-content-sha256");
        assert_eq!(of("x-amz-target", b"x", "aws-sigv4 eu-central-1 dynamodb"), None);
    }

    #[test]
    fn every_header_of_a_signature_is_the_hosts() {
        let signature = serde_json::json!({
            "header": "X-Sig", "template": "{timestamp}{id}{body}", "timestamp_header": "X-Time", "id_header": "X-Id",
        });
        let signature: Signature = serde_json::from_value(signature).unwrap();
        for (name, taken) in [("x-sig", true), ("X_Time", true), ("x-id", true), ("x-other", false)] {
            let found = check(
                &[(name.to_owned(), b"1".to_vec())],
                &CredentialSlot::Hmac,
                Some(&signature),
            );
            let code = found.err().map(|refusal| refusal.code);
            assert_eq!(code, taken.then_some(RefusalCode::CredentialSlotTaken), "{name}");
        }
    }

    #[test]
    fn a_request_that_is_signed_in_headers_is_not_signed_in_its_query() {
        let slot = "aws-sigv4 eu-central-1 s3".parse().unwrap();
        for (query, taken) in [
            ("X-Amz-Signature=x", true),
            ("a=1&x-amz-%43redential=x", true),
            ("prefix=x-amz-signature", false),
            ("x-amz-signatures=1", false),
        ] {
            assert_eq!(check_query(Some(query), &slot).is_err(), taken, "{query}");
        }
    }

    #[test]
    fn the_credentials_query_parameter_is_the_hosts_however_it_is_written() {
        let check = |query: &str, taken: bool| {
            let found = check_query(Some(query), &"query key".parse().unwrap());
            assert_eq!(found.is_err(), taken, "{query}");
        };
        check("key=x", true);
        check("a=1&KEY=x", true);
        check("%6bey=x", true);
        check("a=1;key=x", true);
        check("a=1;%6bey=x", true);
        check("a;k%45Y&b", true);
        check("a=1;+key=x", true);
        check("+key=x", true);
        check("key", true);
        check("a=key", false);
        check("a=1;b=key", false);
        check("a%3Bkey=x", false);
        check("monkey=x", false);
    }

    #[test]
    fn headers_are_bounded_in_number_and_bytes() {
        let many = |count: usize| vec![("x-a".to_owned(), b"1".to_vec()); count];
        assert!(check(&many(HEADERS_MAX), &CredentialSlot::None, None).is_ok());
        assert!(check(&many(HEADERS_MAX + 1), &CredentialSlot::None, None).is_err());
        let long = |len: usize| vec![("x".to_owned(), vec![b'a'; len - 1])];
        assert!(check(&long(HEADER_BYTES_MAX), &CredentialSlot::None, None).is_ok());
        assert!(check(&long(HEADER_BYTES_MAX + 1), &CredentialSlot::None, None).is_err());
    }
}
