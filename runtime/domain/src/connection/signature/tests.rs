use super::*;

fn header(name: &str) -> HeaderName {
    name.parse().unwrap()
}

fn signed_by(template: &str) -> Signature {
    Signature {
        template: template.parse().unwrap(),
        ..Signature::of_body(header("X-Signature"))
    }
}

const MESSAGE: Message<'static> = Message {
    timestamp: "1700000000",
    id: "msg-1",
    method: "POST",
    url: "https://host/hooks/a?b=c",
    path: "/hooks/a",
    query: "b=c",
    body: b"\xff{body}",
};

#[test]
fn a_template_names_what_is_signed_byte_by_byte() {
    let check = |template: &str, expected: &[u8]| {
        let template: Template = template.parse().unwrap();
        assert_eq!(
            template.render(MESSAGE).collect::<Vec<_>>().concat(),
            expected,
            "{template}"
        );
    };
    check("{body}", b"\xff{body}");
    check("v0:{timestamp}:{body}", b"v0:1700000000:\xff{body}");
    check("{id}.{timestamp}.{body}", b"msg-1.1700000000.\xff{body}");
    check("{method}{url}{body}", b"POSThttps://host/hooks/a?b=c\xff{body}");
    check("{path}?{query}\n{body}\n", b"/hooks/a?b=c\n\xff{body}\n");
    check("{{{body}}}", b"{\xff{body}}");
    check("{timestamp}{timestamp}{body}", b"17000000001700000000\xff{body}");
}

#[test]
fn a_template_that_signs_no_body_or_has_a_typing_error_is_refused_with_what_to_write() {
    let check = |template: &str, expected: &str| {
        let problem = template.parse::<Template>().unwrap_err().to_string();
        assert!(problem.contains(expected), "{template}: {problem}");
    };
    check("", "no {body}");
    check("{timestamp}", "no {body}");
    check("{{body}}", "no {body}");
    check("{body}{body}", "twice");
    check(
        "{Body}",
        "{Body} is unknown; use {timestamp}, {id}, {method}, {url}, {path}, {query}, {body}",
    );
    check("{}{body}", "{} is unknown");
    check("{body", "brace stands alone");
    check("body}", "brace stands alone");
    check("{body}\r", "visible ASCII");
    check("{body}é", "visible ASCII");
    check(&format!("{{body}}{}", "x".repeat(507)), "longer than 512 bytes");
    check(&format!("{{body}}{}", "{id}".repeat(32)), "32 parts");
    assert!(format!("{{body}}{}", "x".repeat(506)).parse::<Template>().is_ok());
    assert!(format!("{{body}}{}", "{id}".repeat(31)).parse::<Template>().is_ok());
}

#[test]
fn a_signature_is_read_from_what_an_admin_writes_and_unknown_fields_are_refused() {
    let text = r#"{"header": "X-Sig", "template": "{timestamp}.{body}", "timestamp_header": "X-Time",
        "algorithm": "sha512", "encoding": "base64url", "timestamp_unit": "milliseconds", "secret_encoding": "hex"}"#;
    let signature: Signature = serde_json::from_str(text).unwrap();
    assert_eq!(signature.header.as_str(), "x-sig");
    assert_eq!(signature.algorithm, HmacAlgorithm::Sha512);
    assert_eq!(signature.problems(), Vec::<String>::new());
    let again = serde_json::to_string(&signature).unwrap();
    assert_eq!(serde_json::from_str::<Signature>(&again).unwrap(), signature);
    for bad in [
        r#"{}"#,
        r#"{"header": "X Sig"}"#,
        r#"{"header": ""}"#,
        r#"{"header": "Content-Length"}"#,
        r#"{"header": "X-Sig", "tolerance": 300}"#,
        r#"{"header": "X-Sig", "algorithm": "md5"}"#,
        r#"{"header": "X-Sig", "template": "{timestamp}"}"#,
    ] {
        assert!(serde_json::from_str::<Signature>(bad).is_err(), "{bad}");
    }
}

