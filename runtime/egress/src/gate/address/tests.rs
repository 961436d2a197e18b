use super::*;

fn at(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), 443)
}

fn nets(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|net| net.parse().unwrap()).collect()
}

#[test]
fn every_special_range_is_blocked_and_named() {
    for (ip, named) in [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "this network"),
        ("10.0.0.1", "private"),
        ("100.64.0.1", "shared"),
        ("100.127.255.255", "shared"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("169.254.1.1", "link-local"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("169.254.170.23", "metadata"),
        ("100.100.100.200", "metadata"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.1", "protocol"),
        ("192.0.0.170", "protocol"),
        ("192.0.0.192", "metadata"),
        ("192.0.2.1", "documentation"),
        ("192.88.99.1", "6to4"),
        ("192.168.1.1", "private"),
        ("198.18.0.1", "benchmarking"),
        ("198.19.255.255", "benchmarking"),
        ("198.51.100.1", "documentation"),
        ("203.0.113.1", "documentation"),
        ("168.63.129.16", "metadata"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::8.8.8.8", "IPv4-compatible"),
        ("::127.0.0.1", "IPv4-compatible"),
        ("::ffff:8.8.8.8", "IPv4-mapped"),
        ("::ffff:127.0.0.1", "IPv4-mapped"),
        ("::ffff:169.254.169.254", "IPv4-mapped"),
        ("::ffff:0:10.0.0.1", "IPv4-translated"),
        ("64:ff9b::8.8.8.8", "NAT64"),
        ("64:ff9b::169.254.169.254", "NAT64"),
        ("64:ff9b:1::1", "local NAT64"),
        ("100::1", "discard"),
        ("100:0:0:1::1", "dummy"),
        ("2001:0:1::1", "Teredo"),
        ("2001:2::1", "benchmarking"),
        ("2001:10::1", "ORCHID"),
        ("2001:20::1", "ORCHIDv2"),
        ("2001:100::1", "protocol"),
        ("2001:db8::1", "documentation"),
        ("2002:a00:1::1", "6to4"),
        ("3fff::1", "documentation"),
        ("5f00::1", "segment routing"),
        ("5f01::1", "unallocated"),
        ("4000::1", "unallocated"),
        ("fc00::1", "unique local"),
        ("fd00:ec2::254", "metadata"),
        ("fd00:ec2::23", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("fe80::a9fe:a9fe", "metadata"),
        ("fdff::1", "unique local"),
        ("febf::1", "link-local"),
        ("feff::1", "site-local"),
        ("64:ff9b:1:ffff::1", "local NAT64"),
        ("64:ff9c::1", "unallocated"),
        ("2001:1::1", "protocol"),
        ("2001:1ff::1", "protocol"),
        ("3fff:fff::1", "documentation"),
        ("fe80::1", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
    ] {
        let Err(Blocked::Range(name)) = check(at(ip), &[], &[]) else {
            panic!("{ip} is not blocked");
        };
        assert!(name.contains(named), "{ip}: {name}");
    }
}

#[test]
fn addresses_just_outside_the_ranges_are_public() {
    for ip in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "168.63.129.17",
        "2606:4700::1111",
        "2001:4860:4860::8888",
        "2001:200::1",
        "2003::1",
    ] {
        assert_eq!(check(at(ip), &[], &[]), Ok(()), "{ip}");
    }
}

#[test]
fn a_listed_network_opens_itself_and_nothing_inside_a_translation() {
    let check = |ip: &str, granted: &[&str], open: bool| {
        assert_eq!(
            check(at(ip), &nets(granted), &[]).is_ok(),
            open,
            "{ip} with {granted:?}"
        );
    };
    check("10.1.2.3", &["10.1.0.0/16"], true);
    check("10.2.0.1", &["10.1.0.0/16"], false);
    check("127.0.0.1", &["10.0.0.0/8"], false);
    check("::1", &["::1/128"], true);
    // A mapped form is its own network: listing the IPv4 network is not enough, nor is listing the mapped block.
    check("::ffff:10.1.2.3", &["10.0.0.0/8"], false);
    check("::ffff:10.1.2.3", &["::ffff:0:0/96"], false);
    check("::ffff:10.1.2.3", &["::ffff:0:0/96", "10.0.0.0/8"], true);
    check("64:ff9b::8.8.8.8", &["64:ff9b::/96"], true);
    check("64:ff9b::169.254.169.254", &["64:ff9b::/96"], false);
    check("2002:a9fe:a9fe::1", &["2002::/16"], false);
    check("2002:808:808::1", &["2002::/16"], true);
    // Teredo with the client address 10.0.0.1, inverted.
    check("2001::f5ff:fffe", &["2001::/32"], false);
}

#[test]
fn a_metadata_service_is_opened_by_its_own_address_and_by_nothing_wider() {
    for metadata in METADATA {
        let address = SocketAddr::new(metadata, 80);
        let whole = IpNet::from(metadata);
        let wider = IpNet::new(metadata, whole.prefix_len() - 1).unwrap();
        assert!(check(address, &[wider], &[]).is_err(), "{metadata}");
        assert!(
            check(address, &nets(&["0.0.0.0/0", "::/0"]), &[]).is_err(),
            "{metadata}"
        );
        assert_eq!(check(address, &[whole], &[]), Ok(()), "{metadata}");
    }
    // Nor in another form.
    let all = nets(&["0.0.0.0/0", "::/0"]);
    for form in [
        "::169.254.169.254",
        "::ffff:169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::169.254.169.254",
        "2002:a9fe:a9fe::",
        "2001::5601:5601",
    ] {
        assert!(check(at(form), &all, &[]).is_err(), "{form}");
    }
    assert_eq!(check(at("::ffff:169.254.1.1"), &all, &[]), Ok(()));
}

#[test]
fn an_address_behind_a_local_translator_is_judged_however_its_prefix_is_read() {
    let check = |ip: &str, listed: &str, open: bool| {
        assert_eq!(
            super::check(at(ip), &nets(&[listed]), &[]).is_ok(),
            open,
            "{ip} with {listed}"
        );
    };
    // RFC 6052 section 2.2: 10.1.2.3 and 8.8.4.4 behind prefixes of 48, 56, 64 and 96 bits.
    for (private, public) in [
        ("64:ff9b:1:a01:2:300::", "64:ff9b:1:808:4:400::"),
        ("64:ff9b:1:a:1:203::", "64:ff9b:1:8:8:404::"),
        ("64:ff9b:1:0:a:102:300:0", "64:ff9b:1:0:8:804:400:0"),
        ("64:ff9b:1::10.1.2.3", "64:ff9b:1::8.8.4.4"),
    ] {
        check(private, "64:ff9b:1::/48", false);
        check(public, "64:ff9b:1::/48", true);
        check(public, "64:ff9b::/96", false);
    }
    check("64:ff9b:1::169.254.169.254", "64:ff9b:1::/96", false);
    check("64:ff9b:1::169.254.169.254", "64:ff9b:1::a9fe:a9fe/128", false);
    // What lies in the prefix itself is no address once the prefix is listed in full length.
    check("64:ff9b:1:fffe::8.8.8.8", "64:ff9b:1:fffe::/96", true);
    check("64:ff9b:1:fffe::8.8.8.8", "64:ff9b:1::/48", false);
    check("64:ff9b:1:fffe::10.1.2.3", "64:ff9b:1:fffe::/96", false);
}

#[test]
fn our_own_listeners_stay_blocked_whatever_is_listed() {
    let check = |target: &str, listener: &str, blocked: bool| {
        let own = [listener.parse().unwrap()];
        let found = check(target.parse().unwrap(), &nets(&["0.0.0.0/0", "::/0"]), &own);
        assert_eq!(found == Err(Blocked::OwnListener), blocked, "{target} on {listener}");
    };
    check("127.0.0.1:8080", "127.0.0.1:8080", true);
    check("127.0.0.1:8081", "127.0.0.1:8080", false);
    check("[::ffff:127.0.0.1]:8080", "127.0.0.1:8080", true);
    check("[64:ff9b:1::127.0.0.1]:8080", "127.0.0.1:8080", true);
    check("[64:ff9b:1:7f00:0:100::]:8080", "127.0.0.1:8080", true);
    check("[64:ff9b:1::8.8.8.8]:8080", "127.0.0.1:8080", false);
    check("0.0.0.0:8080", "127.0.0.1:8080", true);
    check("127.9.9.9:8080", "0.0.0.0:8080", true);
    check("127.0.0.1:8080", "[::]:8080", true);
    check("[::1]:8080", "[::]:8080", true);
    check("10.9.9.9:8080", "127.0.0.1:8080", false);
}

#[test]
fn a_listener_on_every_address_is_blocked_at_each_address_of_this_machine() {
    // What we would send from is ours. Nothing is sent.
    let here = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    let mut ours = vec!["127.0.0.1".parse().unwrap()];
    ours.extend(here.map(|address| address.ip()));
    let all = nets(&["0.0.0.0/0", "::/0"]);
    for ip in ours {
        for listener in ["0.0.0.0:8080", "[::]:8080"] {
            let own = [listener.parse().unwrap()];
            let found = |port| check(SocketAddr::new(ip, port), &all, &own);
            assert_eq!(found(8080), Err(Blocked::OwnListener), "{ip} on {listener}");
            assert_eq!(found(8081), Ok(()), "{ip} on {listener}");
        }
    }
    assert_eq!(
        check(
            "8.8.8.8:8080".parse().unwrap(),
            &all,
            &["0.0.0.0:8080".parse().unwrap()]
        ),
        Ok(())
    );
}
