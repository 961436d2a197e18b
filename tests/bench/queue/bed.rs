//! A queue in a folder of its own, and the events that go through it.

use std::path::Path;
use std::time::Duration;

use cofferdam_domain::attempt::AttemptEnd;
use cofferdam_domain::event::Stamp;
use cofferdam_domain::{
    ConnectionName, EventDraft, NewEvent, Origin, Outcome, Receipt, Timestamp, Usage, WorkspaceName,
};
use cofferdam_queue::{Accept, LeaseTerms, Leased, Owed, Queue, Settlement, StoreQueue};
use cofferdam_store::{Engine, OpenOptions, Store};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Size of each event's body, in bytes.
pub(super) const BODY_BYTES: usize = 200;

pub(super) const EVENT_TYPE: &str = "test.bench";

const LEASE: Duration = Duration::from_secs(60);

pub(super) fn workspace() -> WorkspaceName {
    WorkspaceName::default()
}

pub(super) fn connection(name: &str) -> ConnectionName {
    name.parse().expect("a name")
}

pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since.expect("the clock is past 1970").as_millis();
    Timestamp::from_millis(u64::try_from(millis).expect("some millions of years away"))
}

pub(super) fn open_store(dir: &Path, engine: Engine) -> Store {
    Store::open(&OpenOptions::new(dir).engine(engine)).expect("the folder is ours")
}

pub(super) async fn open_queue(dir: &Path, engine: Engine) -> StoreQueue {
    StoreQueue::open(open_store(dir, engine), now(), StdRng::from_rng(&mut rand::rng()))
        .await
        .expect("the store is sound")
}

/// An event that one connection is owed at once, with a dedupe key as a producer's own id makes one.
pub(super) fn owed(name: &ConnectionName, number: u64, body: &[u8]) -> Accept {
    let at = now();
    let draft = EventDraft {
        kind: EVENT_TYPE.to_owned(),
        source: "/bench".to_owned(),
        subject: None,
        time: None,
        data_content_type: "application/json".to_owned(),
        data_schema: None,
        extensions: [].into(),
        data: body.to_vec(),
        dedupe_key: Some(number.to_string()),
    };
    let stamp = Stamp {
        workspace: workspace(),
        origin: Origin::Api("bench".to_owned()),
        correlation_id: None,
        trace: None,
        received_at: at,
        body_bytes_max: 1 << 20,
    };
    let new: NewEvent = draft.stamp(stamp, &mut rand::rng()).expect("a sound event");
    Accept::new(new, vec![Owed::deliver(name.clone(), Duration::ZERO)])
}

/// One request to the probe's upstream, padded to the size that every event has.
pub(super) fn body() -> Vec<u8> {
    let act = r#"{"do": "call", "path": "/x", "filler": ""}"#;
    let filler = "x".repeat(BODY_BYTES - act.len());
    act.replace("\"filler\": \"\"", &format!("\"filler\": \"{filler}\""))
        .into_bytes()
}

pub(super) async fn lease(queue: &StoreQueue, name: &ConnectionName, max: usize) -> Vec<Leased> {
    let terms = LeaseTerms {
        now: now(),
        lease_for: LEASE,
        max,
        max_age: None,
    };
    queue
        .lease_many(&workspace(), name, terms)
        .await
        .expect("the store works")
}

pub(super) async fn settle(queue: &StoreQueue, leased: Leased, outcome: Outcome) {
    let at = now();
    let failed = outcome == Outcome::Dead;
    let end = AttemptEnd {
        at,
        connector: None,
        outcome,
        failure: failed.then(|| cofferdam_domain::classify::Failure {
            class: cofferdam_domain::FailureClass::Schema,
            code: Some("422".to_owned()),
            message: "the target answered 422".to_owned(),
            ambiguous: false,
            retry_after_ms: None,
        }),
        receipt: (!failed).then(Receipt::default),
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
        now: at,
    };
    queue.settle(leased, settlement).await.expect("the lease stands");
}

/// Puts this many deliveries into a lane, many in a commit.
pub(super) async fn seed(queue: &StoreQueue, name: &ConnectionName, range: std::ops::Range<u64>) {
    const PER_COMMIT: u64 = 256;
    const AT_ONCE: usize = 4;
    let body = body();
    let mut under_way = tokio::task::JoinSet::new();
    let mut first = range.start;
    while first < range.end {
        let last = (first + PER_COMMIT).min(range.end);
        let accepts: Vec<_> = (first..last).map(|number| owed(name, number, &body)).collect();
        let queue = queue.clone();
        under_way.spawn(async move { queue.accept(accepts, now()).await.expect("the store works") });
        if under_way.len() >= AT_ONCE {
            under_way.join_next().await;
        }
        first = last;
    }
    under_way.join_all().await;
}