#[test]
fn every_field_that_does_not_go_with_another_is_named() {
    let check = |signature: Signature, expected: &[&str]| {
        let problems = signature.problems();
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.contains(expected), "{problem} lacks {expected}");
        }
    };
    let timed = || signed_by("{timestamp}.{body}");
    check(signed_by("{body}"), &[]);
    check(timed(), &["timestamp_header must name"]);
    check(signed_by("{id}.{body}"), &["id_header must name"]);
    check(
        Signature {
            timestamp_header: Some(header("x-time")),
            ..timed()
        },
        &[],
    );
    check(
        Signature {
            timestamp_header: Some(header("x-time")),
            ..signed_by("{body}")
        },
        &["unsigned timestamp"],
    );
    check(
        Signature {
            timestamp_header: Some(header("x-signature")),
            ..timed()
        },
        &["header of the signature itself"],
    );
    check(
        Signature {
            timestamp_header: Some(header("x-time")),
            id_header: Some(header("X-Time")),
            ..timed()
        },
        &["name two"],
    );
    // An id that is not signed still tells one message from another.
    check(
        Signature {
            id_header: Some(header("x-id")),
            ..signed_by("{body}")
        },
        &[],
    );
    for (prefix, good) in [("HMAC ", true), ("", true), ("sha256=", false), ("a b ", false)] {
        let signature = Signature {
            prefix: prefix.to_owned(),
            ..Signature::of_body(header("Authorization"))
        };
        assert_eq!(signature.problems().is_empty(), good, "{prefix:?}");
    }
    check(Signature::of_body(header("Cookie")), &["holds no signature"]);
    for (prefix, good) in [
        ("x".repeat(64), true),
        ("x".repeat(65), false),
        ("\n".to_owned(), false),
        ("é".to_owned(), false),
    ] {
        let signature = Signature {
            prefix,
            ..signed_by("{body}")
        };
        assert_eq!(signature.problems().is_empty(), good, "{:?}", signature.prefix);
    }
}

#[test]
fn a_time_has_one_text_in_each_unit() {
    use TimestampUnit::{Milliseconds, Rfc3339, Seconds};
    let time = Timestamp::from_millis(1_700_000_000_000);
    for unit in [Seconds, Milliseconds, Rfc3339] {
        assert_eq!(unit.parse(&unit.render(time)), Some(time), "{unit:?}");
    }
    assert_eq!(Seconds.parse("0"), Some(Timestamp::ZERO));
    for text in [
        "",
        " 1",
        "1 ",
        "+1",
        "-1",
        "01",
        "1.0",
        "1e3",
        "soon",
        "٣",
        "18446744073709551616",
    ] {
        assert_eq!(Seconds.parse(text), None, "{text:?}");
        assert_eq!(Milliseconds.parse(text), None, "{text:?}");
    }
    // More milliseconds than there are.
    assert_eq!(Seconds.parse("18446744073709552"), None);
    assert_eq!(Seconds.parse(&"1".repeat(100_000)), None);
    assert_eq!(Rfc3339.parse("1700000000"), None);
}

#[test]
fn a_signature_is_read_in_its_own_encoding_only() {
    use SignatureEncoding::{Base64, Base64url, Hex};
    let signature = [0xfb, 0xff, 0x00, 0x10];
    let check = |encoding: SignatureEncoding, text: &str, good: bool| {
        assert_eq!(
            encoding.decode(text.as_bytes()) == Some(signature.to_vec()),
            good,
            "{encoding:?} {text:?}"
        );
    };
    for encoding in [Hex, Base64, Base64url] {
        check(encoding, &encoding.encode(&signature), true);
        check(encoding, "", false);
        check(encoding, &format!(" {}", encoding.encode(&signature)), false);
        check(encoding, &format!("{}\n", encoding.encode(&signature)), false);
    }
    check(Hex, "FBFF0010", true);
    check(Hex, "fbff001", false);
    check(Base64, "+/8AEA==", true);
    check(Base64, "+/8AEA", false);
    check(Base64, "-_8AEA==", false);
    // Bits behind the last byte: another text of the same bytes is no signature.
    check(Base64, "+/8AEB==", false);
    check(Base64url, "-_8AEA", true);
    check(Base64url, "-_8AEA==", true);
    check(Base64url, "+/8AEA", false);
}

#[test]
fn a_secret_becomes_a_key_as_the_admin_says() {
    let check = |encoding: SecretEncoding, text: &str, expected: Option<&[u8]>| {
        assert_eq!(encoding.key(text.as_bytes()).as_deref(), expected, "{encoding:?}");
    };
    check(SecretEncoding::Raw, " a ", Some(b" a "));
    check(SecretEncoding::Base64, "YWI=\n", Some(b"ab"));
    check(SecretEncoding::Base64, "YWI", None);
    check(SecretEncoding::Hex, "6162", Some(b"ab"));
    check(SecretEncoding::Hex, "xyz", None);
    for encoding in [SecretEncoding::Raw, SecretEncoding::Base64, SecretEncoding::Hex] {
        check(encoding, "", None);
    }
    check(SecretEncoding::Hex, " \n", None);
}

#[test]
fn times_are_near_in_both_directions_up_to_the_tolerance() {
    let at = |ms| Timestamp::from_millis(ms);
    let tolerance = Duration::from_secs(300);
    for (one, good) in [(700_000, true), (699_999, false), (1_300_000, true), (1_300_001, false)] {
        assert_eq!(within(tolerance, at(one), at(1_000_000)), good, "{one}");
        assert_eq!(within(tolerance, at(1_000_000), at(one)), good, "{one}");
    }
}
