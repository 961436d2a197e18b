//! What the queue asks of a seal, with one that hides nothing: it turns each byte round, and keeps a key for each workspace
//! of all times. What real sealing promises is the vault's to test, through this queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cofferdam_domain::EventId;
use cofferdam_store::{Key, Keyspace, Scan};

use super::*;
use crate::body::{Bodies, BodyError, BodyPlace, BodySeal, KeySpan, Unsealed};
use crate::{QueueError, Retention, keys};

struct Turned {
    store: Store,
    sealed: AtomicUsize,
}

fn key_of(workspace: &WorkspaceName) -> Key {
    Key::of(Keyspace::Vault).text(workspace.as_str())
}

fn turned(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

impl BodySeal for Turned {
    fn seal(&self, batch: &mut Batch, bodies: &[Unsealed<'_>]) -> Result<Vec<Vec<u8>>, BodyError> {
        self.sealed.fetch_add(bodies.len(), Ordering::Relaxed);
        let mut sealed = Vec::new();
        for Unsealed { place, body } in bodies {
            if *body == b"unsealable" {
                return Err(BodyError::Unsealable("somebody says so".into()));
            }
            batch.put(key_of(place.workspace), "open");
            sealed.push([place.event.as_bytes(), &turned(body)[..]].concat());
        }
        Ok(sealed)
    }

    fn open(&self, place: BodyPlace<'_>, sealed: Vec<u8>) -> Result<Vec<u8>, BodyError> {
        match sealed.strip_prefix(place.event.as_bytes()) {
            Some(body) if self.store.get(key_of(place.workspace))?.is_some() => Ok(turned(body)),
            _ => Err(BodyError::Unopened("it does not open")),
        }
    }

    fn spans(&self, after: Option<&KeySpan>, _: usize) -> Result<Vec<KeySpan>, BodyError> {
        let key = self.store.get(key_of(&home()))?;
        let span = key.filter(|_| after.is_none()).map(|_| KeySpan {
            workspace: home(),
            from: at(0),
            until: at(1000),
        });
        Ok(span.into_iter().collect())
    }

    fn close(&self, batch: &mut Batch, span: &KeySpan) -> Result<(), BodyError> {
        batch.put(key_of(&span.workspace), "closed");
        Ok(())
    }

    fn forget(&self, batch: &mut Batch, span: &KeySpan) -> Result<(), BodyError> {
        let key = key_of(&span.workspace);
        batch.expect(key.clone(), "closed").delete(key);
        Ok(())
    }
}

async fn sealing(dir: &TempDir, now: Timestamp) -> (StoreQueue, Arc<Turned>) {
    let store = Store::open(&OpenOptions::new(dir.path()).cache_bytes(4 << 20)).unwrap();
    let seal = Arc::new(Turned {
        store: store.clone(),
        sealed: AtomicUsize::new(0),
    });
    let bodies = Bodies::Sealed(Arc::clone(&seal) as _);
    (StoreQueue::open_with(store, bodies, now, rng()).await.unwrap(), seal)
}

async fn accept(queue: &StoreQueue, body: &[u8], dedupe_key: Option<&str>) -> Accepted {
    let request = owed(body, dedupe_key, at(0));
    queue.accept(vec![request], at(0)).await.unwrap().remove(0)
}

/// The keys of all bodies, sealed or not.
fn bodies(queue: &StoreQueue) -> Vec<Vec<u8>> {
    queue.store.keys(&Scan::prefix(Key::of(Keyspace::Body), 99)).unwrap()
}

#[tokio::test]
async fn a_body_is_stored_sealed_and_handed_out_as_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, seal) = sealing(&dir, at(0)).await;
    let event = accept(&queue, b"{\"a\":1}", Some("key")).await.event_id;
    assert!(accept(&queue, b"{\"a\":1}", Some("key")).await.duplicate);
    assert_eq!(seal.sealed.load(Ordering::Relaxed), 1, "a duplicate is not sealed");
    let [key] = &bodies(&queue)[..] else {
        panic!("there is one body");
    };
    assert_eq!(key.as_slice(), keys::sealed_body(&home(), event).as_ref());
    assert!(queue.store.get(key).unwrap().unwrap().ends_with(&turned(b"{\"a\":1}")));
    assert_eq!(queue.depth(&home(), &sink()).pending_bytes, 7, "of the body as it came");
    let leased = queue.lease(&home(), &sink(), terms(at(0), 1)).await.unwrap().unwrap();
    assert_eq!(leased.body, b"{\"a\":1}");
}

#[tokio::test]
async fn a_queue_without_keys_refuses_what_is_sealed_and_reads_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let bed = Bed {
        queue: open(&dir, at(0)).await,
        dir,
    };
    let plain = accept(&bed.queue, b"plain", None).await.event_id;
    let Bed { dir, queue } = bed;
    drop(queue);
    let (queue, seal) = sealing(&dir, at(0)).await;
    let sealed = accept(&queue, b"sealed", None).await.event_id;
    let read = |queue: &StoreQueue, event: EventId| queue.body(&home(), event);
    assert_eq!(read(&queue, plain).unwrap().as_deref(), Some(&b"plain"[..]));
    assert_eq!(read(&queue, sealed).unwrap().as_deref(), Some(&b"sealed"[..]));
    drop((queue, seal));
    let queue = open(&dir, at(0)).await;
    assert_eq!(read(&queue, plain).unwrap().as_deref(), Some(&b"plain"[..]));
    let error = read(&queue, sealed).unwrap_err();
    assert!(matches!(error, QueueError::Body(BodyError::Unopened(_))), "{error}");
}

#[tokio::test]
async fn nothing_is_accepted_that_cannot_be_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, _seal) = sealing(&dir, at(0)).await;
    let requests = vec![owed(b"fine", None, at(0)), owed(b"unsealable", None, at(0))];
    let error = queue.accept(requests, at(0)).await.unwrap_err();
    assert!(error.is_outage(), "producers are told to come back: {error}");
    assert_eq!(queue.pending_total(), 0);
    assert_eq!(bodies(&queue), Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn retention_removes_a_body_however_it_lies_and_then_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(&dir, at(0)).await;
    accept(&queue, b"plain", None).await;
    drop(queue);
    let (queue, _seal) = sealing(&dir, at(0)).await;
    accept(&queue, b"sealed", None).await;
    assert_eq!(bodies(&queue).len(), 2);
    let retention = Retention {
        bodies_days: 1,
        ..Retention::default()
    };
    let retire = async |now| {
        let mut keys = 0;
        loop {
            let retired = queue.retire(now, &retention).await.unwrap();
            keys += retired.body_keys;
            if !retired.more {
                return keys;
            }
        }
    };
    let later = at(0).after(Duration::from_hours(48));
    assert_eq!(retire(later).await, 0, "they wait");
    for leased in queue.lease_many(&home(), &sink(), terms(at(0), 9)).await.unwrap() {
        let delivered = outcome(Outcome::Delivered, None, at(0));
        queue.settle(leased, delivered).await.unwrap();
    }
    assert_eq!(retire(later).await, 1);
    assert_eq!(bodies(&queue), Vec::<Vec<u8>>::new());
    assert_eq!(queue.store.get(key_of(&home())).unwrap(), None);
}
