//! Redirects: handed to the guest and not followed, wherever they lead.

use crate::hostile_egress::case::{Answer, Case, Expected, Reply, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = LOCATIONS
        .iter()
        .map(|(name, location)| {
            case(format!("to {name}"))
                .reply(redirect(302, location))
                .expect(handed_on(302, location))
                .connections(1)
                .requests(1)
        })
        .collect();
    cases.extend([301, 303, 307, 308].map(|status| {
        case(format!("{status} to the metadata service"))
            .reply(redirect(status, "http://169.254.169.254/latest/meta-data/"))
            .expect(handed_on(status, "http://169.254.169.254/latest/meta-data/"))
            .requests(1)
    }));
    cases.extend([
        case("a body that is posted again nowhere")
            .post("a body")
            .reply(redirect(307, "http://127.0.0.3:{port}/ok"))
            .expect(handed_on(307, "http://127.0.0.3:{port}/ok"))
            .requests(1),
        case("a refresh header is not obeyed")
            .reply(Reply::with_headers("refresh: 0; url=http://127.0.0.1:{port}/ok"))
            .requests(1),
        case("an alternative service is neither obeyed nor handed on")
            .reply(Reply::with_headers("alt-svc: h2=\"127.0.0.1:{port}\"; ma=3600"))
            .again()
            .expect(Expected::Answered(Answer {
                status: 200,
                body: "ok".to_owned(),
                without: vec!["alt-svc"],
                ..Answer::default()
            }))
            .requests(2),
    ]);
    cases
}

fn redirect(status: u16, location: &str) -> Reply {
    Reply::bytes(format!(
        "HTTP/1.1 {status} Elsewhere\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    ))
}

fn handed_on(status: u16, location: &str) -> Expected {
    Expected::Answered(Answer {
        status,
        headers: vec![("location", location.to_owned())],
        ..Answer::default()
    })
}

/// Where an upstream may send somebody.
const LOCATIONS: [(&str, &str); 9] = [
    ("loopback", "http://127.0.0.1:{port}/ok"),
    ("IPv6 loopback", "http://[::1]:{port}/ok"),
    (
        "another server of a network that is not listed",
        "http://127.0.0.3:{port}/ok",
    ),
    ("the metadata service", "http://169.254.169.254/latest/meta-data/"),
    ("the same origin, outside of the granted prefix", "/admin"),
    ("the same origin, inside of it", "/ok/further"),
    ("another scheme", "file:///etc/passwd"),
    ("a user of the same host", "http://user@127.0.0.2:{port}/ok"),
    ("a host without a scheme", "//127.0.0.1:{port}/ok"),
];
