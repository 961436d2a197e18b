use super::*;

#[test]
fn the_documented_defaults_are_the_defaults() {
    let config = Config::default();
    assert_eq!(config.listen.public, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.limits.body_bytes, BODY_BYTES_MAX);
    assert_eq!(config.drain, Duration::from_secs(30));
    assert_eq!(config.vault.key_file, None);
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
