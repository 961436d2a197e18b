use clap::Parser;
use cofferdam_store::{Batch, Key, Keyspace, KeyspaceCount, OpenOptions};

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    store: super::Store,
}

fn filled(dir: &std::path::Path) {
    let store = cofferdam_store::Store::open(&OpenOptions::new(dir)).unwrap();
    let mut batch = Batch::new();
    batch.put(Key::of(Keyspace::Event).u64(1), "event");
    store.commit_blocking(batch).unwrap();
}

fn run(words: &[&str]) -> anyhow::Result<()> {
    let line = Line::try_parse_from([&["store"], words].concat())?;
    line.store.run(&Output::new(true))
}

#[test]
fn the_three_commands_work_on_a_folder_and_say_when_it_is_damaged_or_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let (data, new) = (dir.path().join("data"), dir.path().join("new"));
    let [data_text, new_text] = [&data, &new].map(|path| path.to_str().unwrap());
    let missing = run(&["check", "--data", data_text]).unwrap_err();
    assert!(missing.to_string().contains("there is no store in"), "{missing}");
    filled(&data);
    run(&["check", "--data", data_text]).unwrap();
    run(&["compact", "--data", data_text, "--engine", "redb"]).unwrap();
    run(&["salvage", "--data", data_text, "--to", new_text]).unwrap();
    run(&["check", "--data", new_text]).unwrap();
    std::fs::write(data.join("watermark"), "7\n").unwrap();
    let damaged = run(&["check", "--data", data_text]).unwrap_err();
    assert!(damaged.to_string().ends_with("is damaged"), "{damaged}");
    let _open = cofferdam_store::Store::open(&OpenOptions::new(&new).engine(Engine::Redb)).unwrap();
    for command in ["check", "compact"] {
        let in_use = run(&[command, "--data", new_text]).unwrap_err();
        assert!(in_use.to_string().contains("is in use"), "{in_use}");
    }
}

#[test]
fn only_an_engine_is_taken_for_one() {
    assert!(Line::try_parse_from(["store", "compact", "--engine", "redb"]).is_ok());
    let refused = Line::try_parse_from(["store", "compact", "--engine", "rocksdb"]).unwrap_err();
    assert!(refused.to_string().contains("\"sled\" or \"redb\""), "{refused}");
}

#[test]
fn what_is_wrong_comes_first_and_cannot_drive_the_terminal() {
    let found = Checked {
        engine: Engine::Sled,
        commits: 3,
        keyspaces: vec![KeyspaceCount {
            name: "event".to_owned(),
            records: 2,
            bytes: 2048,
        }],
        problems: vec!["a\u{1b}b".to_owned()],
        problems_count: 5,
    };
    let expected = "\
a\u{fffd}b
and 4 more
KEYSPACE  RECORDS  BYTES
event     2        2048

DAMAGED: 2 records, 2.0 KiB, engine sled";
    assert_eq!(checked(&found, Paint::Plain), expected);
}

#[test]
fn a_salvage_says_what_is_lost_and_what_cannot_be_known() {
    let mut done = Salvaged {
        engine: Engine::Sled,
        kept: 10,
        kept_bytes: 500,
        lost: vec!["a record".to_owned()],
        lost_count: 3,
        gaps: 2,
        commits_lost: Some(7),
        unverified: true,
        left_behind: vec!["/data/vault.key".into()],
    };
    let expected = "\
kept: 10 records, 500 bytes
lost: a record
lost: 2 more records
lost: what lay in 2 places that cannot be read
lost: the last 7 commits or more
unknown: whether what was kept is right: the engine's own checks failed, so records may be wrong or of different moments
not copied: /data/vault.key";
    assert_eq!(salvaged(&done), expected);
    done = Salvaged {
        lost: Vec::new(),
        lost_count: 0,
        gaps: 0,
        commits_lost: Some(0),
        unverified: false,
        left_behind: Vec::new(),
        ..done
    };
    assert_eq!(
        salvaged(&done),
        "kept: 10 records, 500 bytes\nnothing is lost as far as can be known"
    );
}

#[test]
fn sizes_are_told_in_the_largest_unit_that_leaves_a_whole_part() {
    for (bytes, expected) in [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1_048_575, "1023.9 KiB"),
        (1_048_576, "1.0 MiB"),
        (5 << 40, "5.0 TiB"),
        (u64::MAX, "1677721.5 TiB"),
    ] {
        assert_eq!(size(bytes), expected);
    }
}
