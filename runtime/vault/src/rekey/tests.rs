use std::time::Duration;

use super::*;
use crate::change::Change;
use crate::key::KeySource;
use crate::secret::Secret;
use crate::vault::Vault;

const FILE: &str = "/keys/vault.key.2";

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn key(byte: &str) -> VaultKey {
    VaultKey::load(KeySource::Env(byte.repeat(32))).unwrap()
}

/// More credentials than fit in two batches; the first with a value before it that is accepted.
const CREDENTIALS: usize = 2 * PAGE + 5;

async fn filled() -> Store {
    let store = Store::in_memory();
    let vault = Vault::open(store.clone(), key("11")).await.unwrap();
    let (workspace, connection) = ("w".parse().unwrap(), "c".parse().unwrap());
    let put = async |number: usize, text: String| {
        let change = Change {
            overlap: Duration::from_secs(60),
            ..Change::new(Secret::new(text.into_bytes()).unwrap(), at(0))
        };
        let name = format!("k-{number}").parse().unwrap();
        vault.put(&workspace, &connection, &name, change).await.unwrap();
    };
    put(0, "before".to_owned()).await;
    for number in 0..CREDENTIALS {
        put(number, format!("value {number}")).await;
    }
    store
}

/// Everything opens with this key, and every value is what it was.
async fn holds_everything(store: &Store, with: &str) {
    let vault = Vault::open(store.clone(), key(with)).await.unwrap();
    let (workspace, connection) = ("w".parse().unwrap(), "c".parse().unwrap());
    for number in 0..CREDENTIALS {
        let name = format!("k-{number}").parse().unwrap();
        let active = vault.active(&workspace, &connection, &name, at(1)).unwrap();
        let texts: Vec<_> = active
            .iter()
            .map(|secret| String::from_utf8_lossy(secret.expose()).into_owned())
            .collect();
        let mut expected = vec![format!("value {number}")];
        if number == 0 {
            expected.push("before".to_owned());
        }
        assert_eq!(texts, expected);
    }
    assert_eq!(vault.list(&workspace, None).unwrap().len(), CREDENTIALS);
    let left = store.scan(&Scan::prefix(staged_key(), 10)).unwrap();
    assert!(
        left.is_empty() && under_way(store).unwrap().is_none(),
        "nothing is left behind"
    );
}

async fn refused(store: &Store, with: &str) -> String {
    let before = store.scan(&Scan::prefix(Key::of(Keyspace::Vault), 4096)).unwrap();
    let error = Vault::open(store.clone(), key(with)).await.err().unwrap();
    assert!(matches!(error, VaultError::WrongKey(_)), "{error}");
    assert_eq!(
        store.scan(&Scan::prefix(Key::of(Keyspace::Vault), 4096)).unwrap(),
        before
    );
    let text = error.to_string();
    assert!(!text.contains('\n'));
    text
}

/// Runs a rekey that is cut off before commit number `crash_at`; what it did until then, and how it ended.
async fn cut_off(store: &Store, crash_at: usize) -> (Vec<RekeyStep>, Result<Rekeyed, VaultError>) {
    let mut steps = Vec::new();
    let ended = rekey(store, &key("11"), &key("22"), FILE, at(7), &mut |step| {
        if steps.len() == crash_at {
            return ControlFlow::Break(());
        }
        steps.push(step);
        ControlFlow::Continue(())
    })
    .await;
    (steps, ended)
}

#[tokio::test]
async fn a_rekeyed_vault_opens_with_the_new_key_and_says_so_to_who_brings_the_old_one() {
    let store = filled().await;
    let (steps, ended) = cut_off(&store, usize::MAX).await;
    assert_eq!(ended.unwrap(), Rekeyed::Done(CREDENTIALS as u64));
    assert!(steps.contains(&RekeyStep::Switch) && steps.contains(&RekeyStep::Seal(CREDENTIALS as u64)));
    holds_everything(&store, "22").await;
    let said = refused(&store, "11").await;
    assert!(
        said.contains(FILE) && said.contains("1970-01-01T00:00:00.007Z"),
        "{said}"
    );
    assert_eq!(cut_off(&store, usize::MAX).await.1.unwrap(), Rekeyed::Already);
}

