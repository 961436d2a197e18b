use super::*;

fn digest(tag: u8) -> Digest {
    Digest::of(&[tag])
}

fn version(tag: u8) -> VersionRecord {
    VersionRecord {
        digest: digest(tag),
        version: format!("1.0.{tag}"),
        bytes: 1,
        first_seen: Timestamp::from_millis(tag.into()),
        file: "a.wasm".to_owned(),
        exports: Exports::default(),
        asks: Asks::default(),
        signature: None,
        signer: None,
        unusable: None,
    }
}

fn shelf(tags: &[u8]) -> ShelfRecord {
    let empty = ShelfRecord {
        name: "a".parse().unwrap(),
        file: None,
        offered: None,
        held: None,
        versions: Vec::new(),
        updated_at: Timestamp::from_millis(0),
    };
    tags.iter().fold(empty, |shelf, tag| {
        shelf.offering("a.wasm", version(*tag), Timestamp::from_millis(100))
    })
}

/// With the version of this tag in the place of what the file holds.
fn rolled_back(shelf: &ShelfRecord, tag: u8) -> ShelfRecord {
    shelf.holding(digest(tag), "anna", Timestamp::from_millis(1))
}

fn digests(versions: &[VersionRecord]) -> Vec<Digest> {
    versions.iter().map(|version| version.digest).collect()
}

#[test]
fn versions_are_kept_in_the_order_in_which_they_were_offered_last() {
    let shelf = shelf(&[1, 2, 3, 1]);
    assert_eq!(digests(&shelf.versions), [digest(1), digest(3), digest(2)]);
    assert_eq!(shelf.versions[0].first_seen, Timestamp::from_millis(1));
    assert_eq!((shelf.current(), shelf.before()), (Some(digest(1)), Some(digest(3))));
}

#[test]
fn a_rollback_holds_while_its_file_stays_and_ends_with_another_one() {
    let rolled_back = rolled_back(&shelf(&[1, 2, 3]), 2);
    assert_eq!(rolled_back.before(), Some(digest(1)), "one further back");
    assert_eq!(digests(rolled_back.current_and_before()), [digest(2), digest(1)]);
    let same = rolled_back.offering("a.wasm", version(3), Timestamp::from_millis(5));
    assert_eq!(same.current(), Some(digest(2)));
    let other = rolled_back.offering("a.wasm", version(4), Timestamp::from_millis(5));
    assert_eq!((other.current(), other.held), (Some(digest(4)), None));
}

#[test]
fn what_was_rolled_back_from_changes_nothing_by_coming_back_and_runs_nothing_while_it_is_gone() {
    let at = Timestamp::from_millis(5);
    let rolled_back = rolled_back(&shelf(&[1, 2, 3]), 2);
    let gone = rolled_back.without_file(at);
    assert_eq!(gone.current(), None, "somebody has removed the file to stop it");
    assert!(gone.current_and_before().is_empty());
    assert_eq!(
        gone.before(),
        Some(digest(2)),
        "what ran, and not what was rolled back from"
    );
    let back = gone.offering("b.wasm", version(3), at);
    assert_eq!((back.current(), back.offered), (Some(digest(2)), Some(digest(3))));
    for tag in [2, 4] {
        let other = gone.offering("a.wasm", version(tag), at);
        assert_eq!((other.current(), other.held), (Some(digest(tag)), None));
    }
    // Twice back is back from the same file.
    let further = rolled_back.holding(digest(1), "anna", at);
    let back = further.without_file(at).offering("a.wasm", version(3), at);
    assert_eq!(back.current(), Some(digest(1)));
}

#[test]
fn a_rollback_while_there_is_no_file_runs_without_one_and_holds_against_the_file_that_had_gone() {
    let at = Timestamp::from_millis(5);
    let gone = shelf(&[1, 2, 3]).without_file(at);
    let rolled_back = rolled_back(&gone, 2);
    assert_eq!(rolled_back.current(), Some(digest(2)));
    let back = rolled_back.offering("a.wasm", version(3), at);
    assert_eq!(back.current(), Some(digest(2)));
    assert_eq!(
        back.without_file(at).current(),
        None,
        "it has a file to be removed again"
    );
    let other = rolled_back.offering("a.wasm", version(4), at);
    assert_eq!((other.current(), other.held), (Some(digest(4)), None));
}

#[test]
fn a_rollback_that_was_kept_before_it_was_kept_from_what_holds_as_it_did() {
    let mut shelf = shelf(&[1, 2, 3]);
    let kept = serde_json::json!({ "digest": digest(2), "by": "anna", "at": 1 });
    shelf.held = Some(serde_json::from_value(kept).unwrap());
    assert_eq!(shelf.current(), Some(digest(2)));
    let same = shelf.offering("a.wasm", version(3), Timestamp::from_millis(5));
    assert_eq!(same.current(), Some(digest(2)));
    let other = shelf.offering("a.wasm", version(4), Timestamp::from_millis(5));
    assert_eq!((other.current(), other.held), (Some(digest(4)), None));
}

#[test]
fn what_was_left_without_a_file_for_a_moment_has_none_after_a_start() {
    let present = shelf(&[1, 2]);
    assert_eq!(present.clone().at_start(), present);
    let leaving = ShelfRecord {
        file: None,
        ..present.clone()
    };
    assert_eq!(leaving.current(), Some(digest(2)), "until its time has come");
    for kept in [leaving.clone(), rolled_back(&leaving, 1)] {
        let started = kept.at_start();
        assert_eq!((started.current(), started.offered), (None, None));
        assert_eq!(started.versions, present.versions);
    }
}

#[test]
fn what_cannot_be_run_is_not_rolled_back_to_and_what_a_file_held_that_has_gone_is() {
    let mut shelf = shelf(&[1, 2, 3]);
    shelf.versions[1].unusable = Some("damaged".to_owned());
    assert_eq!(shelf.before(), Some(digest(1)));
    shelf.file = None;
    shelf.offered = None;
    assert_eq!((shelf.current(), shelf.before()), (None, Some(digest(3))));
    assert!(shelf.current_and_before().is_empty());
}

#[test]
fn the_oldest_goes_first_and_nothing_that_is_in_use() {
    let shelf = shelf(&[1, 2, 3, 4, 5, 6]);
    let (next, gone) = shelf.within(3, |_| false);
    assert_eq!(gone, [digest(1), digest(2), digest(3)]);
    assert_eq!(digests(&next.versions), [digest(6), digest(5), digest(4)]);
    let shelf = rolled_back(&shelf, 1);
    let (next, gone) = shelf.within(3, |used| used == digest(3));
    assert_eq!(gone, [digest(2), digest(4), digest(5)]);
    assert_eq!(digests(&next.versions), [digest(6), digest(3), digest(1)]);
    let (next, gone) = shelf.within(0, |_| true);
    assert_eq!((next, gone), (shelf, Vec::new()));
}
