use std::collections::{BTreeMap, BTreeSet};

use cofferdam_domain::Timestamp;
use cofferdam_domain::grant::{Asks, Grant, UpstreamAsks};

use super::super::standing::Quarantined;
use super::*;

fn digest(tag: u8) -> Digest {
    Digest::of(&[tag])
}

fn asks(methods: &[&str]) -> Asks {
    let upstream = UpstreamAsks {
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        path_prefixes: BTreeSet::new(),
        credential: "bearer".parse().unwrap(),
    };
    Asks {
        upstreams: BTreeMap::from([("api".parse().unwrap(), upstream)]),
        ..Asks::default()
    }
}

fn version(tag: u8, methods: &[&str]) -> VersionRecord {
    VersionRecord {
        digest: digest(tag),
        version: format!("{tag}.0.0"),
        bytes: 1,
        first_seen: Timestamp::from_millis(0),
        file: "a.wasm".to_owned(),
        exports: Exports {
            sink: true,
            ..Exports::default()
        },
        asks: asks(methods),
        signature: None,
        signer: None,
        unusable: None,
    }
}

/// Versions, the latest offered first.
fn shelf(versions: Vec<VersionRecord>) -> ShelfRecord {
    ShelfRecord {
        name: "a".parse().unwrap(),
        file: Some("a.wasm".to_owned()),
        offered: versions.first().map(|version| version.digest),
        held: None,
        versions,
        updated_at: Timestamp::from_millis(0),
    }
}

fn connection(granted: u8, methods: &[&str]) -> Connection {
    let spec = serde_json::from_value(serde_json::json!({
        "name": "c", "connector": "a", "subscribe": ["x"]
    }));
    Connection {
        workspace: "default".parse().unwrap(),
        spec: spec.unwrap(),
        granted: Some(digest(granted)),
        grant: Grant {
            asks: Some(asks(methods)),
            ..Grant::default()
        },
        enabled: true,
        revision: 1,
        updated_at: Timestamp::from_millis(0),
    }
}

fn quarantined(tag: u8) -> Quarantined {
    Quarantined {
        digest: digest(tag),
        at: Timestamp::from_millis(0),
        faults: 5,
        reason: "trap".to_owned(),
        instead: digest(1),
    }
}

/// What runs, and why the current one does not.
fn chosen(
    shelf: &ShelfRecord,
    connection: &Connection,
    standing: &Standing,
    updates: Updates,
) -> (Option<Digest>, Option<Why>) {
    let choice = choose(shelf, connection, standing, updates);
    (choice.runs, choice.waiting.map(|(_, why)| why))
}

#[test]
fn an_update_that_asks_for_no_more_runs_and_one_that_asks_for_more_waits_while_the_old_one_runs() {
    let none = Standing::default();
    let granted = connection(1, &["GET", "POST"]);
    let mut versions = vec![version(1, &["GET", "POST"])];
    versions.insert(0, version(2, &["GET"]));
    assert_eq!(
        chosen(&shelf(versions.clone()), &granted, &none, Updates::NoMore),
        (Some(digest(2)), None)
    );
    let asked = chosen(&shelf(versions.clone()), &granted, &none, Updates::Ask);
    assert_eq!(asked, (Some(digest(1)), Some(Why::NotGranted)));
    // Back to what was granted first, by an update of the second.
    versions.insert(0, version(3, &["POST"]));
    assert_eq!(
        chosen(&shelf(versions.clone()), &granted, &none, Updates::NoMore),
        (Some(digest(3)), None)
    );
    versions.insert(0, version(4, &["DELETE"]));
    let choice = choose(&shelf(versions.clone()), &granted, &none, Updates::NoMore);
    assert_eq!(choice.runs, Some(digest(3)), "the latest that may");
    assert_eq!(choice.waiting, Some((digest(4), Why::AsksForMore)));
    let more = difference(&shelf(versions.clone()), &version(4, &["DELETE"]), &granted);
    assert_eq!(more, ["upstream api: the method DELETE"]);
    let mut refused = granted.clone();
    refused.grant = refused.grant.refusing(digest(3), refused.granted);
    let asked = chosen(&shelf(versions.clone()), &refused, &none, Updates::NoMore);
    assert_eq!(asked, (Some(digest(2)), Some(Why::AsksForMore)));
    let mut granting = granted.clone();
    granting.grant = granted
        .grant
        .granting(digest(4), granted.granted, asks(&["DELETE"]), None);
    granting.granted = Some(digest(4));
    assert_eq!(
        chosen(&shelf(versions), &granting, &none, Updates::Ask),
        (Some(digest(4)), None)
    );
}

