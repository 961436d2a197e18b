use cofferdam_store::Store;

use super::*;
use crate::key::{KeySource, VaultKey};

const HOUR: u64 = 3_600_000;

struct Bed {
    vault: Vault,
    workspace: WorkspaceName,
    connection: ConnectionName,
    credential: CredentialName,
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec()).unwrap()
}

impl Bed {
    async fn new() -> Self {
        let key = VaultKey::load(KeySource::Env("11".repeat(32))).unwrap();
        Self {
            vault: Vault::open(Store::in_memory(), key).await.unwrap(),
            workspace: "w".parse().unwrap(),
            connection: "c".parse().unwrap(),
            credential: "k".parse().unwrap(),
        }
    }

    async fn put(&self, change: Change<'_>) -> Result<u64, VaultError> {
        self.vault
            .put(&self.workspace, &self.connection, &self.credential, change)
            .await
    }

    async fn rotate(&self, text: &str, overlap_h: u64, now: u64) -> u64 {
        let change = Change {
            overlap: Duration::from_secs(overlap_h * 3600),
            ..Change::new(secret(text), at(now))
        };
        self.put(change).await.unwrap()
    }

    fn active(&self, now: u64) -> Vec<String> {
        let active = self
            .vault
            .active(&self.workspace, &self.connection, &self.credential, at(now))
            .unwrap();
        let texts = active
            .iter()
            .map(|secret| String::from_utf8(secret.expose().to_vec()).unwrap());
        texts.collect()
    }

    fn edition(&self) -> Edition {
        let revealed = self
            .vault
            .reveal_edition(&self.workspace, &self.connection, &self.credential);
        revealed.unwrap().unwrap().edition
    }

    fn info(&self) -> crate::CredentialInfo {
        let info = self.vault.info(&self.workspace, &self.connection, &self.credential);
        info.unwrap().unwrap()
    }

    fn told(&self) -> Vec<(FactKind, Option<u64>)> {
        let query = FactQuery {
            limit: 100,
            ..FactQuery::default()
        };
        let facts = self.vault.facts(&self.workspace, &query).unwrap();
        facts.iter().rev().map(|fact| (fact.kind, fact.version)).collect()
    }
}

#[tokio::test]
async fn a_rotated_value_is_accepted_beside_the_new_one_until_its_window_ends() {
    let bed = Bed::new().await;
    bed.rotate("old", 0, 0).await;
    assert_eq!(bed.rotate("new", 24, 1_000).await, 2);
    let end = 24 * HOUR + 1_000;
    assert_eq!(bed.active(1_000), ["new", "old"]);
    assert_eq!(bed.active(end - 1), ["new", "old"]);
    assert_eq!(bed.active(end), ["new"]);
    let revealed = bed.vault.reveal(&bed.workspace, &bed.connection, &bed.credential);
    assert_eq!(
        revealed.unwrap().unwrap().expose(),
        b"new",
        "what leaves has the new one at once"
    );
    assert_eq!(bed.info().previous_until(at(end - 1)), Some(at(end)));
    assert_eq!(bed.info().previous_until(at(end)), None);
    assert_eq!(bed.told(), [(FactKind::Set, Some(1)), (FactKind::Rotated, Some(2))]);
}

#[tokio::test]
async fn without_an_overlap_every_value_before_stops_at_once() {
    let bed = Bed::new().await;
    bed.rotate("one", 0, 0).await;
    bed.rotate("two", 24, 1).await;
    bed.rotate("three", 0, 2).await;
    assert_eq!(bed.active(2), ["three"]);
    assert!(bed.info().previous.is_empty());
}

#[tokio::test]
async fn a_second_rotation_in_the_window_of_the_first_keeps_both_and_there_are_never_more_than_the_bound() {
    let bed = Bed::new().await;
    for (now, text) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        bed.rotate(text, 24, now as u64).await;
    }
    assert_eq!(bed.active(5), ["e", "d", "c", "b"]);
    assert_eq!(bed.info().previous.len(), PREVIOUS_MAX);
    // One whose window is over is not carried on.
    bed.rotate("f", 1, 24 * HOUR + 3).await;
    assert_eq!(bed.active(24 * HOUR + 3), ["f", "e", "d"]);
}

#[tokio::test]
async fn an_overlap_has_a_bound() {
    let bed = Bed::new().await;
    for (overlap, good) in [(OVERLAP_MAX, true), (OVERLAP_MAX + Duration::from_millis(1), false)] {
        let change = Change {
            overlap,
            ..Change::new(secret("x"), at(0))
        };
        let put = bed.put(change).await;
        assert_eq!(matches!(put, Err(VaultError::OverlapTooLong)), !good, "{put:?}");
    }
}

