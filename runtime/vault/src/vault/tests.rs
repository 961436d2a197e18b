use std::fs;
use std::path::Path;

use cofferdam_store::OpenOptions;
use data_encoding::{BASE64_NOPAD, HEXLOWER};

use super::*;
use crate::key::KeySource;

const SECRET: &[u8] = b"xoxb-the-most-secret-value-of-all";

fn store(dir: &Path) -> Store {
    Store::open(&OpenOptions::new(dir).cache_bytes(1024 * 1024)).unwrap()
}

fn key(byte: &str) -> VaultKey {
    VaultKey::load(KeySource::Env(byte.repeat(32))).unwrap()
}

struct Names {
    workspace: WorkspaceName,
    connection: ConnectionName,
    credential: CredentialName,
}

fn names(workspace: &str, connection: &str, credential: &str) -> Names {
    Names {
        workspace: workspace.parse().unwrap(),
        connection: connection.parse().unwrap(),
        credential: credential.parse().unwrap(),
    }
}

async fn set(vault: &Vault, at: &Names, secret: &[u8], now: u64) -> u64 {
    let secret = Secret::new(secret.to_vec()).unwrap();
    let now = Timestamp::from_millis(now);
    vault
        .set(&at.workspace, &at.connection, &at.credential, secret, now)
        .await
        .unwrap()
}

async fn remove(vault: &Vault, at: &Names, now: u64) -> bool {
    let now = Timestamp::from_millis(now);
    vault
        .remove(&at.workspace, &at.connection, &at.credential, None, now)
        .await
        .unwrap()
}

fn active(vault: &Vault, at: &Names, now: u64) -> Result<Vec<Vec<u8>>, VaultError> {
    let now = Timestamp::from_millis(now);
    let secrets = vault.active(&at.workspace, &at.connection, &at.credential, now)?;
    Ok(secrets.iter().map(|secret| secret.expose().to_vec()).collect())
}

fn reveal(vault: &Vault, at: &Names) -> Result<Option<Vec<u8>>, VaultError> {
    let secret = vault.reveal(&at.workspace, &at.connection, &at.credential)?;
    Ok(secret.map(|secret| secret.expose().to_vec()))
}

#[tokio::test]
async fn a_credential_survives_a_reopen_and_its_versions_count_up() {
    let dir = tempfile::tempdir().unwrap();
    let at = names("w", "slack", "token");
    let opened = store(dir.path());
    let vault = Vault::open(opened.clone(), key("11")).await.unwrap();
    assert_eq!(set(&vault, &at, b"old", 5).await, 1);
    assert_eq!(set(&vault, &at, SECRET, 6).await, 2);
    opened.close();
    drop((vault, opened));

    let vault = Vault::open(store(dir.path()), key("11")).await.unwrap();
    assert_eq!(reveal(&vault, &at).unwrap().as_deref(), Some(SECRET));
    assert_eq!(active(&vault, &at, 6).unwrap(), [SECRET]);
    let listed = vault.list(&at.workspace, None).unwrap();
    assert_eq!(
        listed,
        [CredentialInfo {
            workspace: at.workspace.clone(),
            connection: at.connection.clone(),
            name: at.credential.clone(),
            version: 2,
            created_at: Timestamp::from_millis(5),
            updated_at: Timestamp::from_millis(6),
            expires_at: None,
            renewal: Renewal::ByPerson,
            refreshed: false,
            previous: Vec::new(),
        }]
    );
    assert!(remove(&vault, &at, 7).await);
    assert!(!remove(&vault, &at, 8).await);
    assert!(!vault.exists(&at.workspace, &at.connection, &at.credential).unwrap());
    assert_eq!(reveal(&vault, &at).unwrap(), None);
}

#[tokio::test]
async fn a_wrong_key_is_one_clear_line_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let opened = store(dir.path());
    let at = names("w", "c", "k");
    set(&Vault::open(opened.clone(), key("11")).await.unwrap(), &at, SECRET, 1).await;
    let before = opened.scan(&Scan::prefix(Key::of(Keyspace::Vault), 10)).unwrap();
    let error = Vault::open(opened.clone(), key("22")).await.err().unwrap();
    assert!(matches!(error, VaultError::WrongKey(_)));
    assert!(!error.to_string().contains('\n'));
    assert_eq!(
        opened.scan(&Scan::prefix(Key::of(Keyspace::Vault), 10)).unwrap(),
        before
    );
    assert!(Vault::open(opened, key("11")).await.is_ok());
}

