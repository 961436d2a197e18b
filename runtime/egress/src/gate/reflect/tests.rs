use data_encoding::{BASE64, BASE64URL, HEXLOWER, HEXUPPER};

use super::*;
use crate::heap;

const SECRET: &str = "xoxb-12?34>ab/cd+éZ\"q";

fn scanner<'a>(needles: impl IntoIterator<Item = &'a [u8]>) -> Scanner {
    Scanner::new([Arc::new(Patterns::new(needles).unwrap())]).unwrap()
}

fn redact(secret: &str, body: &str) -> String {
    let scanner = scanner([secret.as_bytes()]);
    let (clean, found) = scanner.redact(Bytes::from(body.to_owned()));
    let clean = String::from_utf8(clean.to_vec()).unwrap();
    assert_eq!(found, clean != body, "{body}");
    clean
}

#[test]
fn the_secret_is_taken_out_in_every_encoding() {
    let all_percent = |upper: bool| {
        let encode = |byte| {
            if upper {
                format!("%{byte:02X}")
            } else {
                format!("%{byte:02x}")
            }
        };
        SECRET.bytes().map(encode).collect::<String>()
    };
    let all_json: String = SECRET.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    let mixed = SECRET.replace('b', "%62").replace('/', "%2f").replace('>', "%3E");
    let form: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let standard = BASE64.encode(SECRET.as_bytes());
    for encoded in [
        SECRET.to_owned(),
        all_percent(true),
        all_percent(false),
        mixed,
        form,
        all_json,
        SECRET.replace('"', "\\\"").replace('/', "\\/").replace('é', "\\u00E9"),
        HEXLOWER.encode(SECRET.as_bytes()),
        HEXUPPER.encode(SECRET.as_bytes()),
        // Base64 inside JSON and inside a query.
        standard.replace('/', "\\/"),
        standard.replace('/', "%2F").replace('+', "%2B"),
    ] {
        let body = format!("{{\"you sent\": \"{encoded}\", \"ok\": true}}");
        assert_eq!(
            redact(SECRET, &body),
            "{\"you sent\": \"[redacted]\", \"ok\": true}".to_owned(),
            "{encoded}"
        );
    }
}

#[test]
fn base64_is_found_at_every_alignment_in_both_alphabets() {
    for lead in ["", "a", "ab", "abc", "user:"] {
        for trail in ["", "z", "zz", "\n"] {
            let whole = format!("{lead}{SECRET}{trail}");
            for encoded in [BASE64.encode(whole.as_bytes()), BASE64URL.encode(whole.as_bytes())] {
                let clean = redact(SECRET, &encoded);
                assert!(clean.contains("[redacted]"), "{lead} {trail}: {clean}");
                // No run of characters that a byte of the secret could be read from is left beside the mark.
                assert!(
                    clean.len() <= 10 + lead.len().div_ceil(3) * 4 + trail.len().div_ceil(3) * 4 + 4,
                    "{clean}"
                );
            }
        }
    }
}

#[test]
fn several_and_touching_occurrences_all_go() {
    assert_eq!(redact("secret", "a secret b secret c"), "a [redacted] b [redacted] c");
    assert_eq!(redact("secret", "secretsecret"), "[redacted]");
    assert_eq!(redact("aba", "ababa"), "[redacted]");
    assert_eq!(redact("ab", "%61b-\\u0061b-ab"), "[redacted]-[redacted]-[redacted]");
    assert_eq!(redact("😀x", "1\\ud83d\\ude00x2"), "1[redacted]2");
    // An escape that is covered in part is covered, once, whatever of it is covered.
    let halves = scanner(["x\u{1f600}".as_bytes().split_at(3).0, &"😀".as_bytes()[3..]]);
    let (clean, _) = halves.redact(Bytes::from_static(b"1x\\ud83d\\ude002"));
    assert_eq!(clean, "1[redacted]2");
}

#[test]
fn innocent_text_stays_as_it_is() {
    for body in ["", "nothing here", "100% \\ %zz \\u12 \\q", "xoxb-12", "eG94Yi0"] {
        assert_eq!(redact(SECRET, body), body);
    }
    // The encodings of a short secret would match anything; only the plain form is looked for.
    assert_eq!(redact("ab", "61 62 6162 YWI="), "61 62 6162 YWI=");
}

#[test]
fn a_secret_in_a_header_name_is_seen_although_it_is_in_lower_case() {
    let scanner = scanner([&b"SeCrEt"[..]]);
    assert!(scanner.is_in_lower_case(b"x-secret-1"));
    assert!(!scanner.is_in_lower_case(b"x-request-id"));
}

