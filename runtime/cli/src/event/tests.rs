use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    send: Send,
}

fn request(words: &[&str]) -> anyhow::Result<String> {
    let line = Line::try_parse_from([&["send"], words].concat())?;
    Ok(format!("{:?}", line.send.request(|| "minted".to_owned())?))
}

#[test]
fn an_event_becomes_a_binary_cloud_event_with_encoded_attributes() {
    let text = request(&[
        "--type",
        "com.example.x",
        "--source",
        "/a b",
        "--subject",
        "50 % ü\u{7f}",
        "--data",
        "{\"a\": 1}",
    ])
    .unwrap();
    for part in [
        r#"("ce-specversion", "1.0")"#,
        r#"("ce-id", "minted")"#,
        r#"("ce-type", "com.example.x")"#,
        r#"("ce-source", "/a%20b")"#,
        r#"("ce-subject", "50%20%25%20%C3%BC%7F")"#,
        r#"("content-type", "application/json")"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn the_callers_own_ids_are_kept() {
    let text = request(&["--type", "t", "--source", "s", "--id", "i-1", "--correlation-id", "c-1"]).unwrap();
    assert!(
        text.contains(r#"("ce-id", "i-1")"#) && text.contains(r#"("x-correlation-id", "c-1")"#),
        "{text}"
    );
}

#[test]
fn data_that_is_no_json_needs_a_content_type() {
    let with = |more: &[&str]| request(&[&["--type", "t", "--source", "s", "--data", "a;b"], more].concat());
    assert!(with(&[]).unwrap_err().to_string().contains("--content-type"));
    assert!(with(&["--content-type", "text/csv"]).is_ok());
}

#[test]
fn a_file_is_one_event_or_a_batch_and_nothing_else() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let check = |text: &str, expected: Option<&str>| {
        std::fs::write(file.path(), text).unwrap();
        let sent = request(&["--file", file.path().to_str().unwrap()]).ok();
        assert_eq!(sent.is_some(), expected.is_some(), "{text}");
        if let (Some(sent), Some(expected)) = (sent, expected) {
            assert!(sent.contains(&format!("\"{expected}\"")), "{sent}");
        }
    };
    check(" {\"id\": 1}", Some("application/cloudevents+json"));
    check("[{}]", Some("application/cloudevents-batch+json"));
    check("hello", None);
    check("", None);
}

#[test]
fn an_event_without_type_or_source_and_a_mix_of_forms_are_usage_errors() {
    for words in [
        &["--source", "s"][..],
        &["--type", "t"],
        &["--file", "f", "--type", "t"],
        &["--type", "t", "--source", "s", "--data", "1", "--data-file", "f"],
        &["--type", "t", "--source", "s", "--correlation-id", "two words"],
    ] {
        assert!(Line::try_parse_from([&["send"], words].concat()).is_err(), "{words:?}");
    }
}

#[test]
fn the_answer_says_what_became_of_the_event_and_how_to_follow_it() {
    let accepted = |duplicate, deliveries| EventAccepted {
        id: EventId::from_bytes([1; 16]),
        correlation_id: "c-1".parse().unwrap(),
        duplicate,
        deliveries,
    };
    let check = |duplicate, deliveries, expected: &str| {
        let text = told(&[accepted(duplicate, deliveries)], Paint::Plain);
        assert!(
            text.contains(expected) && text.ends_with("follow it with: cofferdam trace c-1"),
            "{text}"
        );
    };
    check(false, 2, "is accepted; 2 deliveries owed");
    check(false, 1, "is accepted; 1 delivery owed");
    check(false, 0, "no connection subscribes");
    check(true, 0, "was accepted before");
    let batch = told(&[accepted(false, 1), accepted(false, 1)], Paint::Plain);
    assert_eq!(batch.matches("cofferdam trace").count(), 1);
}