#[tokio::test]
async fn a_vault_that_lost_its_key_check_is_not_given_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let opened = store(dir.path());
    set(
        &Vault::open(opened.clone(), key("11")).await.unwrap(),
        &names("w", "c", "k"),
        SECRET,
        1,
    )
    .await;
    let mut batch = Batch::new();
    batch.delete(key_check_key());
    opened.commit(batch).await.unwrap();
    assert!(matches!(
        Vault::open(opened, key("22")).await,
        Err(VaultError::KeyCheckDamaged)
    ));
}

#[tokio::test]
async fn a_sealed_value_moved_to_another_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let opened = store(dir.path());
    let vault = Vault::open(opened.clone(), key("11")).await.unwrap();
    let home = names("w", "c", "k");
    set(&vault, &home, SECRET, 1).await;
    let place = |at: &Names| {
        credential_key(Place {
            workspace: &at.workspace,
            connection: &at.connection,
            credential: &at.credential,
        })
    };
    let sealed = opened.get(place(&home)).unwrap().unwrap();
    for other in [names("x", "c", "k"), names("w", "x", "k"), names("w", "c", "x")] {
        let mut batch = Batch::new();
        batch.put(place(&other), sealed.clone());
        opened.commit(batch).await.unwrap();
        assert!(matches!(reveal(&vault, &other), Err(VaultError::Damaged { .. })));
    }
    assert!(reveal(&vault, &home).is_ok());
}

#[tokio::test]
async fn a_listing_stays_in_its_workspace_and_connection() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(store(dir.path()), key("11")).await.unwrap();
    for (workspace, connection, credential) in [("w", "a", "1"), ("w", "a", "2"), ("w", "ab", "1"), ("wa", "a", "1")] {
        set(&vault, &names(workspace, connection, credential), SECRET, 1).await;
    }
    let check = |workspace: &str, connection: Option<&str>, expected: &[&str]| {
        let connection = connection.map(|name| name.parse().unwrap());
        let listed = vault.list(&workspace.parse().unwrap(), connection.as_ref()).unwrap();
        let found: Vec<_> = listed
            .iter()
            .map(|it| format!("{}/{}/{}", it.workspace, it.connection, it.name))
            .collect();
        assert_eq!(found, expected);
    };
    check("w", None, &["w/a/1", "w/a/2", "w/ab/1"]);
    check("w", Some("a"), &["w/a/1", "w/a/2"]);
    check("wa", None, &["wa/a/1"]);
    check("v", None, &[]);
}

#[tokio::test]
async fn concurrent_changes_each_get_a_version_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(store(dir.path()), key("11")).await.unwrap();
    let at = names("w", "c", "k");
    let (a, b, c) = tokio::join!(
        set(&vault, &at, b"a", 1),
        set(&vault, &at, b"b", 1),
        set(&vault, &at, b"c", 1)
    );
    let mut versions = [a, b, c];
    versions.sort_unstable();
    assert_eq!(versions, [1, 2, 3]);
}

#[tokio::test]
async fn no_form_of_a_secret_is_in_any_file_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let opened = store(dir.path());
    let vault = Vault::open(opened.clone(), key("11")).await.unwrap();
    set(&vault, &names("w", "c", "k"), SECRET, 1).await;
    opened.close();
    drop((vault, opened));

    let mut files = Vec::new();
    let mut dirs = vec![dir.path().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                files.push(fs::read(path).unwrap());
            }
        }
    }
    let holds = |needle: &[u8]| {
        files
            .iter()
            .any(|file| file.windows(needle.len()).any(|window| window == needle))
    };
    // The search itself works: names are in the clear.
    assert!(holds(b"credential"));
    let middle = &SECRET[..30];
    let base64 = BASE64_NOPAD.encode(middle);
    let key_bytes = [0x11; 32];
    for needle in [
        middle,
        base64.as_bytes(),
        HEXLOWER.encode(middle).as_bytes(),
        &key_bytes,
    ] {
        assert!(!holds(needle));
    }
}
