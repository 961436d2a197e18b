use super::*;

/// 2026-11-25T12:00:00Z.
const NOW_S: u64 = 1_795_608_000;

fn heard(status: u16, headers: &[(&'static str, &str)]) -> Feedback {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect();
    read(status, &headers, Timestamp::from_millis(NOW_S * 1000))
}

/// The wait in seconds that an answer of 200 with these headers holds for.
fn held(headers: &[(&'static str, &str)]) -> Option<f64> {
    let hold = heard(200, headers).heard.hold?;
    assert_eq!(hold.1, HoldReason::Spent);
    Some(hold.0.as_secs_f64())
}

#[test]
fn what_is_left_and_its_reset_are_read_in_every_form() {
    let check = |headers: &[(&'static str, &str)], expected: Option<f64>| {
        assert_eq!(held(headers), expected, "{headers:?}");
    };
    // The list of the present draft: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
    check(&[("ratelimit", "\"default\";r=0;t=30")], Some(30.0));
    check(&[("ratelimit", "default;r=0;t=30")], Some(30.0));
    check(&[("ratelimit", "\"default\";r=1;t=30")], None);
    check(&[("ratelimit", "\"default\";r=0")], None);
    check(
        &[("ratelimit", "\"min\";r=0;t=20, \"hour\";r=0;t=600, \"day\";r=9;t=9000")],
        Some(600.0),
    );
    check(
        &[("ratelimit", "\"min\";r=0;t=20"), ("ratelimit", "\"hour\";r=0;t=600")],
        Some(600.0),
    );
    check(
        &[
            ("ratelimit-policy", "\"default\";q=100;w=60"),
            ("ratelimit", "\"default\";r=0;t=5;pk=:YQ==:"),
        ],
        Some(5.0),
    );
    // The dictionary of draft 07.
    check(&[("ratelimit", "limit=100, remaining=0, reset=50")], Some(50.0));
    check(&[("ratelimit", "limit=100, remaining=1, reset=50")], None);
    // Single headers.
    check(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "7")], Some(7.0));
    check(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "7")], Some(7.0));
    check(
        &[("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "7")],
        Some(7.0),
    );
    check(
        &[("x-ratelimit-remaining", "0.0"), ("x-ratelimit-reset", "7.5")],
        Some(7.5),
    );
    check(
        &[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1795608064.57"),
            ("x-ratelimit-reset-after", "64.5"),
        ],
        Some(64.5),
    );
    check(&[("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "7")], None);
    check(&[("x-ratelimit-remaining", "0")], None);
    check(&[("x-ratelimit-reset", "7")], None);
}

#[test]
fn a_reset_is_a_wait_or_a_time_by_its_size() {
    let check = |reset: &str, expected: Option<f64>| {
        let headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)];
        assert_eq!(held(&headers), expected, "{reset}");
    };
    check("0", Some(0.0));
    check("3600", Some(3600.0));
    check("999999999", Some(999_999_999.0));
    // From here on they are times; this one is long past.
    check("1000000000", Some(0.0));
    check(&(NOW_S + 60).to_string(), Some(60.0));
    check(&(NOW_S - 1).to_string(), Some(0.0));
    check(&format!("{}", (NOW_S + 60) * 1000), Some(60.0));
    check("999999999999", Some((999_999_999_999 - NOW_S) as f64));
}

#[test]
fn a_time_is_compared_with_the_answers_own_date() {
    // Their clock is an hour behind ours: by ours the limit would be free long ago.
    let headers = [
        ("date", "Wed, 25 Nov 2026 11:00:00 GMT"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", &(NOW_S - 3600 + 60).to_string()),
    ];
    assert_eq!(held(&headers), Some(60.0));
    let headers = [
        ("date", "Wed, 25 Nov 2026 11:00:00 GMT"),
        ("retry-after", "Wed, 25 Nov 2026 11:00:30 GMT"),
    ];
    assert_eq!(heard(429, &headers).retry_after_ms, Some(30_000));
    // A date that is none counts as absent.
    let headers = [("date", "soon"), ("retry-after", "Wed, 25 Nov 2026 12:00:30 GMT")];
    assert_eq!(heard(429, &headers).retry_after_ms, Some(30_000));
}

#[test]
fn retry_after_is_read_in_seconds_and_as_a_date() {
    let check = |text: &str, expected: Option<u64>| {
        assert_eq!(heard(429, &[("retry-after", text)]).retry_after_ms, expected, "{text}");
    };
    check("120", Some(120_000));
    check(" 1 ", Some(1_000));
    check("0", Some(0));
    check("99999999999999999999999", Some(u64::MAX));
    check("Wed, 25 Nov 2026 12:00:58 GMT", Some(58_000));
    check("Wed, 25 Nov 2026 11:59:59 GMT", Some(0));
    check("-1", None);
    check("1.5", None);
    check("soon", None);
}

#[test]
fn who_refuses_holds_for_what_he_asks_and_retry_after_goes_first() {
    let spent = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9")];
    let asks = [("retry-after", "4")];
    let both = [asks[0], spent[0], spent[1]];
    let s = |seconds: u64| Duration::from_secs(seconds);
    let (refused, spent_reason) = (HoldReason::Refused, HoldReason::Spent);
    let check = |status: u16, headers: &[(&'static str, &str)], hold, retry_after_ms| {
        let found = heard(status, headers);
        assert_eq!(
            (found.heard.hold, found.retry_after_ms),
            (hold, retry_after_ms),
            "{status} {headers:?}"
        );
    };
    check(429, &asks, Some((s(4), refused)), Some(4000));
    check(429, &both, Some((s(4), refused)), Some(4000));
    check(429, &spent, Some((s(9), refused)), Some(9000));
    check(429, &[], Some((RATE_LIMIT_WAIT, refused)), None);
    check(503, &asks, Some((s(4), refused)), Some(4000));
    check(503, &spent, Some((s(9), spent_reason)), Some(9000));
    check(503, &[], None, None);
    // How GitHub refuses, and what a refused credential looks like.
    check(403, &asks, Some((s(4), spent_reason)), Some(4000));
    check(403, &spent, Some((s(9), spent_reason)), Some(9000));
    check(
        403,
        &[("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "9")],
        None,
        None,
    );
    check(403, &[], None, None);
    // Retry-After with other answers is about that request alone.
    check(200, &asks, None, Some(4000));
    check(202, &both, Some((s(9), spent_reason)), Some(4000));
    check(500, &spent, Some((s(9), spent_reason)), None);
}

#[test]
fn what_is_left_is_told_and_garbage_is_not() {
    let check = |headers: &[(&'static str, &str)], remaining: Option<u64>, resets_in: Option<u64>| {
        let heard = heard(200, headers).heard;
        assert_eq!(heard.remaining, remaining, "{headers:?}");
        assert_eq!(heard.resets_in, resets_in.map(Duration::from_secs), "{headers:?}");
        assert_eq!(heard.hold, None, "{headers:?}");
    };
    check(
        &[("x-ratelimit-remaining", "4999"), ("x-ratelimit-reset", "60")],
        Some(4999),
        Some(60),
    );
    check(&[("ratelimit", "\"a\";r=50;t=30, \"b\";r=7;t=9")], Some(7), Some(9));
    check(&[("x-ratelimit-remaining", "5")], Some(5), None);
    for garbage in [
        "", " ", "-1", "+1", "1e3", "inf", "NaN", "0x1", "1,2", "none", "٣", "1.", ".5", "1.5.2",
    ] {
        check(
            &[("x-ratelimit-remaining", garbage), ("x-ratelimit-reset", "9")],
            None,
            None,
        );
        check(
            &[("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", garbage)],
            Some(3),
            None,
        );
    }
    for garbage in [
        "\"default\"",
        "\"default\";r=-1;t=3",
        "\"default\";r=\"0\";t=3",
        "\"default\";r=0.0;t=3",
        "\"default;r=0;t=3",
        "(\"a\");r=0;t=3",
        "limit=1",
        "remaining=(0)",
        "\u{e9}",
    ] {
        check(&[("ratelimit", garbage)], None, None);
    }
    let long = format!("\"{}\";r=0;t=3", "x".repeat(VALUE_BYTES_MAX));
    check(&[("ratelimit", &long)], None, None);
    let fits = format!("\"{}\";r=4;t=3", "x".repeat(VALUE_BYTES_MAX - 10));
    check(&[("ratelimit", &fits)], Some(4), Some(3));
}

#[test]
fn no_number_is_too_large() {
    for reset in ["99999999999999999999", "999999999999999", "99999999999999999999.9"] {
        let found = heard(429, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)]);
        assert!(found.heard.hold.is_some(), "{reset}");
    }
    let found = heard(200, &[("x-ratelimit-remaining", "99999999999999999999")]);
    assert_eq!(found.heard.remaining, Some(u64::MAX));
}
