use cofferdam_domain::limits::BODY_BYTES_MAX;

use super::*;

#[test]
fn the_documented_defaults_are_the_defaults() {
    let config = Config::default();
    assert_eq!(config.listen.public, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.limits.body_bytes, BODY_BYTES_MAX);
    assert_eq!(config.drain, Duration::from_secs(30));
    assert_eq!(config.vault.key_file, None);
    assert!(config.store.seal_bodies);
}

#[test]
fn sealing_is_turned_off_by_a_word_and_by_nothing_else() {
    let off = Config::parse("[store]\nseal_bodies = false\n").unwrap();
    assert!(!off.store.seal_bodies);
    for wrong in ["\"no\"", "0", "[]"] {
        let mistakes = Config::parse(&format!("[store]\nseal_bodies = {wrong}\n")).unwrap_err();
        assert_eq!(mistakes[0].line, 2, "{mistakes:#?}");
        assert!(mistakes[0].text.contains("seal_bodies"), "{mistakes:#?}");
    }
}

#[test]
fn every_mistake_is_reported_at_once_with_its_line() {
    let text = "[listen]\npublic = \"nowhere\"\nadmn = 1\n\n[limits]\nbody_bytes = 1\npending = \"many\"\n\n[extra]\n\n[log]\nformat = \"xml\"\nlevel = \"a=b=c\"\n";
    let mistakes = Config::parse(text).unwrap_err();
    let lines: Vec<_> = mistakes.iter().map(|mistake| mistake.line).collect();
    assert_eq!(lines, [2, 3, 6, 7, 9, 11, 12], "{mistakes:#?}");
    assert!(
        mistakes[1].text.contains("admn") && mistakes[1].text.contains("admin"),
        "{mistakes:#?}"
    );
}

#[test]
fn syntax_errors_are_reported_together() {
    let mistakes = Config::parse("[listen\npublic = \n\n[log]\nlevel = info\n").unwrap_err();
    assert!(mistakes.len() >= 2, "{mistakes:#?}");
}

#[test]
fn what_the_file_does_not_say_keeps_its_default() {
    let config = Config::parse("[limits]\npending = 5\n").unwrap();
    assert_eq!((config.limits.pending, config.limits.body_bytes), (5, BODY_BYTES_MAX));
}

#[test]
fn every_mark_has_its_default_and_its_bounds() {
    let limits = Config::default().limits;
    assert_eq!((limits.pending, limits.pending_bytes), (1_000_000, 4 << 30));
    assert_eq!(
        (limits.pending_per_connection, limits.pending_bytes_per_connection),
        (200_000, 1 << 30)
    );
    assert_eq!(limits.pending_age_ms_per_connection, 7 * 24 * 3_600_000);
    assert_eq!(
        (limits.headroom_percent, limits.dedupe_window),
        (10, cofferdam_domain::limits::DEDUPE_WINDOW)
    );
    assert_eq!(Config::default().store.free_bytes_min, 1 << 30);
    assert_eq!(Config::default().retention, Retention::default());
    let check = |section: &str, key: &str, value: u64, good: bool| {
        let text = format!("[{section}]\n{key} = {value}\n");
        assert_eq!(Config::parse(&text).is_ok(), good, "{text}");
    };
    for (section, key, least, most) in [
        ("limits", "pending_bytes", 1, 1 << 50),
        ("limits", "pending_bytes_per_connection", 1, 1 << 50),
        ("limits", "pending_age_ms_per_connection", 0, 365 * 24 * 3_600_000),
        ("limits", "headroom_percent", 0, 90),
        ("limits", "dedupe_window_hours", 1, 720),
        ("store", "free_bytes_min", 0, 1 << 50),
        ("plugins", "versions_bytes", 1 << 20, 1 << 50),
        ("retention", "delivered_days", 0, 3650),
        ("retention", "bodies_days", 0, 3650),
        ("retention", "attempts_days", 0, 3650),
        ("retention", "dead_days", 0, 3650),
        ("retention", "bodies_bytes", 0, 1 << 50),
        ("retention", "attempts_bytes", 0, 1 << 50),
    ] {
        check(section, key, least, true);
        check(section, key, most, true);
        check(section, key, most + 1, false);
        if least > 0 {
            check(section, key, least - 1, false);
        }
    }
}

