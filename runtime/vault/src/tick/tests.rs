use std::time::Duration;

use cofferdam_domain::{ConnectionName, CredentialName, WorkspaceName};
use cofferdam_store::{Batch, Store};

use super::*;
use crate::change::Change;
use crate::key::{KeySource, VaultKey};
use crate::secret::Secret;
use crate::vault::credential_key;

const DAY_MS: u64 = 24 * 3_600_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

struct Bed {
    vault: Vault,
    workspace: WorkspaceName,
    connection: ConnectionName,
}

impl Bed {
    async fn new() -> Self {
        let key = VaultKey::load(KeySource::Env("11".repeat(32))).unwrap();
        Self {
            vault: Vault::open(Store::in_memory(), key).await.unwrap(),
            workspace: "w".parse().unwrap(),
            connection: "c".parse().unwrap(),
        }
    }

    async fn put(&self, name: &str, expires_at: Option<u64>, overlap_ms: u64, now: u64) {
        let change = Change {
            expires_at: expires_at.map(at),
            overlap: Duration::from_millis(overlap_ms),
            ..Change::new(Secret::new(format!("value at {now}").into_bytes()).unwrap(), at(now))
        };
        let name: CredentialName = name.parse().unwrap();
        self.vault
            .put(&self.workspace, &self.connection, &name, change)
            .await
            .unwrap();
    }

    async fn tick(&self, now: u64) -> (Vec<(String, FactKind)>, Option<u64>) {
        let ticked = self.vault.tick(at(now), Overlaps::End).await.unwrap();
        assert_eq!(ticked.damaged, 0);
        let facts = ticked.facts.iter().map(|fact| (fact.credential.to_string(), fact.kind));
        (facts.collect(), ticked.next_at.map(Timestamp::as_millis))
    }

    fn sealed(&self, name: &str) -> Option<Vec<u8>> {
        let credential: CredentialName = name.parse().unwrap();
        let place = Place {
            workspace: &self.workspace,
            connection: &self.connection,
            credential: &credential,
        };
        self.vault.store.get(credential_key(place)).unwrap()
    }
}

#[tokio::test]
async fn an_expiry_is_told_at_each_moment_once_also_by_another_process() {
    let bed = Bed::new().await;
    bed.put("token", Some(10 * DAY_MS), 0, 0).await;
    assert_eq!(bed.tick(0).await, (vec![], Some(3 * DAY_MS)));
    assert_eq!(bed.tick(3 * DAY_MS - 1).await, (vec![], Some(3 * DAY_MS)));
    let expiring = ("token".to_owned(), FactKind::Expiring);
    assert_eq!(bed.tick(3 * DAY_MS).await, (vec![expiring.clone()], Some(9 * DAY_MS)));
    assert_eq!(bed.tick(3 * DAY_MS).await, (vec![], Some(9 * DAY_MS)));

    let key = VaultKey::load(KeySource::Env("11".repeat(32))).unwrap();
    let restarted = Bed {
        vault: Vault::open(bed.vault.store.clone(), key).await.unwrap(),
        ..bed
    };
    assert_eq!(restarted.tick(4 * DAY_MS).await, (vec![], Some(9 * DAY_MS)));
    assert_eq!(restarted.tick(9 * DAY_MS).await, (vec![expiring], Some(10 * DAY_MS)));
    let expired = ("token".to_owned(), FactKind::Expired);
    assert_eq!(restarted.tick(10 * DAY_MS).await, (vec![expired], None));
    assert_eq!(restarted.tick(20 * DAY_MS).await, (vec![], None));
    // A new value begins anew.
    restarted.put("token", Some(40 * DAY_MS), 0, 20 * DAY_MS).await;
    assert_eq!(restarted.tick(20 * DAY_MS).await, (vec![], Some(33 * DAY_MS)));
}

#[tokio::test]
async fn a_value_whose_time_is_over_leaves_the_store() {
    let bed = Bed::new().await;
    bed.put("token", None, 0, 0).await;
    bed.put("token", None, 1_000, 10).await;
    let with_both = bed.sealed("token").unwrap().len();
    assert_eq!(bed.tick(1_009).await, (vec![], Some(1_010)));
    let ended = ("token".to_owned(), FactKind::OverlapEnded);
    assert_eq!(bed.tick(1_010).await, (vec![ended], None));
    assert!(bed.sealed("token").unwrap().len() < with_both - 72);
    let name = "token".parse().unwrap();
    let present = bed.vault.reveal(&bed.workspace, &bed.connection, &name).unwrap();
    assert_eq!(present.unwrap().expose(), b"value at 10");
}

#[tokio::test]
async fn more_than_a_tick_may_change_is_done_by_the_next() {
    let bed = Bed::new().await;
    for number in 0..TICK_CHANGES_MAX + 3 {
        bed.put(&format!("token-{number}"), Some(100), 0, 0).await;
    }
    let (first, next_at) = bed.tick(100).await;
    assert_eq!((first.len(), next_at), (TICK_CHANGES_MAX, Some(100)));
    let (second, next_at) = bed.tick(100).await;
    assert_eq!((second.len(), next_at), (3, None));
    let expiries = bed.vault.tick(at(100), Overlaps::End).await.unwrap().expiries;
    assert_eq!(expiries.len(), TICK_CHANGES_MAX + 3);
}

#[tokio::test]
async fn a_damaged_credential_keeps_nobody_from_being_told() {
    let bed = Bed::new().await;
    bed.put("a", Some(100), 0, 0).await;
    bed.put("b", Some(100), 0, 0).await;
    bed.put("c", Some(100), 0, 0).await;
    let damage = |name: &str, at: usize| {
        let mut bytes = bed.sealed(name).unwrap();
        bytes[at] ^= 0xff;
        let credential: CredentialName = name.parse().unwrap();
        let place = Place {
            workspace: &bed.workspace,
            connection: &bed.connection,
            credential: &credential,
        };
        let mut batch = Batch::new();
        batch.put(credential_key(place), bytes);
        batch
    };
    bed.vault.store.commit(damage("a", 0)).await.unwrap();
    bed.vault.store.commit(damage("b", 70)).await.unwrap();
    let ticked = bed.vault.tick(at(100), Overlaps::End).await.unwrap();
    assert_eq!(ticked.damaged, 2);
    let told: Vec<_> = ticked.facts.iter().map(|fact| fact.credential.as_str()).collect();
    assert_eq!(told, ["c"]);
}