#[test]
fn nothing_runs_that_nobody_granted() {
    let none = Standing::default();
    let mut stranger = connection(9, &[]);
    stranger.grant.asks = None;
    let one = shelf(vec![version(1, &[])]);
    for granted in [Some(digest(9)), None] {
        stranger.granted = granted;
        assert_eq!(
            chosen(&one, &stranger, &none, Updates::NoMore),
            (None, Some(Why::NotGranted))
        );
    }
    // Of a connection that was applied before what it granted was kept, the version itself says it.
    let both = shelf(vec![version(2, &["GET"]), version(1, &["GET"])]);
    stranger.granted = Some(digest(1));
    assert_eq!(
        chosen(&both, &stranger, &none, Updates::NoMore),
        (Some(digest(2)), None)
    );
}

#[test]
fn an_update_of_what_was_signed_is_signed_by_the_same_key_or_waits() {
    let none = Standing::default();
    let mut granted = connection(1, &["GET"]);
    granted.grant.signer = Some("ours".to_owned());
    for (signer, expected) in [
        (Some("ours"), (Some(digest(2)), None)),
        (Some("theirs"), (Some(digest(1)), Some(Why::OtherSigner))),
        (None, (Some(digest(1)), Some(Why::OtherSigner))),
    ] {
        let mut update = version(2, &["GET"]);
        update.signer = signer.map(str::to_owned);
        let both = shelf(vec![update, version(1, &["GET"])]);
        assert_eq!(chosen(&both, &granted, &none, Updates::NoMore), expected, "{signer:?}");
    }
}

#[test]
fn a_version_without_what_the_connection_uses_or_that_cannot_be_run_stays_out() {
    let none = Standing::default();
    let granted = connection(1, &["GET"]);
    let mut lacking = version(2, &["GET"]);
    lacking.exports = Exports {
        source: true,
        ..Exports::default()
    };
    let both = shelf(vec![lacking, version(1, &["GET"])]);
    assert_eq!(
        chosen(&both, &granted, &none, Updates::NoMore),
        (Some(digest(1)), Some(Why::Lacks))
    );
    let mut broken = version(2, &["GET"]);
    broken.unusable = Some("damaged".to_owned());
    let both = shelf(vec![broken, version(1, &["GET"])]);
    assert_eq!(
        chosen(&both, &granted, &none, Updates::NoMore),
        (Some(digest(1)), Some(Why::Unusable))
    );
}

#[test]
fn after_a_rollback_nothing_newer_runs_than_what_was_rolled_back_to() {
    let none = Standing::default();
    let three = shelf(vec![version(3, &["GET"]), version(2, &["POST"]), version(1, &["GET"])]);
    let mut three = three.holding(digest(2), "anna", Timestamp::from_millis(0));
    let granted = connection(1, &["GET"]);
    let asked = chosen(&three, &granted, &none, Updates::NoMore);
    assert_eq!(asked, (Some(digest(1)), Some(Why::AsksForMore)));
    let latest = connection(3, &["GET"]);
    three.versions.remove(2);
    assert_eq!(
        chosen(&three, &latest, &none, Updates::NoMore),
        (None, Some(Why::AsksForMore))
    );
}

#[test]
fn a_version_in_quarantine_gives_way_to_the_last_good_one_and_never_comes_back_by_itself() {
    let granted = connection(1, &["GET"]);
    let three = shelf(vec![version(3, &["GET"]), version(2, &["GET"]), version(1, &["GET"])]);
    let mut standing = Standing {
        good: vec![digest(1)],
        ..Standing::default()
    };
    assert_eq!(
        fallback(&three, &granted, &standing, Updates::NoMore, digest(3)),
        Some(digest(1))
    );
    assert_eq!(
        fallback(&three, &granted, &standing, Updates::NoMore, digest(1)),
        None,
        "there is no other"
    );
    standing.quarantined.push(quarantined(3));
    let asked = chosen(&three, &granted, &standing, Updates::NoMore);
    assert_eq!(
        asked,
        (Some(digest(1)), Some(Why::Quarantined)),
        "not the one between, which nobody has seen work"
    );
    let mut four = three.clone();
    four.versions.insert(0, version(4, &["GET"]));
    four.offered = Some(digest(4));
    assert_eq!(
        chosen(&four, &granted, &standing, Updates::NoMore),
        (Some(digest(4)), None)
    );
    assert_eq!(
        fallback(&three, &granted, &standing, Updates::NoMore, digest(1)),
        None,
        "never back to it"
    );
}

