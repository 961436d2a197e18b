//! Which addresses a guest may reach: none that is not plainly a public one, unless an admin listed its network.
//!
//! The table follows the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890) and adds multicast (RFC 5771,
//! RFC 4291) and what lies outside the global unicast block. An address that carries an IPv4 address inside is judged by
//! both: listing the NAT64 prefix does not open the metadata service. What hands out a machine's own credentials, a cloud's
//! metadata service, is opened by nothing wider than its own address: an admin who lists `10.0.0.0/8` or `fd00::/8` means
//! the machines in it.
//!
//! Our own listeners stay blocked whatever is listed. A listener reached through a translating router in front of this
//! machine cannot be told from a stranger; keep the admin listener off public interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(high: [u16; 4], low: [u16; 4], prefix: u8) -> Ipv6Net {
    let [a, b, c, d] = high;
    let [e, f, g, h] = low;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// Narrower ranges stand before wider ones, so that the name is the telling one.
const BLOCKED_V4: [(Ipv4Net, &str); 17] = [
    (v4(0, 0, 0, 0, 32), "unspecified"),
    (v4(0, 0, 0, 0, 8), "this network (RFC 791)"),
    (v4(10, 0, 0, 0, 8), "private use (RFC 1918)"),
    (v4(100, 64, 0, 0, 10), "shared address space (RFC 6598)"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(169, 254, 0, 0, 16), "link-local (RFC 3927)"),
    (v4(172, 16, 0, 0, 12), "private use (RFC 1918)"),
    (v4(192, 0, 0, 0, 24), "protocol assignments (RFC 6890)"),
    (v4(192, 0, 2, 0, 24), "documentation (RFC 5737)"),
    (v4(192, 88, 99, 0, 24), "6to4 relay (RFC 7526)"),
    (v4(192, 168, 0, 0, 16), "private use (RFC 1918)"),
    (v4(198, 18, 0, 0, 15), "benchmarking (RFC 2544)"),
    (v4(198, 51, 100, 0, 24), "documentation (RFC 5737)"),
    (v4(203, 0, 113, 0, 24), "documentation (RFC 5737)"),
    (v4(224, 0, 0, 0, 4), "multicast (RFC 5771)"),
    (v4(255, 255, 255, 255, 32), "broadcast (RFC 919)"),
    (v4(240, 0, 0, 0, 4), "reserved (RFC 1112)"),
];

/// Metadata and credential services of clouds, several of them in space that an admin may have good reason to list.
const METADATA: [IpAddr; 10] = [
    // AWS, Azure, Google Cloud, OpenStack and most others.
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    // https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    // https://docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-setup.html
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    // https://cloud.google.com/compute/docs/metadata/querying-metadata
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    // https://specs.openstack.org/openstack/neutron-specs/specs/ussuri/metadata-add-ipv6-support.html
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    // https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Alibaba Cloud, in shared address space, and Oracle Cloud's first generation, in protocol assignments.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0], [0; 4], 96);
const LOCAL_NAT64: Ipv6Net = v6([0x64, 0xff9b, 1, 0], [0; 4], 48);
const COMPATIBLE: Ipv6Net = v6([0; 4], [0; 4], 96);
const MAPPED: Ipv6Net = v6([0; 4], [0, 0xffff, 0, 0], 96);
const TRANSLATED: Ipv6Net = v6([0; 4], [0xffff, 0, 0, 0], 96);
const TEREDO: Ipv6Net = v6([0x2001, 0, 0, 0], [0; 4], 32);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0], [0; 4], 16);
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0], [0; 4], 3);

/// As [`BLOCKED_V4`]. What is outside `2000::/3` and not named here is blocked as unallocated.
const BLOCKED_V6: [(Ipv6Net, &str); 22] = [
    (v6([0; 4], [0; 4], 128), "unspecified"),
    (v6([0; 4], [0, 0, 0, 1], 128), "loopback"),
    (COMPATIBLE, "IPv4-compatible (RFC 4291)"),
    (MAPPED, "IPv4-mapped (RFC 4291)"),
    (TRANSLATED, "IPv4-translated (RFC 2765)"),
    (NAT64, "NAT64 (RFC 6052)"),
    (LOCAL_NAT64, "local NAT64 (RFC 8215)"),
    (v6([0x100, 0, 0, 0], [0; 4], 64), "discard-only (RFC 6666)"),
    (v6([0x100, 0, 0, 1], [0; 4], 64), "dummy prefix (RFC 9780)"),
    (TEREDO, "Teredo (RFC 4380)"),
    (v6([0x2001, 2, 0, 0], [0; 4], 48), "benchmarking (RFC 5180)"),
    (v6([0x2001, 0x10, 0, 0], [0; 4], 28), "ORCHID (RFC 4843)"),
    (v6([0x2001, 0x20, 0, 0], [0; 4], 28), "ORCHIDv2 (RFC 7343)"),
    (v6([0x2001, 0, 0, 0], [0; 4], 23), "protocol assignments (RFC 2928)"),
    (v6([0x2001, 0xdb8, 0, 0], [0; 4], 32), "documentation (RFC 3849)"),
    (SIX_TO_FOUR, "6to4 (RFC 3056)"),
    (v6([0x3fff, 0, 0, 0], [0; 4], 20), "documentation (RFC 9637)"),
    (v6([0x5f00, 0, 0, 0], [0; 4], 16), "segment routing (RFC 9602)"),
    (v6([0xfc00, 0, 0, 0], [0; 4], 7), "unique local (RFC 4193)"),
    (v6([0xfe80, 0, 0, 0], [0; 4], 10), "link-local (RFC 4291)"),
    (v6([0xfec0, 0, 0, 0], [0; 4], 10), "site-local (RFC 3879)"),
    (v6([0xff00, 0, 0, 0], [0; 4], 8), "multicast (RFC 4291)"),
];

