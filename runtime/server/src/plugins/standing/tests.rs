use super::*;

fn digest(number: usize) -> Digest {
    Digest::of(&number.to_be_bytes())
}

fn quarantined(number: usize) -> Quarantined {
    Quarantined {
        digest: digest(number),
        at: Timestamp::from_millis(0),
        faults: 5,
        reason: "trap".to_owned(),
        instead: digest(999),
    }
}

#[test]
fn one_more_in_quarantine_than_is_remembered_lets_none_of_them_run_again() {
    let granted = |asked: Digest| asked == digest(0);
    let mut standing = Standing::default();
    for number in 0..QUARANTINED_MAX {
        standing = standing.with_quarantined(quarantined(number), granted);
        assert!(!standing.only_granted, "{number}");
    }
    standing = standing.with_quarantined(quarantined(QUARANTINED_MAX), granted);
    assert_eq!(standing.quarantined.len(), QUARANTINED_MAX);
    assert!(standing.only_granted, "what is not remembered is not run by itself");
    assert!(
        standing.is_quarantined(digest(0)),
        "what was granted itself is never forgotten"
    );
    assert!(!standing.is_quarantined(digest(1)), "the oldest of the others is");
    let after = standing.granting(digest(0));
    assert!(!after.only_granted && !after.is_quarantined(digest(0)) && after.is_quarantined(digest(2)));
}

#[test]
fn what_is_put_in_quarantine_again_is_there_once() {
    let never = |_: Digest| false;
    let twice = Standing::default()
        .with_quarantined(quarantined(1), never)
        .with_quarantined(quarantined(2), never)
        .with_quarantined(quarantined(1), never);
    let digests: Vec<_> = twice.quarantined.iter().map(|quarantined| quarantined.digest).collect();
    assert_eq!(digests, [digest(1), digest(2)]);
}
