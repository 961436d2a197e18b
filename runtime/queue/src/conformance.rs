//! What every implementation of [`Queue`] must do, written against the trait alone. Test support: checks panic where a
//! promise is not kept.
//!
//! An implementation writes a [`Harness`] and names it to [`conformance_tests!`](crate::conformance_tests), which makes one
//! test of each check. Time is an argument throughout: no check waits, but for what another task does.
//!
//! What it does not check: durability beyond [`Harness::open`] (that takes a disk that fails), speed, and what only the
//! store-backed queue has (counts, listings, damage).

pub mod accept;
pub mod dead_letters;
pub mod lease;
pub mod order;
pub mod processes;
pub mod settle;

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use cofferdam_domain::attempt::AttemptEnd;
use cofferdam_domain::classify::Failure;
use cofferdam_domain::event::Stamp;
use cofferdam_domain::{
    ConnectionName, Delivery, DeliveryId, DeliveryState, EventDraft, FailureClass, Origin, Outcome, Receipt, Timestamp,
    Usage, WorkspaceName,
};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::{Accept, Accepted, LeaseTerms, Leased, Owed, Queue, SettleError, Settled, Settlement};

/// How long the checks' leases last.
const LEASE: Duration = Duration::from_secs(60);

/// What a second process is told that opens the queue of a place while a first one has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondProcess {
    /// It is refused.
    Refused,
    /// Both work on it.
    Shares,
}

/// A place in which an implementation keeps one queue.
pub trait Harness: Send + Sync {
    /// The implementation. Clones share it.
    type Queue: Queue + Clone + 'static;

    /// What the implementation does about a second process; none where the harness has no way to start one.
    const SECOND_PROCESS: Option<SecondProcess>;

    /// A place that holds nothing.
    fn new() -> Self;

    /// The queue of this place, as a process that starts at `now` gets it: it takes over what is there, and leases that
    /// nobody living holds are void. An error says why it is refused.
    fn open(&self, now: Timestamp) -> impl Future<Output = Result<Self::Queue, String>> + Send;
}

/// A queue under check, in its place.
pub struct Bed<H: Harness> {
    place: H,
    /// The queue.
    pub queue: H::Queue,
}

impl<H: Harness> Bed<H> {
    /// An empty queue.
    pub async fn new() -> Self {
        let place = H::new();
        let queue = place.open(at(0)).await.expect("an empty place opens");
        Self { place, queue }
    }

    /// Stops the process, as far as the queue can tell, and starts the next one.
    pub async fn reopened(self, now: Timestamp) -> Self {
        let Self { place, queue } = self;
        drop(queue);
        let queue = place.open(now).await.expect("a place that was left opens");
        Self { place, queue }
    }

    async fn accept(&self, accept: Accept, now: Timestamp) -> Accepted {
        let accepted = self.queue.accept(vec![accept], now).await.expect("the queue works");
        accepted.into_iter().next().expect("one answer for one request")
    }

    /// Accepts an event that is owed to the sink, and says which delivery that is.
    async fn one(&self, now: Timestamp) -> DeliveryId {
        self.accept(owed(b"{}", None, now), now).await.deliveries[0]
    }

    async fn lease(&self, now: Timestamp) -> Option<Leased> {
        let leased = self.queue.lease(&home(), &sink(), terms(now, 1)).await;
        leased.expect("the queue works")
    }

    /// A lease that is there to be had.
    async fn leased(&self, now: Timestamp) -> Leased {
        self.lease(now).await.expect("something is due")
    }

    async fn lease_all(&self, now: Timestamp) -> Vec<Leased> {
        let leased = self.queue.lease_many(&home(), &sink(), terms(now, 64)).await;
        leased.expect("the queue works")
    }

    async fn settle(&self, leased: Leased, how: Outcome, now: Timestamp) -> Result<Settled, SettleError> {
        self.queue.settle(leased, settlement(how, now)).await
    }

    async fn delivery(&self, id: DeliveryId) -> Delivery {
        let delivery = self.queue.look_up(&home(), id).await.expect("the queue works");
        delivery.expect("the delivery is there")
    }

    async fn state(&self, id: DeliveryId) -> DeliveryState {
        self.delivery(id).await.state
    }