#[test]
fn what_a_server_allows_is_documented_for_every_limit_and_bounded() {
    use cofferdam_domain::connection::{CallLimit, Maximum};

    let host = Config::default().host;
    assert_eq!((host.maximum, host.state_bytes), (Maximum::default(), 1024 * 1024));
    let (_, documented) = DEFAULT_TEXT.split_once("[host.maximum]\n").unwrap();
    for limit in CallLimit::ALL {
        let bounds = limit.bounds();
        let line = format!("\n{limit} = {}\n", bounds.maximum);
        assert!(documented.contains(&line), "{line}");
        assert!(
            DEFAULT_POLICY_TEXT.contains(&format!("\n{limit} = {}\n", bounds.default)),
            "{limit}"
        );
        let parse = |value: u64| Config::parse(&format!("[host.maximum]\n{limit} = {value}\n"));
        assert_eq!(parse(bounds.least).unwrap().host.maximum.of(limit), bounds.least);
        assert_eq!(parse(bounds.most).unwrap().host.maximum.of(limit), bounds.most);
        for wrong in [bounds.least - 1, bounds.most + 1] {
            let mistakes = parse(wrong).unwrap_err();
            assert_eq!((mistakes.len(), mistakes[0].line), (1, 2), "{mistakes:?}");
            assert!(
                mistakes[0]
                    .text
                    .starts_with(&format!("host.maximum.{limit} is {wrong}; it must be"))
            );
        }
    }
    let mistakes = Config::parse("[host]\ncalls = 4\nmemory_bytes = 1048576\nstate_bytes = 1024\n").unwrap_err();
    let found: Vec<_> = mistakes
        .iter()
        .map(|mistake| (mistake.line, mistake.text.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (3, "host.memory_bytes is host.maximum.memory_bytes now: move it there"),
            (4, "host.state_bytes is host.maximum.state_bytes now: move it there"),
        ]
    );
    let mistakes = Config::parse("[host.maximum]\ncpu = 1\n").unwrap_err();
    assert!(
        mistakes[0]
            .text
            .starts_with("unknown key host.maximum.cpu; known are deadline_ms"),
        "{mistakes:?}"
    );
}

#[test]
fn what_a_hooks_scheme_needs_is_asked_for_at_the_line_of_the_scheme() {
    let file = "name = \"a\"\nconnector = \"c\"\n\n[upstreams.u]\nbase_url = \"https://u.example\"\ncredential = \"u\"\n\n[inbound]\nscheme = \"twilio\"\n";
    let mistakes = parse_connection(file).unwrap_err();
    assert_eq!(
        mistakes.iter().map(|mistake| mistake.line).collect::<Vec<_>>(),
        [9, 9],
        "{mistakes:?}"
    );
    assert!(
        mistakes[0]
            .text
            .contains("needs a credential, the account's auth token"),
        "{mistakes:?}"
    );
    assert!(mistakes[1].text.contains("external_url = \"https://"), "{mistakes:?}");
}

#[test]
fn a_filter_and_a_dedupe_window_are_checked_with_the_connection_file() {
    let file = "name = \"a\"\nconnector = \"slack\"\nfilter = \"FILTER\"\n\n[inbound]\nscheme = \"github\"\ncredential = \"c\"\ndedupe_window_hours = HOURS\n";
    let parse = |filter: &str, hours: &str| parse_connection(&file.replace("FILTER", filter).replace("HOURS", hours));
    for hours in ["1", "720"] {
        assert!(parse("data.a == 1", hours).is_ok(), "{hours}");
    }
    for hours in ["0", "721"] {
        let mistakes = parse("true", hours).unwrap_err();
        assert_eq!((mistakes.len(), mistakes[0].line), (1, 8), "{mistakes:?}");
    }
    let mistakes = parse("data.a == ", "721").unwrap_err();
    assert_eq!(
        mistakes.iter().map(|mistake| mistake.line).collect::<Vec<_>>(),
        [3, 8],
        "{mistakes:?}"
    );
    assert!(mistakes[0].text.starts_with("filter 1:"), "{mistakes:?}");
}

#[test]
fn what_a_grant_says_about_redirects_and_tls_is_checked_with_the_connection_file() {
    let file = |more: &str| {
        format!(
            "name = \"a\"\nconnector = \"slack\"\n\n[upstreams.slack]\nbase_url = \"https://slack.com/api\"\n{more}\n"
        )
    };
    let good = "redirects = 2\nredirect_origins = [\"https://files.slack.com\"]\n\n[upstreams.slack.tls]\nclient_certificate = \"client\"";
    let grant = parse_connection(&file(good))
        .unwrap()
        .upstreams
        .remove(&"slack".parse().unwrap())
        .unwrap();
    assert_eq!((grant.redirects, grant.redirect_origins.len()), (2, 1));
    assert_eq!(
        grant.credentials().map(ToString::to_string).collect::<Vec<_>>(),
        ["client"]
    );
    for (more, line, said) in [
        ("redirects = 11", 6, "must be 0 to 10"),
        ("redirects = 300", 6, "300"),
        (
            "redirects = 1\nredirect_origins = [\"http://files.slack.com\"]",
            7,
            "never followed",
        ),
        ("[upstreams.slack.tls]\nca = \"no PEM\"", 7, "holds no certificate"),
        ("[upstreams.slack.tls]\nca_only = true", 7, "nobody would be trusted"),
        ("[upstreams.slack.tls]\nverify = false", 7, "unknown field"),
    ] {
        let mistakes = parse_connection(&file(more)).unwrap_err();
        assert_eq!((mistakes.len(), mistakes[0].line), (1, line), "{more}: {mistakes:?}");
        assert!(mistakes[0].text.contains(said), "{mistakes:?}");
    }
}

