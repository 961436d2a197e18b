//! Which headers a guest may write: none that frames the message, routes it, names the host, carries the trace, puts
//! another method or path behind the granted one, or is a credential.
//!
//! A forbidden header is refused, not dropped, so that its author learns of it. `authorization` and `cookie` are refused
//! whatever the slot is: a connector holds no credential, and one smuggled in would let data leave through somebody
//! else's account at a granted upstream. Languages' HTTP clients add some framing headers by themselves; an adapter for
//! them drops what [`added_by_clients`] names before it comes here.

use cofferdam_domain::CredentialSlot;
use cofferdam_domain::connection::header;
use http::{HeaderMap, HeaderName, HeaderValue};
use url::form_urlencoded;

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

/// The headers as they will leave, if all of them may.
pub(crate) fn check(headers: &[(String, Vec<u8>)], slot: &CredentialSlot) -> Result<HeaderMap, Refusal> {
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
        check_name(name.as_str(), slot)?;
        checked.append(name, value);
    }
    Ok(checked)
}

fn check_name(name: &str, slot: &CredentialSlot) -> Result<(), Refusal> {
    let folded = header::folded(name);
    if slot_headers(slot).iter().any(|taken| header::folded(taken) == folded) {
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
fn slot_headers(slot: &CredentialSlot) -> Vec<&str> {
    match slot {
        CredentialSlot::None | CredentialSlot::Query(_) => Vec::new(),
        CredentialSlot::Bearer | CredentialSlot::Basic | CredentialSlot::OAuth2(_) => vec!["authorization"],
        CredentialSlot::Header { name, .. } | CredentialSlot::HmacSha256 { name, .. } => vec![name],
        CredentialSlot::StandardWebhooks => vec!["webhook-id", "webhook-timestamp", "webhook-signature"],
    }
}

/// Refuses a query that has the parameter in which the credential travels, however it is encoded.
pub(crate) fn check_query(query: Option<&str>, slot: &CredentialSlot) -> Result<(), Refusal> {
    let (Some(query), CredentialSlot::Query(name)) = (query, slot) else {
        return Ok(());
    };
    // Some servers take `;` as a separator too; no slot's name holds one.
    let taken = query
        .split(';')
        .flat_map(|pairs| form_urlencoded::parse(pairs.as_bytes()))
        .any(|(given, _)| given.trim().eq_ignore_ascii_case(name));
    if taken {
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
        check(&[(name.to_owned(), value.to_vec())], &slot.parse().unwrap())
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
        assert!(check(&many(HEADERS_MAX), &CredentialSlot::None).is_ok());
        assert!(check(&many(HEADERS_MAX + 1), &CredentialSlot::None).is_err());
        let long = |len: usize| vec![("x".to_owned(), vec![b'a'; len - 1])];
        assert!(check(&long(HEADER_BYTES_MAX), &CredentialSlot::None).is_ok());
        assert!(check(&long(HEADER_BYTES_MAX + 1), &CredentialSlot::None).is_err());
    }
}
