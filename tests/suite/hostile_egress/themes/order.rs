//! What is decided before any network act, so that nothing about a host can be learnt from how long a refusal takes: counted
//! in lookups, connections and readings of the credential. The upstream is a name here, so that a lookup would be seen.

use crate::hostile_egress::case::{Case, Expected, answered, case};
use crate::hostile_egress::credential::Kind;

/// Requests that one call may send.
const REQUESTS_PER_CALL_MAX: usize = 32;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        named("an upstream that is not granted")
            .upstream("elsewhere")
            .refused("upstream-not-granted"),
        named("a URL of a host that there is")
            .url("http://known.test/ok")
            .refused("upstream-not-granted"),
        named("a URL of a host that there is not")
            .url("http://unknown.test/ok")
            .refused("upstream-not-granted"),
        named("a method").method("DELETE").refused("method-not-granted"),
        named("a path").path("/other").refused("path-not-granted"),
        named("a path that leads astray").path("/ok/../x").refused("bad-path"),
        named("a query").query("a#b").refused("bad-query"),
        named("a header of the host's")
            .header("host", "x")
            .refused("header-not-allowed"),
        named("a header that is bent")
            .header("x", "\r")
            .refused("bad-header")
            .by_url(Expected::Unsayable),
        named("the credential's slot")
            .header("authorization", "x")
            .refused("credential-slot-taken"),
        named("too many headers")
            .asks(|ask| ask.headers = vec![("x-a".to_owned(), Vec::new()); 65])
            .refused("headers-too-large"),
        named("a body too large")
            .method("POST")
            .asks(|ask| ask.body_bytes = 8 * 1024 * 1024 + 1)
            .refused("request-too-large"),
        named("a refusal is as good as another: two of them, one host known and one not")
            .url("http://known.test/ok")
            .again()
            .asks(|ask| ask.timeout_ms = Some(1))
            .refused("upstream-not-granted"),
        // From here on the name has to be looked up; what is then refused is refused before a connection and a credential.
        named("a network that is not listed")
            .grant("networks", "[]")
            .refused("address-blocked")
            .lookups(1),
        named("a blocked network, whether there is a credential or not")
            .kind(Kind::Missing)
            .grant("networks", "[]")
            .refused("address-blocked")
            .lookups(1),
        named("a blocked network, whether the credential is usable or not")
            .kind(Kind::BrokenLine)
            .grant("networks", "[]")
            .refused("address-blocked")
            .lookups(1),
        named("a missing credential")
            .kind(Kind::Missing)
            .refused("credential-missing")
            .lookups(1)
            .reveals(1),
        case("no time left is no time for a lookup")
            .base_url("http://known.test:{port}")
            .asks(|ask| ask.timeout_ms = Some(0))
            .expect(Expected::TimedOut { sent: false })
            .connections(0)
            .lookups(0)
            .reveals(0),
        named("let through: one lookup, one connection, one reading")
            .lookups(1)
            .connections(1)
            .reveals(1),
    ];
    let mut flood = named("one request more than a call may send");
    flood.asks = vec![flood.asks[0].clone(); REQUESTS_PER_CALL_MAX + 1];
    flood.expected = vec![answered("ok"); REQUESTS_PER_CALL_MAX];
    cases.push(
        flood
            .then_expect(Expected::Refused("too-many-requests-in-call"))
            .requests(REQUESTS_PER_CALL_MAX)
            .lookups(1)
            .reveals(REQUESTS_PER_CALL_MAX),
    );
    cases
}

fn named(name: &str) -> Case {
    case(name)
        .base_url("http://known.test:{port}")
        .name("known.test", &[&["127.0.0.2"]])
}
