//! Bodies at rest under real keys, through the queue that stores them. Time is an argument throughout.

mod conforms;
mod forms;
mod keys;
mod on_disk;

use std::time::Duration;

use cofferdam_domain::attempt::AttemptEnd;
use cofferdam_domain::classify::Failure;
use cofferdam_domain::event::Stamp;
use cofferdam_domain::{
    ConnectionName, DeliveryId, DeliveryState, EventDraft, FailureClass, Origin, Outcome, Receipt, Usage,
};
use cofferdam_queue::{Accept, Bodies, LeaseTerms, Leased, Owed, Queue as _, Retention, Settlement, StoreQueue};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;
use crate::key::KeySource;

/// How bodies are kept from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    /// As in a store from before there were seals.
    NoSeal,
    Plain,
    Sealed,
}

fn vault_key(byte: &str) -> VaultKey {
    VaultKey::load(KeySource::Env(byte.repeat(32))).unwrap()
}

fn body_keys(store: &Store, byte: &str) -> BodyKeys {
    BodyKeys {
        store: store.clone(),
        vault_key: Arc::new(vault_key(byte)),
        cache: Arc::default(),
    }
}

/// A queue as the next process opens it.
async fn queue_of(store: &Store, keeps: Keeps, now: Timestamp) -> StoreQueue {
    let keys = || Arc::new(body_keys(store, "11"));
    let bodies = match keeps {
        Keeps::NoSeal => Bodies::Plain,
        Keeps::Plain => Bodies::PlainFromNowOn(keys()),
        Keeps::Sealed => Bodies::Sealed(keys()),
    };
    StoreQueue::open_with(store.clone(), bodies, now, rng()).await.unwrap()
}

fn rng() -> StdRng {
    use std::cell::Cell;
    thread_local!(static SEED: Cell<u64> = const { Cell::new(0) });
    StdRng::seed_from_u64(SEED.replace(SEED.get() + 1))
}

/// The first moment of a day in 2026, and milliseconds after it.
fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(20_775 * DAY_MS + millis)
}

fn home() -> WorkspaceName {
    WorkspaceName::default()
}

fn sink() -> ConnectionName {
    "sink".parse().unwrap()
}

fn owed_in(workspace: &WorkspaceName, body: &[u8], now: Timestamp) -> Accept {
    let draft = EventDraft {
        kind: "com.example.made".into(),
        source: "/example".into(),
        subject: None,
        time: None,
        data_content_type: "application/json".into(),
        data_schema: None,
        extensions: [].into(),
        data: body.to_vec(),
        dedupe_key: None,
    };
    let stamp = Stamp {
        workspace: workspace.clone(),
        origin: Origin::Api("tests".into()),
        correlation_id: None,
        trace: None,
        received_at: now,
        body_bytes_max: 2 << 20,
    };
    let new = draft.stamp(stamp, &mut rng()).unwrap();
    Accept::new(new, vec![Owed::deliver(sink(), Duration::ZERO)])
}

fn owed(body: &[u8], now: Timestamp) -> Accept {
    owed_in(&home(), body, now)
}

async fn accept(queue: &StoreQueue, body: &[u8], now: Timestamp) -> (EventId, DeliveryId) {
    let accepted = queue.accept(vec![owed(body, now)], now).await.unwrap().remove(0);
    (accepted.event_id, accepted.deliveries[0])
}

async fn lease(queue: &StoreQueue, now: Timestamp) -> Option<Leased> {
    let terms = LeaseTerms {
        now,
        lease_for: Duration::from_secs(60),
        max: 1,
        max_age: None,
    };
    queue.lease(&home(), &sink(), terms).await.unwrap()
}

async fn settle(queue: &StoreQueue, leased: Leased, outcome: Outcome, now: Timestamp) {
    let failure = (outcome != Outcome::Delivered).then(|| Failure {
        class: FailureClass::Schema,
        code: None,
        message: "it did not work".into(),
        ambiguous: false,
        retry_after_ms: None,
    });
    let end = AttemptEnd {
        at: now,
        connector: None,
        receipt: (outcome == Outcome::Delivered).then(Receipt::default),
        outcome,
        failure,
        trail: Vec::new(),
        logs: Vec::new(),
        logs_dropped: 0,
        usage: Usage::default(),
    };
    let settlement = Settlement {
        end,
        lane: Vec::new(),
        produced: Vec::new(),
        kept: Default::default(),
        now,
    };
    queue.settle(leased, settlement).await.unwrap();
}

/// The records of all keys, with the places that they are in.
fn key_records(store: &Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    store.scan(&Scan::prefix(body_keys_key(), 999)).unwrap()
}

/// Where the body of an event lies when it is sealed.
fn sealed_at(event: EventId) -> Key {
    Key::of(Keyspace::Body)
        .text(home().as_str())
        .bytes(event.as_bytes())
        .bytes(&[1])
}
