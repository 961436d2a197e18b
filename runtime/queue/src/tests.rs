//! The queue's promises, each over a real store in a directory of its own. Time is an argument throughout.

mod abandon;
mod accept;
mod bodies;
mod conforms;
mod damage;
mod dead_letters;
mod kept;
mod lease;
mod order;
mod promises;
mod reads;
mod recover;
mod redrives;
mod retention;
mod settle;

use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use cofferdam_domain::attempt::AttemptEnd;
use cofferdam_domain::classify::Failure;
use cofferdam_domain::event::Stamp;
use cofferdam_domain::{
    ConnectionName, DeliveryState, EventDraft, FailureClass, LaneEffect, NewEvent, Origin, Outcome, Receipt, Timestamp,
    Usage, WorkspaceName,
};
use cofferdam_store::{Batch, OpenOptions, Store};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tempfile::TempDir;

use crate::{Accept, Accepted, Depth, LeaseTerms, Leased, Owed, Queue as _, Settlement, StoreQueue};

/// How long the tests' leases last.
const LEASE: Duration = Duration::from_secs(60);

fn terms(now: Timestamp, max: usize) -> LeaseTerms {
    LeaseTerms {
        now,
        lease_for: LEASE,
        max,
        max_age: None,
    }
}

/// A queue in a directory, which can be closed and opened again.
struct Bed {
    dir: TempDir,
    queue: StoreQueue,
}

impl Bed {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let queue = open(&dir, at(0)).await;
        Self { dir, queue }
    }

    /// Stops the process, as far as the queue can tell, and starts the next one.
    async fn reopened(self, now: Timestamp) -> Self {
        let Self { dir, queue } = self;
        drop(queue);
        let queue = open(&dir, now).await;
        Self { dir, queue }
    }

    async fn accept(&self, accept: Accept, now: Timestamp) -> Accepted {
        self.queue.accept(vec![accept], now).await.unwrap().remove(0)
    }

    async fn lease(&self, now: Timestamp) -> Option<Leased> {
        self.queue.lease(&home(), &sink(), terms(now, 1)).await.unwrap()
    }

    /// Nothing is committed until what this returns is dropped; what is asked for meanwhile is judged in that order.
    fn hold_commits(&self) -> Sender<()> {
        let (begin, begun) = mpsc::channel();
        let (held, end) = mpsc::channel();
        let mut batch = Batch::new();
        batch.then(move || {
            begin.send(()).unwrap();
            let _ = end.recv();
        });
        let store = self.queue.store.clone();
        thread::spawn(move || store.commit_blocking(batch).unwrap());
        begun.recv().unwrap();
        held
    }

    fn pending_bytes(&self) -> u64 {
        self.queue.depth(&home(), &sink()).pending_bytes
    }

    fn state(&self, leased: &Leased) -> DeliveryState {
        self.queue.delivery(&home(), leased.delivery.id).unwrap().unwrap().state
    }

    fn depth(&self) -> [u64; 4] {
        let Depth {
            pending,
            in_flight,
            dead,
            delivered,
            pending_bytes: _,
        } = self.queue.depth(&home(), &sink());
        [pending, in_flight, dead, delivered]
    }
}

async fn open(dir: &TempDir, now: Timestamp) -> StoreQueue {
    let store = Store::open(&OpenOptions::new(dir.path()).cache_bytes(4 << 20)).unwrap();
    StoreQueue::open(store, now, rng()).await.unwrap()
}

/// Each call draws other numbers, the same ones in every run of one test.
fn rng() -> StdRng {
    use std::cell::Cell;
    thread_local!(static SEED: Cell<u64> = const { Cell::new(0) });
    StdRng::seed_from_u64(SEED.replace(SEED.get() + 1))
}

/// Milliseconds after a day in 2026.
fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + millis)
}

fn home() -> WorkspaceName {
    WorkspaceName::default()
}

fn sink() -> ConnectionName {
    "sink".parse().unwrap()
}

fn event_in(workspace: WorkspaceName, body: &[u8], dedupe_key: Option<&str>, now: Timestamp) -> NewEvent {
    let draft = EventDraft {
        kind: "com.example.made".into(),
        source: "/example".into(),
        subject: None,
        time: None,
        data_content_type: "application/json".into(),
        data_schema: None,
        extensions: [].into(),
        data: body.to_vec(),
        dedupe_key: dedupe_key.map(str::to_owned),
    };
    let stamp = Stamp {
        workspace,
        origin: Origin::Api("tests".into()),
        correlation_id: None,
        trace: None,
        received_at: now,
        body_bytes_max: 2 << 20,
    };
    draft.stamp(stamp, &mut rng()).unwrap()
}

/// An event owed to the sink at once.
fn owed(body: &[u8], dedupe_key: Option<&str>, now: Timestamp) -> Accept {
    let new = event_in(home(), body, dedupe_key, now);
    Accept::new(new, vec![Owed::deliver(sink(), Duration::ZERO)])
}

fn failure(class: FailureClass) -> Failure {
    Failure {
        class,
        code: None,
        message: "it did not work".into(),
        ambiguous: false,
        retry_after_ms: None,
    }
}

/// A settlement with nothing but its outcome, failed by `class` if there is one.
fn outcome(outcome: Outcome, class: Option<FailureClass>, now: Timestamp) -> Settlement {
    let receipt = (outcome == Outcome::Delivered).then(|| Receipt {
        external_id: Some("x-1".into()),
        summary: None,
        confirmation: None,
    });
    let end = AttemptEnd {
        at: now,
        connector: None,
        outcome,
        failure: class.map(failure),
        receipt,
        trail: Vec::new(),
        logs: Vec::new(),
        logs_dropped: 0,
        usage: Usage::default(),
    };
    Settlement {
        end,
        lane: Vec::new(),
        produced: Vec::new(),
        kept: Default::default(),
        now,
    }
}
