//! What somebody finds who has the disk and not the vault's key.

use std::fs;
use std::path::Path;

use cofferdam_store::{Engine, OpenOptions};

use super::*;

const MARKER: &[u8] = b"nobody-may-find-this-on-the-disk";

/// Whether any file below the folder holds these bytes.
fn holds(dir: &Path, wanted: &[u8]) -> bool {
    fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, wanted);
        }
        let bytes = fs::read(&path).unwrap();
        bytes.windows(wanted.len()).any(|window| window == wanted)
    })
}

/// A body that holds the marker, which an engine that compresses would not hide either.
fn body(bytes: usize) -> Vec<u8> {
    let mut body = MARKER.to_vec();
    body.resize(bytes.max(body.len()), b'.');
    body
}

#[tokio::test]
async fn no_byte_of_a_body_is_on_the_disk_unless_sealing_is_off() {
    for engine in [Engine::Sled, Engine::Redb] {
        for keeps in [Keeps::NoSeal, Keeps::Plain, Keeps::Sealed] {
            for bytes in [200, 20_000] {
                let dir = tempfile::tempdir().unwrap();
                let open = || Store::open(&OpenOptions::new(dir.path()).engine(engine).cache_bytes(4 << 20)).unwrap();
                let shows = |when: &str| {
                    let case = format!("{engine} {keeps:?} {bytes}: {when}");
                    assert_eq!(holds(dir.path(), MARKER), keeps != Keeps::Sealed, "{case}");
                };
                let store = open();
                let queue = queue_of(&store, keeps, at(0)).await;
                let (event, delivery) = accept(&queue, &body(bytes), at(0)).await;
                shows("accepted");
                let leased = lease(&queue, at(0)).await.unwrap();
                assert_eq!(leased.body, body(bytes));
                shows("under way");
                settle(&queue, leased, Outcome::Dead, at(1)).await;
                shows("dead");
                queue.replay(&home(), delivery, at(2), "anna").await.unwrap();
                shows("replayed");
                store.close();
                drop((queue, store));
                shows("closed");
                let store = open();
                let queue = queue_of(&store, keeps, at(3)).await;
                let leased = lease(&queue, at(3)).await.unwrap();
                assert_eq!((leased.event.id, leased.body.len()), (event, bytes));
                settle(&queue, leased, Outcome::Delivered, at(3)).await;
                drop((queue, store));
                shows("delivered by the next process");
            }
        }
    }
}

/// What is deleted lies in the files until they are rewritten: compaction leaves neither a body nor the key that it had.
#[tokio::test]
async fn compaction_leaves_no_trace_of_a_key_that_was_removed() {
    for engine in [Engine::Sled, Engine::Redb] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&OpenOptions::new(dir.path()).engine(engine).cache_bytes(4 << 20)).unwrap();
        let queue = queue_of(&store, Keeps::Sealed, at(0)).await;
        let (event, _) = accept(&queue, &body(200), at(0)).await;
        let leased = lease(&queue, at(0)).await.unwrap();
        settle(&queue, leased, Outcome::Delivered, at(0)).await;
        accept(&queue, b"of the next day", at(DAY_MS)).await;
        let key = key_records(&store).remove(0).1;
        let sealed = store.get(sealed_at(event)).unwrap().unwrap();
        assert!(
            holds(dir.path(), &key[1..]) && holds(dir.path(), &sealed[5..]),
            "{engine}"
        );
        let retention = Retention {
            bodies_days: 1,
            ..Retention::default()
        };
        while queue.retire(at(3 * DAY_MS), &retention).await.unwrap().more {}
        assert_eq!(key_records(&store).len(), 1, "{engine}");
        store.close();
        drop((queue, store));
        cofferdam_store::compact(dir.path(), None, &mut |_| {}).unwrap();
        assert!(
            !holds(dir.path(), &key[1..]) && !holds(dir.path(), &sealed[5..]),
            "{engine}"
        );
        let store = Store::open(&OpenOptions::new(dir.path()).engine(engine).cache_bytes(4 << 20)).unwrap();
        let queue = queue_of(&store, Keeps::Sealed, at(3 * DAY_MS)).await;
        let leased = lease(&queue, at(3 * DAY_MS)).await.unwrap();
        assert_eq!(leased.body, b"of the next day", "{engine}");
    }
}