#[test]
fn the_two_listeners_cannot_share_an_address() {
    let mistakes = Config::parse("[listen]\nadmin = \"127.0.0.1:8080\"\n").unwrap_err();
    assert!(mistakes[0].text.contains("must differ"));
}

#[test]
fn a_connection_file_is_read_and_its_mistakes_are_placed() {
    let good = "name = \"slack\"\nconnector = \"slack\"\nsubscribe = [\"com.github.*\"]\n\n[upstreams.slack]\nbase_url = \"https://slack.com/api\"\ncredential = \"bot\"\n";
    assert_eq!(parse_connection(good).unwrap().upstreams.len(), 1);
    let out_of_bounds = format!("{good}\n[policy]\nconcurrency = 0\n");
    let mistakes = parse_connection(&out_of_bounds).unwrap_err();
    assert_eq!((mistakes.len(), mistakes[0].line), (1, 10), "{mistakes:?}");
    let unknown = good.replace("subscribe", "subscribes");
    assert_eq!(parse_connection(&unknown).unwrap_err()[0].line, 3);
    let bad_url = good.replace("https://", "ftp://");
    assert_eq!(parse_connection(&bad_url).unwrap_err()[0].line, 6);
}

#[test]
fn the_engine_is_one_of_two_and_another_name_is_a_mistake_on_its_line() {
    assert_eq!(Config::default().store.engine, Engine::Sled);
    assert_eq!(
        Config::parse("[store]\nengine = \"redb\"\n").unwrap().store.engine,
        Engine::Redb
    );
    for wrong in ["\"rocksdb\"", "\"Sled\"", "1"] {
        let mistakes = Config::parse(&format!("[store]\nengine = {wrong}\n")).unwrap_err();
        assert_eq!((mistakes.len(), mistakes[0].line), (1, 2), "{mistakes:?}");
        assert!(mistakes[0].text.starts_with("store.engine: "), "{mistakes:?}");
    }
}

#[test]
fn the_documented_budget_is_one_once_it_is_no_comment() {
    let (_, budget) = DEFAULT_POLICY_TEXT.split_once("# [upstreams.NAME.budget]\n").unwrap();
    let lines = budget.lines().filter_map(|line| line.strip_prefix("# "));
    let values: Vec<_> = lines.filter(|line| line.contains(" = ")).collect();
    let file = format!(
        "name = \"c\"\nconnector = \"c\"\n[upstreams.api]\nbase_url = \"https://h.test\"\n[upstreams.api.budget]\n{}\n",
        values.join("\n")
    );
    let spec = parse_connection(&file).unwrap();
    let budget = &spec.upstreams[&"api".parse().unwrap()].budget;
    assert_eq!(
        (budget.requests, budget.per_ms, budget.burst),
        (Some(60), Some(60_000), Some(10))
    );
    assert_eq!(
        (budget.concurrency, budget.share.as_ref().unwrap().as_str()),
        (Some(4), "github")
    );
    let mistakes = parse_connection(&file.replace("concurrency = 4", "concurrency = 0")).unwrap_err();
    assert_eq!((mistakes.len(), mistakes[0].line), (1, 9), "{mistakes:?}");
}

#[test]
fn the_documented_policy_is_the_default_one_and_what_it_leaves_out_is_taken_too() {
    let head = "name = \"c\"\nconnector = \"c\"\n";
    let documented = parse_connection(&format!("{head}{DEFAULT_POLICY_TEXT}")).unwrap();
    assert_eq!(documented.policy, cofferdam_domain::Policy::default());
    let text = DEFAULT_POLICY_TEXT;
    for left_out in [
        "rate",
        "order_by",
        "pending_max",
        "pending_bytes_max",
        "pending_age_max_ms",
    ] {
        let line = format!("# {left_out} = ");
        assert!(text.contains(&line), "{left_out}");
        let taken = parse_connection(&format!("{head}{}", text.replace(&line, &format!("{left_out} = ")))).unwrap();
        assert_ne!(taken.policy, cofferdam_domain::Policy::default(), "{left_out}");
    }
}