    /// A delivery that was attempted once and is a dead letter.
    async fn dead(&self, now: Timestamp) -> DeliveryId {
        self.one(now).await;
        let leased = self.leased(now).await;
        let id = leased.delivery.id;
        self.settle(leased, Outcome::Dead, now).await.expect("it is leased");
        id
    }
}

/// Milliseconds after a day in 2026.
pub fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + millis)
}

fn home() -> WorkspaceName {
    WorkspaceName::default()
}

fn connection(name: &str) -> ConnectionName {
    name.parse().expect("a name")
}

fn sink() -> ConnectionName {
    connection("sink")
}

fn terms(now: Timestamp, max: usize) -> LeaseTerms {
    LeaseTerms {
        now,
        lease_for: LEASE,
        max,
        max_age: None,
    }
}

/// Each call draws other numbers.
fn rng() -> StdRng {
    thread_local!(static SEED: Cell<u64> = const { Cell::new(0) });
    StdRng::seed_from_u64(SEED.replace(SEED.get() + 1))
}

/// An event owed to the sink at once.
fn owed(body: &[u8], dedupe_key: Option<&str>, now: Timestamp) -> Accept {
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
        workspace: home(),
        origin: Origin::Api("conformance".into()),
        correlation_id: None,
        trace: None,
        received_at: now,
        body_bytes_max: 1 << 20,
    };
    let new = draft.stamp(stamp, &mut rng()).expect("a sound event");
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

fn retry(due_at: Timestamp) -> Outcome {
    Outcome::Retry { due_at, charged: true }
}

fn settlement(outcome: Outcome, now: Timestamp) -> Settlement {
    let delivered = outcome == Outcome::Delivered;
    let end = AttemptEnd {
        at: now,
        connector: None,
        outcome,
        failure: (!delivered).then(|| failure(FailureClass::Dependency)),
        receipt: delivered.then(Receipt::default),
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

/// Makes one test of each check, for the implementation that this harness opens. They need an executor with two threads:
/// `tokio` with its `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! conformance_tests {
    ($harness:ty) => {
        $crate::conformance_tests! { $harness;
            accept: what_was_accepted_is_there_for_the_next_process,
            accept: an_event_is_owed_to_each_connection_of_its_fan_out,
            accept: a_call_is_taken_whole_or_refused_whole,
            accept: a_duplicate_is_answered_with_the_first_event_until_its_window_is_over,
            accept: of_producers_that_race_with_one_key_all_are_told_of_one_event,
            accept: a_lane_is_told_of_what_is_accepted_for_it_and_of_nothing_else,
            lease: nothing_is_leased_before_it_is_due,
            lease: callers_that_race_get_different_deliveries,
            lease: a_lease_is_void_after_its_end_unless_it_was_extended,
            lease: a_lease_that_its_holder_lost_is_an_interruption_and_not_charged,
            lease: what_is_released_costs_no_attempt,
            lease: a_series_that_is_too_old_is_a_dead_letter,
            lease: no_workspace_sees_anothers,
            settle: each_outcome_leads_to_its_state,
            settle: a_stale_settle_is_refused_and_changes_nothing,
            settle: what_an_attempt_produced_is_accepted_with_it,
            settle: a_parked_lane_says_so_until_it_is_released,
            dead_letters: a_replay_is_a_new_series_under_the_same_names,
            dead_letters: only_dead_letters_are_replayed_or_discarded,
            dead_letters: an_abandoned_lane_is_dead_letters,
            dead_letters: what_is_done_for_long_enough_is_retired_and_nothing_else,
            order: one_key_is_made_one_after_the_other,
            order: a_dead_letter_frees_its_key_and_a_replay_goes_to_the_end,
            order: a_blocked_key_holds_up_no_other,
            order: the_next_process_keeps_the_order,
            order: tasks_that_race_keep_the_order_and_strand_nothing,
            processes: a_lease_of_a_process_that_is_gone_is_void_for_the_next,
            processes: a_second_process_is_refused_or_works_beside_the_first,
        }
    };
    ($harness:ty; $($topic:ident: $check:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            $crate::conformance::$topic::$check::<$harness>().await;
        }
    )*};
}