#[tokio::test]
async fn a_crash_before_any_commit_leaves_a_vault_that_exactly_one_key_opens() {
    let all = cut_off(&filled().await, usize::MAX).await.0;
    let mut switched_ones = 0;
    for crash_at in 0..all.len() {
        for by in ["opening", "another rekey"] {
            let store = filled().await;
            let (steps, ended) = cut_off(&store, crash_at).await;
            assert!(matches!(ended, Err(VaultError::Interrupted)), "{crash_at}");
            assert_eq!(steps, all[..crash_at]);
            let switched = steps.contains(&RekeyStep::Switch);
            switched_ones += usize::from(switched);
            let (right, wrong) = if switched { ("22", "11") } else { ("11", "22") };
            let said = refused(&store, wrong).await;
            assert_eq!(
                said.contains("was interrupted"),
                !switched && crash_at > 0,
                "{crash_at}: {said}"
            );
            assert_eq!(said.contains(FILE), crash_at > 0, "{crash_at}: {said}");
            if by == "opening" {
                holds_everything(&store, right).await;
                refused(&store, wrong).await;
            } else {
                let again = cut_off(&store, usize::MAX).await.1.unwrap();
                let expected = if switched {
                    Rekeyed::Finished
                } else {
                    Rekeyed::Done(CREDENTIALS as u64)
                };
                assert_eq!(again, expected, "{crash_at}");
                holds_everything(&store, "22").await;
                refused(&store, "11").await;
            }
        }
    }
    assert!(switched_ones >= 2 * 3, "crashes behind the switch were among them");
}

#[tokio::test]
async fn a_credential_that_does_not_unseal_keeps_the_old_key_in_its_place() {
    let store = filled().await;
    let last = store
        .scan(&Scan::prefix(credentials_key(), 4096))
        .unwrap()
        .pop()
        .unwrap();
    let mut batch = Batch::new();
    let mut bytes = last.1.clone();
    *bytes.last_mut().unwrap() ^= 1;
    batch.put(last.0.clone(), bytes);
    store.commit(batch).await.unwrap();
    let error = cut_off(&store, usize::MAX).await.1.unwrap_err();
    assert!(matches!(error, VaultError::Damaged { .. }), "{error}");
    let mut batch = Batch::new();
    batch.put(last.0, last.1);
    store.commit(batch).await.unwrap();
    holds_everything(&store, "11").await;
}

#[tokio::test]
async fn a_rekey_with_the_wrong_key_or_of_no_vault_changes_nothing() {
    let store = filled().await;
    let before = store.scan(&Scan::prefix(Key::of(Keyspace::Vault), 4096)).unwrap();
    let error = rekey(&store, &key("33"), &key("22"), FILE, at(1), &mut |_| {
        ControlFlow::Continue(())
    })
    .await;
    assert!(matches!(error, Err(VaultError::WrongKey(_))));
    assert_eq!(
        store.scan(&Scan::prefix(Key::of(Keyspace::Vault), 4096)).unwrap(),
        before
    );
    let same = rekey(&store, &key("11"), &key("11"), FILE, at(1), &mut |_| {
        ControlFlow::Continue(())
    })
    .await;
    assert_eq!(same.unwrap(), Rekeyed::Already);

    let empty = Store::in_memory();
    let error = rekey(&empty, &key("11"), &key("22"), FILE, at(1), &mut |_| {
        ControlFlow::Continue(())
    })
    .await;
    assert!(matches!(error, Err(VaultError::NoVault)));
}

#[tokio::test]
async fn the_name_of_a_file_cannot_drive_the_terminal_of_who_reads_the_error() {
    let store = filled().await;
    let file = format!("/keys/\u{1b}[2J\n{}", "x".repeat(2 * HINT_CHARS_MAX));
    let done = rekey(&store, &key("11"), &key("22"), &file, at(7), &mut |_| {
        ControlFlow::Continue(())
    })
    .await;
    done.unwrap();
    let said = refused(&store, "11").await;
    assert!(
        said.contains("/keys/\u{fffd}[2J\u{fffd}xxx") && said.len() < 2 * HINT_CHARS_MAX,
        "{said}"
    );
}