#[tokio::test]
async fn a_change_that_expects_another_edition_changes_nothing() {
    let bed = Bed::new().await;
    let expecting = |expect, text: &str, now| Change {
        expect,
        ..Change::new(secret(text), at(now))
    };
    assert_eq!(bed.put(expecting(Expect::Absent, "one", 1)).await.unwrap(), 1);
    let first = bed.edition();
    let refused = bed.put(expecting(Expect::Absent, "two", 2)).await;
    assert!(matches!(refused, Err(VaultError::Conflict { .. })));
    assert_eq!(bed.put(expecting(Expect::Edition(first), "two", 2)).await.unwrap(), 2);
    let refused = bed.put(expecting(Expect::Edition(first), "three", 3)).await;
    assert!(matches!(refused, Err(VaultError::Conflict { .. })));
    assert_eq!(bed.active(3), ["two"]);
    assert_eq!(bed.told().len(), 2, "what was not changed is not told");

    // Version 1 of a credential that was removed and set again is not the version 1 of before.
    let remove = bed
        .vault
        .remove(&bed.workspace, &bed.connection, &bed.credential, None, at(4));
    assert!(remove.await.unwrap());
    bed.rotate("again", 0, 5).await;
    assert_eq!(bed.edition().version, first.version);
    let refused = bed.put(expecting(Expect::Edition(first), "stale", 6)).await;
    assert!(matches!(refused, Err(VaultError::Conflict { .. })));
    let gone = Bed::new().await;
    let refused = gone.put(expecting(Expect::Edition(first), "stale", 6)).await;
    assert!(matches!(refused, Err(VaultError::Conflict { .. })));
}

#[tokio::test]
async fn of_two_that_replace_the_same_edition_one_wins() {
    let bed = Bed::new().await;
    bed.rotate("one", 0, 0).await;
    let edition = bed.edition();
    let replace = |text: &str| {
        bed.put(Change {
            expect: Expect::Edition(edition),
            cause: Cause::Refreshed,
            ..Change::new(secret(text), at(1))
        })
    };
    let (a, b) = tokio::join!(replace("a"), replace("b"));
    assert_eq!([&a, &b].iter().filter(|it| it.is_ok()).count(), 1, "{a:?} {b:?}");
    assert_eq!(bed.told(), [(FactKind::Set, Some(1)), (FactKind::Refreshed, Some(2))]);
}

#[tokio::test]
async fn an_expiry_that_is_learnt_belongs_to_the_value_that_it_was_learnt_of() {
    let bed = Bed::new().await;
    bed.rotate("old", 0, 0).await;
    bed.rotate("new", 24, 1).await;
    let edition = bed.edition();
    let note = |edition, expires_at| {
        bed.vault.note_expiry(
            &bed.workspace,
            &bed.connection,
            &bed.credential,
            edition,
            at(expires_at),
        )
    };
    assert!(note(edition, 500).await.unwrap());
    assert!(!note(edition, 500).await.unwrap());
    assert_eq!((bed.info().expires_at, bed.info().version), (Some(at(500)), 2));
    assert_eq!(bed.active(2), ["new", "old"]);
    bed.rotate("newer", 24, 3).await;
    assert_eq!(bed.info().expires_at, None);
    assert!(matches!(note(edition, 600).await, Err(VaultError::Conflict { .. })));
}

#[tokio::test]
async fn a_damaged_value_is_replaced_and_not_accepted_any_more() {
    let bed = Bed::new().await;
    bed.rotate("old", 0, 0).await;
    let place = Place {
        workspace: &bed.workspace,
        connection: &bed.connection,
        credential: &bed.credential,
    };
    let mut bytes = bed.vault.store.get(credential_key(place)).unwrap().unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    // The secret's seal is broken and the data key's is not: what is carried on must be known to open.
    let mut batch = Batch::new();
    batch.put(credential_key(place), bytes);
    bed.vault.store.commit(batch).await.unwrap();
    bed.rotate("new", 24, 1).await;
    assert_eq!(bed.active(1), ["new"]);
}

#[tokio::test]
async fn what_goes_with_a_connection_is_told_in_the_batch_of_the_caller() {
    let bed = Bed::new().await;
    bed.rotate("one", 0, 0).await;
    let mut batch = Batch::new();
    let removed = bed
        .vault
        .remove_all(&mut batch, &bed.workspace, &bed.connection, Some("admin"), at(1));
    assert_eq!(removed.unwrap(), 1);
    assert_eq!(bed.told().len(), 1, "nothing happened yet");
    bed.vault.store.commit(batch).await.unwrap();
    assert_eq!(bed.told(), [(FactKind::Set, Some(1)), (FactKind::Removed, Some(1))]);
    assert!(bed.active(1).is_empty());
}

#[tokio::test]
async fn a_fact_that_says_the_same_again_is_counted_and_not_written() {
    let bed = Bed::new().await;
    let counted = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = Arc::clone(&counted);
    bed.vault.observed_by(move |kind| {
        assert_eq!(kind, FactKind::Reflected);
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let reflected = |detail: &'static str, now| {
        let news = News {
            detail: Some(detail),
            ..News::of(FactKind::Reflected)
        };
        bed.vault
            .record(&bed.workspace, &bed.connection, &bed.credential, news, at(now))
    };
    assert!(reflected("upstream a", 0).await.unwrap().is_some());
    assert!(reflected("upstream a", HOUR - 1).await.unwrap().is_none());
    assert!(reflected("upstream b", HOUR - 1).await.unwrap().is_some());
    assert!(reflected("upstream a", HOUR).await.unwrap().is_some());
    assert_eq!(bed.told().len(), 3);
    assert_eq!(counted.load(std::sync::atomic::Ordering::Relaxed), 4);
}
