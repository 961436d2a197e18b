use data_encoding::{BASE64, BASE64URL};

use super::*;
use crate::heap;

const SECRET: &str = "xoxb-12?34>ab/cd+éZ\"q";

fn redact(secret: &str, body: &str) -> String {
    let scanner = Scanner::new([secret.as_bytes()]).unwrap();
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
    let halves = Scanner::new(["x\u{1f600}".as_bytes().split_at(3).0, &"😀".as_bytes()[3..]]).unwrap();
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
    let scanner = Scanner::new([&b"SeCrEt"[..]]).unwrap();
    assert!(scanner.is_in_name("x-secret-1"));
    assert!(!scanner.is_in_name("x-request-id"));
}

#[test]
fn a_scan_takes_one_more_copy_of_the_body_and_one_to_clean_it() {
    const BODY_BYTES: usize = 1024 * 1024;
    // Room for what does not grow with the body.
    const SLACK: usize = 64 * 1024;
    let scanner = Scanner::new([SECRET.as_bytes()]).unwrap();
    let taken = |piece: &str, end: &str| {
        let body = Bytes::from(piece.repeat(BODY_BYTES / piece.len()) + end);
        let (peak, (_, found)) = heap::peak(|| scanner.redact(body.clone()));
        assert_eq!(found, end == SECRET);
        peak
    };
    assert!(taken("nothing to undo ", "") < SLACK);
    for piece in ["%41", "\\n", "%41\\u0041", "% \\ no escapes"] {
        for (end, copies) in [("", 1), (SECRET, 2)] {
            let peak = taken(piece, end);
            assert!(peak <= copies * BODY_BYTES + SLACK, "{piece}{end}: {peak}");
        }
    }
}
