use cofferdam_domain::{ConnectionName, CredentialName, WorkspaceName};

use super::*;
use crate::key::KeySource;

struct Names(WorkspaceName, ConnectionName, CredentialName);

impl Names {
    fn new(workspace: &str, connection: &str, credential: &str) -> Self {
        Self(
            workspace.parse().unwrap(),
            connection.parse().unwrap(),
            credential.parse().unwrap(),
        )
    }

    fn place(&self) -> Place<'_> {
        Place {
            workspace: &self.0,
            connection: &self.1,
            credential: &self.2,
        }
    }
}

fn key(byte: &str) -> VaultKey {
    VaultKey::load(KeySource::Env(byte.repeat(KEY_BYTES))).unwrap()
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec()).unwrap()
}

fn head(version: u64, previous: &[(u64, u64)]) -> Head {
    let previous = previous.iter().map(|(version, until)| Previous {
        version: *version,
        until: at(*until),
    });
    Head {
        version,
        expires_at: Some(at(77)),
        previous: previous.collect(),
        ..Head::first(at(1))
    }
}

/// Version 3, with versions 2 and 1 accepted before 20 and 10.
fn rotated(names: &Names) -> Record {
    let (key, place) = (key("11"), names.place());
    let first = Record::seal(&key, place, head(1, &[]), &secret("first")).unwrap();
    let second = first.succeeded(&key, place, head(2, &[(1, 10)]), &secret("second"));
    let third = second
        .unwrap()
        .succeeded(&key, place, head(3, &[(2, 20), (1, 10)]), &secret("third"));
    Record::decode(&third.unwrap().encode()).unwrap()
}

fn exposed(secrets: Result<Vec<Secret>, OpenError>) -> Result<Vec<String>, OpenError> {
    secrets.map(|secrets| secrets.iter().map(text).collect())
}

fn text(secret: &Secret) -> String {
    String::from_utf8(secret.expose().to_vec()).unwrap()
}

/// A record as the first version of this vault wrote it.
fn format_1(key: &VaultKey, place: Place<'_>, secret: &str) -> Vec<u8> {
    let mut head = vec![FORMAT_1];
    for number in [4_u64, 1, 2] {
        head.extend(number.to_be_bytes());
    }
    let aad = |layer: &[u8]| associated(b"cofferdam/vault/1/", layer, place, &head);
    let data_key = data_key().unwrap();
    let wrapped = wrap(key, &aad(b"data key"), &*data_key).unwrap();
    let sealed = seal(&data_key, &aad(b"secret"), secret.as_bytes()).unwrap();
    [head.clone(), wrapped, sealed].concat()
}

#[test]
fn a_record_opens_in_its_own_place_and_under_its_own_key_only() {
    let home = Names::new("w", "ab", "c");
    let record = rotated(&home);
    assert_eq!(
        record.open(&key("11"), home.place()).map(|it| text(&it)),
        Ok("third".to_owned())
    );
    for (workspace, connection, credential) in [("x", "ab", "c"), ("w", "x", "c"), ("w", "ab", "x"), ("w", "a", "bc")] {
        let other = Names::new(workspace, connection, credential);
        assert_eq!(record.open(&key("11"), other.place()).err(), Some(OpenError::Refused));
        assert_eq!(
            exposed(record.open_previous(&key("11"), other.place(), at(0))),
            Err(OpenError::Refused)
        );
    }
    assert_eq!(record.open(&key("22"), home.place()).err(), Some(OpenError::Refused));
    assert_eq!(
        exposed(record.open_previous(&key("22"), home.place(), at(0))),
        Err(OpenError::Refused)
    );
}

#[test]
fn a_value_before_is_accepted_before_its_moment_and_not_at_it() {
    let home = Names::new("w", "c", "k");
    let record = rotated(&home);
    for (now, expected) in [
        (0, &["second", "first"][..]),
        (9, &["second", "first"]),
        (10, &["second"]),
        (19, &["second"]),
        (20, &[]),
    ] {
        let found = exposed(record.open_previous(&key("11"), home.place(), at(now))).unwrap();
        assert_eq!(found, expected, "at {now}");
    }
}

