use cofferdam_domain::Timestamp;

use super::super::standing::Quarantined;
use super::*;

fn digest(tag: u8) -> Digest {
    Digest::of(&[tag])
}

fn spec(connector: &str, owner: &str) -> ConnectionSpec {
    serde_json::from_value(serde_json::json!({
        "name": "c", "connector": connector, "owner": owner, "subscribe": ["x"]
    }))
    .unwrap()
}

/// A connection that was granted this version.
fn connection(granted: Option<u8>) -> Connection {
    Connection {
        workspace: "default".parse().unwrap(),
        spec: spec("a", "anna"),
        granted: granted.map(digest),
        grant: Grant {
            asks: granted.map(|_| Asks::default()),
            ..Grant::default()
        },
        enabled: true,
        revision: 1,
        updated_at: Timestamp::from_millis(0),
    }
}

fn current(tag: u8) -> Allowance {
    Allowance {
        digest: digest(tag),
        asks: Asks::default(),
        signer: None,
    }
}

/// What is granted by a file, if the current version may run or not.
fn granted(present: Option<&Connection>, spec: &ConnectionSpec, current: &Allowance, may: bool) -> Granted {
    let file = File { present, spec };
    file.granted(current, &Standing::default(), |_| may.then_some(()))
}

#[test]
fn the_file_of_a_new_connection_grants_what_is_there_and_so_does_one_of_which_nothing_was_granted_yet() {
    let file = spec("a", "anna");
    assert_eq!(granted(None, &file, &current(1), false).digest, Some(digest(1)));
    let mut none = connection(None);
    assert_eq!(granted(Some(&none), &file, &current(1), false).digest, Some(digest(1)));
    none.grant = none.grant.refusing(digest(1), None);
    assert_eq!(granted(Some(&none), &file, &current(1), true), Granted::of(&none));
    let old = connection(Some(1));
    let other = spec("b", "anna");
    assert_eq!(
        granted(Some(&old), &other, &current(2), false).digest,
        Some(digest(2)),
        "another connector is as good as new"
    );
}

#[test]
fn a_file_that_is_applied_again_grants_nothing_and_a_changed_one_only_what_may_run_already() {
    let old = connection(Some(1));
    for (owner, may, expected) in [
        ("anna", true, 1),
        ("anna", false, 1),
        ("berta", false, 1),
        ("berta", true, 2),
    ] {
        let after = granted(Some(&old), &spec("a", owner), &current(2), may);
        assert_eq!(after.digest, Some(digest(expected)), "{owner} {may}");
        if expected == 1 {
            assert_eq!(after, Granted::of(&old));
        }
    }
}

#[test]
fn no_file_ends_a_refusal_a_quarantine_or_what_stands_for_forgotten_ones() {
    let mut refused = connection(Some(1));
    refused.grant = refused.grant.refusing(digest(1), refused.granted);
    let changed = spec("a", "berta");
    let after = granted(Some(&refused), &changed, &current(1), false);
    assert_eq!(after, Granted::of(&refused), "what is granted last may be refused too");

    let mut many = connection(Some(1));
    many.grant.only_granted = true;
    many.grant.earlier = vec![digest(2)];
    let after = granted(Some(&many), &changed, &current(2), true);
    assert!(after.grant.only_granted && after.digest == Some(digest(2)));

    let quarantined = Quarantined {
        digest: digest(2),
        at: Timestamp::from_millis(0),
        faults: 5,
        reason: "trap".to_owned(),
        instead: digest(1),
    };
    let standing = Standing {
        quarantined: vec![quarantined],
        ..Standing::default()
    };
    let other = spec("b", "anna");
    let mut old = connection(Some(1));
    old.grant.earlier = vec![digest(4)];
    old.grant.signer = Some("ours".to_owned());
    old.grant.only_granted = true;
    old.grant = old.grant.refusing(digest(3), old.granted);
    let file = File {
        present: Some(&old),
        spec: &other,
    };
    let left = Granted {
        digest: None,
        grant: Grant {
            refused: vec![digest(3)],
            only_granted: true,
            ..Grant::default()
        },
    };
    let after = file.granted(&current(2), &standing, |_| None);
    assert_eq!(
        after, left,
        "what another connector was granted is no measure of this one"
    );
    let after = file.granted(&current(3), &Standing::default(), |_| None);
    assert_eq!(after, left, "and of one that was refused neither");
}

#[test]
fn what_is_kept_of_a_granted_version_stays_and_what_was_not_kept_is_filled_in() {
    let mut signed = connection(Some(1));
    signed.grant.signer = Some("ours".to_owned());
    let file = spec("a", "anna");
    let after = granted(Some(&signed), &file, &current(1), true);
    assert_eq!(
        after,
        Granted::of(&signed),
        "a signature that has gone is no reason to take unsigned updates"
    );
    let mut older = connection(Some(1));
    older.grant.asks = None;
    let after = granted(Some(&older), &file, &current(1), true);
    assert_eq!(after.grant.asks, Some(Asks::default()));
}

#[test]
fn only_what_a_file_leaves_to_the_code_makes_it_another_grant() {
    let old = connection(Some(1));
    let with = |key: &str, value: serde_json::Value| {
        let mut file = serde_json::to_value(&old.spec).unwrap();
        file[key] = value;
        serde_json::from_value::<ConnectionSpec>(file).unwrap()
    };
    let upstream = serde_json::json!({ "api": { "base_url": "https://example.org" } });
    for (spec, expected) in [
        (with("owner", "berta".into()), false),
        (with("settings", serde_json::json!({ "channel": "#ops" })), false),
        (with("upstreams", upstream), true),
        (with("connector", "b".into()), true),
    ] {
        let file = File {
            present: Some(&old),
            spec: &spec,
        };
        assert_eq!(file.changes_what_it_allows(), expected, "{spec:?}");
    }
}
