//! Every way to write an address that no connector may reach, in a base URL and in a name's answer.

use crate::hostile_egress::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = HOSTS
        .iter()
        .map(|(name, host)| {
            case(format!("base URL: {name}"))
                .base_url(&format!("http://{host}:{{port}}"))
                .refused("address-blocked")
        })
        .collect();
    // One answer each, so that the case's own lookup is what is counted.
    cases.extend(ANSWERS.iter().map(|(name, answer)| {
        case(format!("a name that leads to {name}"))
            .base_url("http://api.test:{port}")
            .name("api.test", &[answer])
            .refused("address-blocked")
            .lookups(1)
    }));
    cases.extend([
        case("a listed network opens its addresses and no mapped form of others")
            .base_url("http://[::ffff:127.0.0.1]:{port}")
            .grant("networks", "[\"127.0.0.2/32\", \"::ffff:127.0.0.2/128\"]")
            .refused("address-blocked"),
        case("a listed NAT64 prefix does not open what it carries")
            .base_url("http://[64:ff9b::169.254.169.254]:{port}")
            .grant("networks", "[\"64:ff9b::/96\"]")
            .refused("address-blocked"),
        case("a listed 6to4 prefix does not open what it carries")
            .base_url("http://[2002:7f00:1::]:{port}")
            .grant("networks", "[\"2002::/16\"]")
            .refused("address-blocked"),
        case("the granted address itself").name("unused.test", &[&["127.0.0.1"]]),
    ]);
    cases
}

/// As they may stand in a URL; the parser reads them all as addresses.
const HOSTS: [(&str, &str); 30] = [
    ("loopback", "127.0.0.1"),
    ("loopback beside the granted one", "127.0.0.3"),
    ("loopback as one number", "2130706433"),
    ("loopback in hex", "0x7f000001"),
    ("loopback in octal", "0177.0.0.01"),
    ("loopback with parts in hex", "0x7f.0x0.0x0.0x1"),
    ("loopback with mixed parts", "0x7f.1"),
    ("loopback shortened", "127.1"),
    ("loopback with a trailing dot", "127.0.0.1."),
    ("loopback, percent-encoded", "%31%32%37.0.0.1"),
    ("loopback in full-width digits", "\u{ff11}\u{ff12}\u{ff17}.0.0.1"),
    ("loopback with an ideographic full stop", "127\u{3002}0.0.1"),
    ("the unspecified address", "0.0.0.0"),
    ("the unspecified address as a number", "0"),
    ("IPv6 loopback", "[::1]"),
    ("IPv6 unspecified", "[::]"),
    ("IPv4-mapped loopback", "[::ffff:127.0.0.1]"),
    ("IPv4-mapped loopback in hex", "[::ffff:7f00:1]"),
    ("IPv4-compatible loopback", "[::127.0.0.1]"),
    ("NAT64 of loopback", "[64:ff9b::7f00:1]"),
    ("6to4 of loopback", "[2002:7f00:1::1]"),
    ("Teredo", "[2001:0:7f00:1::1]"),
    ("the metadata service", "169.254.169.254"),
    ("the metadata service as a number", "2852039166"),
    ("the metadata service, IPv4-mapped", "[::ffff:169.254.169.254]"),
    ("the metadata service over IPv6", "[fd00:ec2::254]"),
    ("the platform's address in public space", "168.63.129.16"),
    ("link-local IPv6", "[fe80::1]"),
    ("site-local IPv6", "[fec0::1]"),
    ("an unallocated IPv6 address", "[1234::1]"),
];

/// What a name may lead to.
const ANSWERS: [(&str, &[&str]); 20] = [
    ("loopback", &["127.0.0.1"]),
    ("another loopback address", &["127.0.0.3"]),
    ("IPv6 loopback", &["::1"]),
    ("IPv4-mapped loopback", &["::ffff:127.0.0.1"]),
    ("the unspecified address", &["0.0.0.0"]),
    ("the metadata service", &["169.254.169.254"]),
    ("private space, ten", &["10.0.0.1"]),
    ("private space, 172", &["172.16.0.1"]),
    ("private space, 192", &["192.168.1.1"]),
    ("shared address space", &["100.64.0.1"]),
    ("multicast", &["224.0.0.1"]),
    ("broadcast", &["255.255.255.255"]),
    ("reserved space", &["240.0.0.1"]),
    ("documentation space", &["203.0.113.1"]),
    ("benchmarking space", &["198.18.0.1"]),
    ("unique local space", &["fd12:3456::1"]),
    ("the granted address and loopback", &["127.0.0.2", "127.0.0.1"]),
    ("loopback and the granted address", &["127.0.0.1", "127.0.0.2"]),
    (
        "a public address and the metadata service",
        &["1.1.1.1", "169.254.169.254"],
    ),
    (
        "seventeen addresses, the last of them forbidden",
        &[
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.1",
        ],
    ),
];