/// Whatever is changed, either the record is refused, or what was asked of it is what was sealed.
#[test]
fn every_changed_bit_and_every_cut_is_noticed() {
    let home = Names::new("w", "c", "k");
    let all = |bytes: &[u8]| -> Result<(), OpenError> {
        let record = Record::decode(bytes)?;
        record.open(&key("11"), home.place())?;
        record.open_previous(&key("11"), home.place(), at(0)).map(drop)
    };
    for bytes in [rotated(&home).encode(), format_1(&key("11"), home.place(), "old")] {
        assert_eq!(all(&bytes), Ok(()));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(all(&changed).is_err(), "byte {at}");
            assert!(all(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(all(&[&bytes[..], b"x"].concat()).is_err());
    }
}

#[test]
fn a_value_before_cannot_be_put_in_the_place_of_the_present_one() {
    let home = Names::new("w", "c", "k");
    let mut record = rotated(&home);
    std::mem::swap(&mut record.present, &mut record.previous[0]);
    assert_eq!(record.open(&key("11"), home.place()).err(), Some(OpenError::Refused));
    let mut record = rotated(&home);
    record.previous.swap(0, 1);
    assert_eq!(
        exposed(record.open_previous(&key("11"), home.place(), at(0))),
        Err(OpenError::Refused)
    );
}

#[test]
fn another_head_seals_no_secret_anew_and_may_drop_values_before() {
    let home = Names::new("w", "c", "k");
    let record = rotated(&home);
    let changed = record
        .with_head(
            &key("11"),
            home.place(),
            Head {
                expires_at: None,
                ..head(3, &[(2, 20)])
            },
        )
        .unwrap();
    assert_eq!(changed.present.secret, record.present.secret);
    assert_ne!(changed.present.key, record.present.key);
    let changed = Record::decode(&changed.encode()).unwrap();
    assert_eq!(changed.head.expires_at, None);
    assert_eq!(
        changed.open(&key("11"), home.place()).map(|it| text(&it)),
        Ok("third".to_owned())
    );
    assert_eq!(
        exposed(changed.open_previous(&key("11"), home.place(), at(0))).unwrap(),
        ["second"]
    );
}

#[test]
fn a_record_of_the_first_format_is_read_and_becomes_one_of_the_second_without_loss() {
    let (home, key) = (Names::new("w", "c", "k"), key("11"));
    let old = Record::decode(&format_1(&key, home.place(), "old")).unwrap();
    assert_eq!(
        (old.head.version, old.head.created_at, old.head.updated_at),
        (4, at(1), at(2))
    );
    assert_eq!(old.open(&key, home.place()).map(|it| text(&it)), Ok("old".to_owned()));
    assert_eq!(old.encode()[..1], [FORMAT_1], "unchanged, it stays as it is");

    let noted = old
        .with_head(
            &key,
            home.place(),
            Head {
                expires_at: Some(at(9)),
                ..old.head.clone()
            },
        )
        .unwrap();
    let noted = Record::decode(&noted.encode()).unwrap();
    assert_eq!((noted.head.version, noted.head.expires_at), (4, Some(at(9))));
    assert_eq!(noted.open(&key, home.place()).map(|it| text(&it)), Ok("old".to_owned()));

    let next = old
        .succeeded(&key, home.place(), head(5, &[(4, 20)]), &secret("new"))
        .unwrap();
    let next = Record::decode(&next.encode()).unwrap();
    assert_eq!(next.open(&key, home.place()).map(|it| text(&it)), Ok("new".to_owned()));
    assert_eq!(exposed(next.open_previous(&key, home.place(), at(0))).unwrap(), ["old"]);
}

#[test]
fn a_record_under_another_vault_key_keeps_every_secret_as_it_was_sealed() {
    let home = Names::new("w", "c", "k");
    let first = Record::decode(&format_1(&key("11"), home.place(), "old")).unwrap();
    for (record, present, previous) in [(rotated(&home), "third", &["second", "first"][..]), (first, "old", &[])] {
        let moved = record.rewrapped(&key("11"), &key("22"), home.place()).unwrap();
        let moved = Record::decode(&moved.encode()).unwrap();
        assert_eq!(moved.head, record.head);
        assert_eq!(moved.present.secret, record.present.secret);
        assert_eq!(
            moved.open(&key("22"), home.place()).map(|it| text(&it)),
            Ok(present.to_owned())
        );
        assert_eq!(
            exposed(moved.open_previous(&key("22"), home.place(), at(0))).unwrap(),
            previous
        );
        assert_eq!(moved.open(&key("11"), home.place()).err(), Some(OpenError::Refused));
        assert!(record.rewrapped(&key("22"), &key("11"), home.place()).is_err());
    }
}