/// Why an address may not be dialled. Names the range, never the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// It is in this range.
    Range(&'static str),
    /// One of this host's own listeners.
    OwnListener,
}

/// Checks one address against the table, what the admin listed, and our own listeners.
pub(crate) fn check(address: SocketAddr, granted: &[IpNet], own: &[SocketAddr]) -> Result<(), Blocked> {
    if is_own(address, own) {
        return Err(Blocked::OwnListener);
    }
    match blocked_range(address.ip(), granted) {
        Some(range) => Err(Blocked::Range(range)),
        None => Ok(()),
    }
}

fn blocked_range(ip: IpAddr, granted: &[IpNet]) -> Option<&'static str> {
    let range = match ip {
        IpAddr::V4(ip) => BLOCKED_V4
            .iter()
            .find(|(net, _)| net.contains(&ip))
            .map(|(_, name)| *name),
        IpAddr::V6(ip) => BLOCKED_V6
            .iter()
            .find(|(net, _)| net.contains(&ip))
            .map(|(_, name)| *name)
            .or_else(|| (!GLOBAL_UNICAST.contains(&ip)).then_some("unallocated (RFC 4291)")),
    };
    let listed = granted
        .iter()
        .filter(|net| net.contains(&ip))
        .map(IpNet::prefix_len)
        .max();
    let is_whole = |prefix: u8| prefix == if ip.is_ipv4() { 32 } else { 128 };
    if METADATA.contains(&ip) && !listed.is_some_and(is_whole) {
        return Some("a cloud's metadata service, which only its own address in the list opens");
    }
    if range.is_some() && listed.is_none() {
        return range;
    }
    match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => embedded(ip, listed.unwrap_or(0))
            .into_iter()
            .find_map(|inner| blocked_range(IpAddr::V4(inner), granted)),
    }
}

/// The IPv4 addresses that a translator or tunnel could make of `ip`, which is in a network of `listed` bits. There are
/// several where nothing but the network's length tells how the translator reads it.
fn embedded(ip: Ipv6Addr, listed: u8) -> Vec<Ipv4Addr> {
    let bits = ip.to_bits();
    // `::` and `::1` are addresses of their own, not IPv4-compatible ones.
    let compatible = COMPATIBLE.contains(&ip) && bits > 1;
    if compatible || [MAPPED, TRANSLATED, NAT64].iter().any(|net| net.contains(&ip)) {
        vec![low_32(bits, 0)]
    } else if LOCAL_NAT64.contains(&ip) {
        locally_translated(bits, listed)
    } else if SIX_TO_FOUR.contains(&ip) {
        vec![low_32(bits, 80)]
    } else if TEREDO.contains(&ip) {
        // The client's address is stored inverted (RFC 4380 section 4).
        vec![Ipv4Addr::from_bits(!low_32(bits, 0).to_bits())]
    } else {
        Vec::new()
    }
}

/// Every layout of RFC 6052 section 2.2 for a translator's prefix inside [`LOCAL_NAT64`] that is no shorter than the listed
/// network. A layout that reads as `0.0.0.0/8` is not the translator's: it read the padding of another one, and no router
/// forwards to there.
fn locally_translated(bits: u128, listed: u8) -> Vec<Ipv4Addr> {
    // Bits 64 to 71 are no part of an address that lies around them.
    let joined = bits >> 64 << 56 | bits & (u128::MAX >> 72);
    [
        (48, low_32(joined, 40)),
        (56, low_32(joined, 32)),
        (64, low_32(joined, 24)),
        (96, low_32(bits, 0)),
    ]
    .into_iter()
    .filter(|(prefix, inner)| *prefix >= listed.min(96) && inner.octets()[0] != 0)
    .map(|(_, inner)| inner)
    .collect()
}

fn low_32(bits: u128, shift: u32) -> Ipv4Addr {
    let [.., a, b, c, d] = (bits >> shift).to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

fn is_own(address: SocketAddr, own: &[SocketAddr]) -> bool {
    let plain = |ip: IpAddr| match ip {
        IpAddr::V4(_) => vec![ip],
        IpAddr::V6(outer) => match embedded(outer, 0) {
            inner if inner.is_empty() => vec![ip],
            inner => inner.into_iter().map(IpAddr::V4).collect(),
        },
    };
    let targets = plain(address.ip());
    own.iter()
        .filter(|listener| listener.port() == address.port())
        .flat_map(|listener| plain(listener.ip()))
        .any(|listener| {
            targets.iter().any(|ip| {
                // Dialling the unspecified address reaches this machine.
                listener == *ip || ip.is_unspecified() || (listener.is_unspecified() && is_this_machine(*ip))
            })
        })
}

/// Asks the routing table, without sending anything: what would be sent to ourselves would be sent from there too.
fn is_this_machine(ip: IpAddr) -> bool {
    if ip.is_loopback() {
        return true;
    }
    let any: IpAddr = if ip.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    // Without an answer, not dialling is the safe side.
    source.map_or(true, |source| source.ip() == ip)
}

#[cfg(test)]
mod tests;
