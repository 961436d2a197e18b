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