/// Every way of sending the secret back, each inside something else.
fn reflections() -> Vec<String> {
    let whole = format!("user:{SECRET}");
    let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let json: String = SECRET.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    let forms = [
        SECRET.to_owned(),
        percent,
        json,
        SECRET.replace('"', "\\\"").replace('/', "\\/"),
        SECRET.replace('b', "%62"),
        HEXLOWER.encode(SECRET.as_bytes()),
        HEXUPPER.encode(SECRET.as_bytes()),
        BASE64.encode(SECRET.as_bytes()),
        BASE64URL.encode(whole.as_bytes()),
        BASE64.encode(whole.as_bytes()).replace('/', "\\/").replace('+', "%2B"),
    ];
    forms
        .iter()
        .flat_map(|form| [form.clone(), format!("{{\"a\":\"\\n%41\\\\{form}\\t%\"}}")])
        .collect()
}

#[test]
fn a_body_looks_the_same_however_it_is_cut() {
    let scanner = scanner([SECRET.as_bytes()]);
    for body in reflections() {
        let body = body.as_bytes();
        assert!(scanner.suspects(body), "{body:?}");
        for at in 0..=body.len() {
            let mut watch = Watch::new(&scanner);
            watch.look(&body[..at], false);
            assert!(watch.finish(body), "cut at {at}: {body:?}");
        }
        let mut watch = Watch::new(&scanner);
        for at in 0..=body.len() {
            watch.look(&body[..at], false);
        }
        assert!(watch.finish(body), "byte by byte: {body:?}");
    }
}

#[test]
fn a_body_that_comes_byte_by_byte_is_looked_at_all_the_same() {
    let scanner = scanner([SECRET.as_bytes()]);
    let mut body = vec![b'x'; 10_000];
    body.extend_from_slice(SECRET.as_bytes());
    body.extend_from_slice(&[b'y'; 10_000]);
    let mut watch = Watch::new(&scanner);
    for end in 0..=body.len() {
        watch.grown(&body[..end]);
    }
    assert!(watch.finish(&body));
}

#[test]
fn a_secret_is_seen_wherever_the_pieces_that_are_undone_meet() {
    const PIECE: usize = 16 * 1024;
    let scanner = scanner([SECRET.as_bytes()]);
    for form in reflections().iter().step_by(3) {
        for lead in PIECE - form.len() - 2..=PIECE + 2 {
            for filler in ["x", "\\n", "%20"] {
                let mut body = filler.repeat(lead / filler.len());
                body.push_str(form);
                assert!(scanner.suspects(body.as_bytes()), "{filler} {lead} {form}");
            }
        }
    }
}

#[test]
fn what_looks_suspicious_and_is_not_stays_as_it_is() {
    // As long as a probe and the same as far, then something else.
    let secret = "0123456789abcdef0123456789abcdef-and-the-rest";
    let scanner = scanner([secret.as_bytes()]);
    let body = Bytes::from_static(b"x 0123456789abcdef0123456789abcdef-and-no-rest x");
    assert!(scanner.suspects(&body));
    assert_eq!(scanner.redact(body.clone()), (body, false));
    assert_eq!(redact(secret, &format!("x {secret} x")), "x [redacted] x");
}

#[test]
fn many_secrets_are_found_as_one_is() {
    let secrets: Vec<String> = (0..40)
        .map(|nth| BASE64.encode(format!("line {nth} of a private key, of some length").as_bytes()))
        .collect();
    let lines = scanner(secrets.iter().map(String::as_bytes));
    for secret in &secrets {
        let (clean, found) = lines.redact(Bytes::from(format!("a {secret} b")));
        assert!(found);
        assert_eq!(clean, "a [redacted] b");
    }
    let both = Scanner::new([
        Arc::new(Patterns::new([&b"first-secret"[..]]).unwrap()),
        Arc::new(Patterns::new([&b"second-secret"[..]]).unwrap()),
    ])
    .unwrap();
    let (clean, _) = both.redact(Bytes::from_static(b"second-secret first-secret\\u002dsecond-secret"));
    assert_eq!(clean, "[redacted] [redacted]\\u002d[redacted]");
}

#[test]
fn what_is_looked_for_is_bounded() {
    let secret = vec![b'x'; 16 * 1024];
    assert!(Patterns::new(std::iter::repeat_n(secret.as_slice(), 8)).is_ok());
    assert!(Patterns::new(std::iter::repeat_n(secret.as_slice(), 64)).is_err());
}

#[test]
fn an_innocent_body_is_not_copied_and_a_suspicious_one_once_and_once_to_clean_it() {
    const BODY_BYTES: usize = 1024 * 1024;
    // Room for what does not grow with the body.
    const SLACK: usize = 96 * 1024;
    let scanner = scanner([SECRET.as_bytes()]);
    let taken = |piece: &str, end: &str| {
        let body = Bytes::from(piece.repeat(BODY_BYTES / piece.len()) + end);
        let (peak, (_, found)) = heap::peak(|| scanner.redact(body.clone()));
        assert_eq!(found, end == SECRET);
        peak
    };
    for piece in ["nothing to undo ", "%41", "\\n", "%41\\u0041", "% \\ no escapes"] {
        for (end, copies) in [("", 0), (SECRET, 2)] {
            let peak = taken(piece, end);
            assert!(peak <= copies * BODY_BYTES + SLACK, "{piece}{end}: {peak}");
        }
    }
}
