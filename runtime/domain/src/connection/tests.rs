use super::*;

#[test]
fn a_base_url_names_a_place_and_nothing_else() {
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(
            text.parse::<BaseUrl>().ok().as_ref().map(BaseUrl::as_str),
            expected,
            "{text}"
        );
    };
    check("https://slack.com/api/", Some("https://slack.com/api"));
    check("HTTP://LOCALHOST:80", Some("http://localhost"));
    check("https://user@host", None);
    check("https://host?x", None);
    check("https://host#x", None);
    check("ftp://host", None);
    check("host/path", None);
    check("", None);
}

#[test]
fn a_policy_out_of_bounds_names_every_value() {
    assert_eq!(Policy::default().problems(), Vec::<String>::new());
    let bad = Policy {
        concurrency: 0,
        deadline_ms: 99,
        ..Policy::default()
    };
    assert_eq!(bad.problems().len(), 2);
    assert!(
        Policy {
            deadline_ms: 100,
            ..Policy::default()
        }
        .problems()
        .is_empty()
    );
}
