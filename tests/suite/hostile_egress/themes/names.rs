//! Names whose answers change between the check and the use.
//!
//! `127.0.0.9` is in a listed network and nobody listens there: an address that cannot be dialled, so that the gate asks anew.

use crate::hostile_egress::case::{Case, Expected, answered, case};
use crate::hostile_egress::names::NEVER;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        named(
            "the second lookup would say loopback",
            &[&["127.0.0.2"], &["127.0.0.1"]],
        )
        .lookups(1)
        .connections(1)
        .wire("host: api.test:{port}\r\n"),
        named(
            "a second request while the answer is fresh",
            &[&["127.0.0.2"], &["127.0.0.1"]],
        )
        .again()
        .lookups(1),
        named("a dead address first, then loopback", &[&["127.0.0.9"], &["127.0.0.1"]])
            .grant("networks", "[\"127.0.0.2/32\", \"127.0.0.9/32\"]")
            .again()
            .expect(Expected::Unreachable)
            .then_expect(Expected::Refused("address-blocked"))
            .connections(0)
            .lookups(2),
        named(
            "a dead address first, then the other server",
            &[&["127.0.0.9"], &["127.0.0.3"]],
        )
        .grant("networks", "[\"127.0.0.2/32\", \"127.0.0.9/32\"]")
        .again()
        .expect(Expected::Unreachable)
        .then_expect(Expected::Refused("address-blocked"))
        .connections(0)
        .lookups(2),
        named(
            "a dead address first, then the metadata service",
            &[&["127.0.0.9"], &["169.254.169.254"]],
        )
        .grant("networks", "[\"127.0.0.2/32\", \"127.0.0.9/32\"]")
        .again()
        .expect(Expected::Unreachable)
        .then_expect(Expected::Refused("address-blocked"))
        .connections(0)
        .lookups(2),
        named(
            "a dead address first, then the granted one",
            &[&["127.0.0.9"], &["127.0.0.2"]],
        )
        .grant("networks", "[\"127.0.0.2/32\", \"127.0.0.9/32\"]")
        .again()
        .expect(Expected::Unreachable)
        .then_expect(answered("ok"))
        .lookups(2),
        named(
            "a dead and a live address, both granted",
            &[&["127.0.0.9", "127.0.0.2"]],
        )
        .grant("networks", "[\"127.0.0.2/32\", \"127.0.0.9/32\"]")
        .lookups(1)
        .connections(1),
        named("refused first and honest later", &[&["127.0.0.1"], &["127.0.0.2"]])
            .again()
            .refused("address-blocked")
            .then_expect(answered("ok"))
            .lookups(2)
            .connections(1)
            .reveals(1),
        named(
            "honest first, dead, then mixed with a private one",
            &[&["127.0.0.9"], &["127.0.0.2", "10.0.0.1"]],
        )
        .grant("networks", "[\"127.0.0.2/32\", \"127.0.0.9/32\"]")
        .again()
        .expect(Expected::Unreachable)
        .then_expect(Expected::Refused("address-blocked"))
        .connections(0)
        .lookups(2),
        named("no address at all", &[&[]])
            .expect(Expected::Unreachable)
            .connections(0)
            .lookups(1)
            .reveals(0),
        case("a name that nobody knows")
            .base_url("http://api.test:{port}")
            .expect(Expected::Unreachable)
            .connections(0)
            .lookups(1)
            .reveals(0),
        named("a lookup that never ends", &[NEVER])
            .timeout_ms(300)
            .expect(Expected::TimedOut { sent: false })
            .connections(0)
            .lookups(1)
            .reveals(0),
        case("localhost by its name")
            .base_url("http://localhost:{port}")
            .name("localhost", &[&["127.0.0.1", "::1"]])
            .refused("address-blocked")
            .lookups(1),
        case("a name that contains the granted address")
            .base_url("http://127.0.0.2.evil.test:{port}")
            .name("127.0.0.2.evil.test", &[&["127.0.0.1"]])
            .refused("address-blocked")
            .lookups(1),
    ]
}

/// The upstream is `api.test`, and this is what its lookups say.
fn named(name: &str, answers: &[&'static [&'static str]]) -> Case {
    case(name).base_url("http://api.test:{port}").name("api.test", answers)
}