#[test]
fn a_version_that_waits_on_top_of_one_in_quarantine_keeps_the_last_good_one_running() {
    let granted = connection(1, &["GET"]);
    let four = shelf(vec![
        version(4, &["DELETE"]),
        version(3, &["GET"]),
        version(2, &["GET"]),
        version(1, &["GET"]),
    ]);
    let mut standing = Standing {
        good: vec![digest(1)],
        quarantined: vec![quarantined(3)],
        ..Standing::default()
    };
    let expected = (Some(digest(1)), Some(Why::AsksForMore));
    assert_eq!(chosen(&four, &granted, &standing, Updates::NoMore), expected);
    let mut refused = granted.clone();
    refused.grant = refused.grant.refusing(digest(4), refused.granted);
    let expected = (Some(digest(1)), Some(Why::Refused));
    assert_eq!(chosen(&four, &refused, &standing, Updates::NoMore), expected);
    standing.good.clear();
    let expected = (Some(digest(2)), Some(Why::AsksForMore));
    assert_eq!(
        chosen(&four, &granted, &standing, Updates::NoMore),
        expected,
        "without a good one the next that may run"
    );
}

#[test]
fn quarantine_after_a_rollback_never_leads_back_to_what_was_rolled_back_from() {
    let granted = connection(1, &["GET"]);
    let three = shelf(vec![version(3, &["GET"]), version(2, &["GET"]), version(1, &["GET"])]);
    let held = three.holding(digest(2), "anna", Timestamp::from_millis(0));
    let mut standing = Standing {
        good: vec![digest(3), digest(2)],
        ..Standing::default()
    };
    let back = |standing: &Standing| fallback(&held, &granted, standing, Updates::NoMore, digest(2));
    assert_eq!(back(&standing), None, "the only other good one is newer");
    standing.good.push(digest(1));
    assert_eq!(back(&standing), Some(digest(1)));
    standing.quarantined.push(quarantined(2));
    let expected = (Some(digest(1)), Some(Why::Quarantined));
    assert_eq!(chosen(&held, &granted, &standing, Updates::NoMore), expected);
}

#[test]
fn what_a_connection_would_fall_back_on_is_kept_however_many_versions_wait() {
    let granted = connection(1, &["GET"]);
    let versions = (1..=7)
        .rev()
        .map(|tag| version(tag, if tag > 3 { &["DELETE"] } else { &["GET"] }));
    let seven = shelf(versions.collect());
    let standing = Standing {
        good: vec![digest(3), digest(2)],
        ..Standing::default()
    };
    let needed: Vec<_> = at_hand(&seven, &granted, &standing, Updates::NoMore).collect();
    assert_eq!(needed, [digest(3), digest(2), digest(1)]);
    let (kept, gone) = seven.within(5, |digest| needed.contains(&digest));
    assert_eq!(gone, [digest(4), digest(5)]);
    assert!(kept.version(digest(2)).is_some());
}

#[test]
fn once_more_was_refused_or_quarantined_than_is_remembered_only_what_was_granted_runs() {
    let three = shelf(vec![version(3, &["GET"]), version(2, &["GET"]), version(1, &["GET"])]);
    let mut granted = connection(1, &["GET"]);
    granted.grant.earlier = vec![digest(2)];
    let many = Standing {
        only_granted: true,
        ..Standing::default()
    };
    let expected = (Some(digest(2)), Some(Why::NotGranted));
    assert_eq!(chosen(&three, &granted, &many, Updates::NoMore), expected);
    granted.grant.only_granted = true;
    let none = Standing::default();
    assert_eq!(chosen(&three, &granted, &none, Updates::NoMore), expected);
    granted.grant.only_granted = false;
    assert_eq!(
        chosen(&three, &granted, &none, Updates::NoMore),
        (Some(digest(3)), None)
    );
}
