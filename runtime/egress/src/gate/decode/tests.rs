use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::heap;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn headers(codings: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for coding in codings {
        headers.append(CONTENT_ENCODING, coding.parse().unwrap());
    }
    headers
}

fn decode(codings: &[&str], bytes: &[u8], piece: usize, bytes_max: u64) -> Result<Bytes, HttpError> {
    let mut incoming = Incoming::new(&headers(codings), None, bytes_max)?;
    for piece in bytes.chunks(piece.max(1)) {
        incoming.push(Bytes::copy_from_slice(piece))?;
    }
    incoming.finish()
}

/// Text that packs as text does.
fn text(bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 32);
    let mut state = 7_u64;
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.extend_from_slice(format!("{{\"id\":{}}},", state >> 40).as_bytes());
    }
    text.truncate(bytes);
    text
}

#[test]
fn a_body_comes_out_as_it_was_however_it_is_cut() {
    let body = text(10_000);
    let packed = gzip(&body);
    let twice = [gzip(&body[..4_000]), gzip(&body[4_000..])].concat();
    for piece in [1, 7, 1000, 100_000] {
        for (codings, bytes) in [
            (&[][..], &body),
            (&["identity"], &body),
            (&["gzip"], &packed),
            (&["x-gzip"], &packed),
            (&["GZIP"], &packed),
            (&["identity, gzip"], &packed),
            // Two members are one body (RFC 1952 section 2.2).
            (&["gzip"], &twice),
        ] {
            assert_eq!(
                decode(codings, bytes, piece, 10_000).unwrap(),
                body,
                "{codings:?} {piece}"
            );
            assert_eq!(
                decode(codings, bytes, piece, 9_999),
                Err(HttpError::ResponseTooLarge(9_999)),
                "{codings:?} {piece}"
            );
        }
    }
}

#[test]
fn one_piece_is_handed_on_without_a_copy() {
    let piece = Bytes::from(text(1000));
    let mut incoming = Incoming::new(&HeaderMap::new(), Some(1000), 1000).unwrap();
    incoming.push(piece.clone()).unwrap();
    assert_eq!(incoming.so_far(), piece);
    assert_eq!(incoming.finish().unwrap().as_ptr(), piece.as_ptr());
}

#[test]
fn what_cannot_be_decoded_says_why() {
    let packed = gzip(&text(1000));
    let check = |codings: &[&str], bytes: &[u8], said: &str| {
        for piece in [1, 100_000] {
            match decode(codings, bytes, piece, 100_000) {
                Err(HttpError::ProtocolError(message)) => assert!(message.contains(said), "{message}"),
                other => panic!("{codings:?} {said}: {other:?}"),
            }
        }
    };
    check(&["br"], b"x", "not asked for");
    check(&["deflate"], b"x", "not asked for");
    check(&["gzip, gzip"], &packed, "not asked for");
    check(&["gzip", "gzip"], &packed, "not asked for");
    check(&["gzip;q=1"], &packed, "not asked for");
    check(&["gzip"], b"no gzip at all", "damaged");
    check(
        &["gzip"],
        &[&packed[..], b"trailing garbage"].concat(),
        "damaged, or followed",
    );
    check(&["gzip"], &[&packed[..], &[0; 64]].concat(), "damaged, or followed");
    for cut in [1, 5, 12, packed.len() / 2, packed.len() - 8, packed.len() - 1] {
        check(&["gzip"], &packed[..cut], "ends too early");
    }
    let mut wrong = packed.clone();
    let at = wrong.len() - 6;
    wrong[at] ^= 1;
    check(&["gzip"], &wrong, "checksum");
}

#[test]
fn without_a_body_the_coding_does_not_matter() {
    for coding in ["gzip", "br", "gzip, br"] {
        assert_eq!(decode(&[coding], b"", 1, 10).unwrap(), "");
    }
}

#[test]
fn an_announced_length_over_the_cap_is_not_even_begun() {
    for (announced, good) in [(10, true), (11, false), (u64::MAX, false)] {
        assert_eq!(Incoming::new(&HeaderMap::new(), Some(announced), 10).is_ok(), good);
    }
    // A large one that is allowed makes no more room than it may.
    let (peak, _) = heap::peak(|| Incoming::new(&HeaderMap::new(), Some(16 << 20), 16 << 20).unwrap());
    assert!(peak <= 1024 * 1024 + 1024, "{peak}");
}

#[test]
fn a_bomb_is_cut_off_at_the_cap() {
    const CAP: usize = 128 * 1024;
    let bomb = gzip(&vec![0; 16 * 1024 * 1024]);
    assert!(bomb.len() < 20_000);
    let (peak, ended) = heap::peak(|| decode(&["gzip"], &bomb, 4096, CAP as u64));
    assert_eq!(ended, Err(HttpError::ResponseTooLarge(CAP as u64)));
    // The decoder's own window and buffer are 32 KiB each, and some tables.
    assert!(peak <= CAP + CAP / 2 + 160 * 1024, "{peak}");
}

#[test]
fn a_bomb_under_a_large_cap_is_told_by_its_ratio() {
    let bomb = gzip(&vec![0; 16 * 1024 * 1024]);
    for piece in [1, 500, 100_000] {
        match decode(&["gzip"], &bomb, piece, 64 * 1024 * 1024) {
            Err(HttpError::ProtocolError(message)) => assert!(message.contains("256 times"), "{message}"),
            other => panic!("{other:?}"),
        }
    }
    // A small answer of one repeated byte is no attack, and neither is text of any size.
    let small = vec![b' '; usize::try_from(RATIO_FREE_BYTES).unwrap()];
    assert_eq!(decode(&["gzip"], &gzip(&small), 10, 1 << 20).unwrap(), small);
    let long = text(4 * 1024 * 1024);
    assert_eq!(decode(&["gzip"], &gzip(&long), 4096, 16 << 20).unwrap(), long);
}
