//! Events, the deliveries they are owed to, and what became of each attempt, kept over the store.
//!
//! What it promises, and the test that fails if it is not kept. `conformance` checks are run against every engine and are
//! what another implementation of [`Queue`] must pass; the others are this crate's own, below `tests`.
//!
//! | promise | tests |
//! |---|---|
//! | What [`Queue::accept`] has answered survives a crash and, on a disk that honours fsync, a power loss | `conformance::accept::what_was_accepted_is_there_for_the_next_process`, the suites `crash` and `power-loss` |
//! | Every step of a delivery's life is one atomic batch, accepting and settling included | `conformance::accept::a_call_is_taken_whole_or_refused_whole`, `conformance::settle::what_an_attempt_produced_is_accepted_with_it`, `recover::a_dropped_call_is_counted_and_signalled_if_it_was_done` |
//! | Delivery is at least once: a lease that a crash leaves behind is void at the next start | `conformance::processes::a_lease_of_a_process_that_is_gone_is_void_for_the_next` |
//! | One holder at a time: callers that race get different deliveries, and a settle whose lease is no longer the present one is refused | `conformance::lease::callers_that_race_get_different_deliveries`, `conformance::settle::a_stale_settle_is_refused_and_changes_nothing` |
//! | Nothing is handed out before it is due | `conformance::lease::nothing_is_leased_before_it_is_due` |
//! | A lost lease is the host's trouble: counted as an interruption, not charged, and waited for longer each time | `conformance::lease::a_lease_that_its_holder_lost_is_an_interruption_and_not_charged`, `recover::a_delivery_that_ends_the_process_again_and_again_waits_longer_each_time` |
//! | A series older than it may be is a dead letter, and costs no attempt; time in which nobody took it is not its age | `conformance::lease::a_series_that_is_too_old_is_a_dead_letter`, `lease::a_series_that_is_too_old_…`, `lease::waiting_in_a_lane_that_is_off_or_parked_does_not_age_a_series` |
//! | A dedupe key names the first event for that event's window, in its workspace and from its origin, whoever races | `conformance::accept::a_duplicate_is_answered_…`, `conformance::accept::of_producers_that_race_…`, `accept::one_producer_cannot_suppress_anothers_events` |
//! | Deliveries of one order key are made one after the other, in the order of acceptance; none is stranded | `conformance::order::tasks_that_race_keep_the_order_and_strand_nothing`, `order::order_survives_reopening_at_every_step`, `order::an_order_that_nobody_holds_goes_on_after_the_next_start` |
//! | A blocked key holds up nothing else, and costs each delivery behind it one step | `conformance::order::a_blocked_key_holds_up_no_other`, `order::a_blocked_key_is_looked_at_once_and_holds_up_no_other` |
//! | A replay keeps idempotency key and correlation id and begins a new series | `conformance::dead_letters::a_replay_is_a_new_series_under_the_same_names` |
//! | An abandoned lane's deliveries are dead letters, none lost, none of a neighbour's | `conformance::dead_letters::an_abandoned_lane_is_dead_letters`, `abandon::abandoning_one_lane_leaves_its_neighbours_alone` |
//! | What waits is never retired, nor anything about its event; what is retired leaves nothing behind | `retention::what_waits_keeps_its_event_and_everything_about_it`, `retention::nothing_at_all_is_left_of_what_is_retired` |
//! | What a connector keeps changes with the settle of a delivered attempt and with nothing else, and never over what that attempt did not see | `kept::what_an_attempt_keeps_…`, `kept::of_two_that_saw_the_same_…`, `kept::what_was_cleared_or_deleted_and_made_again_…` |
//! | A poll is made once, whoever makes it, and its page and cursor are one batch | `kept::a_poll_is_made_once_…`, `kept::a_page_and_its_cursor_…` |
//! | Where a seal is given, a body is stored sealed and handed out as it came, and its key goes after the last body that it could be for; what was stored before is read | `bodies::a_body_is_stored_sealed_…`, `bodies::a_queue_without_keys_…`, `bodies::retention_removes_a_body_however_it_lies_…`, the vault's own |
//! | Damage of one record stops neither its lane nor others | `damage`, `accept::a_dedupe_record_that_cannot_be_read_…`, `order::a_holder_that_cannot_be_read_gives_its_turn_up` |
//! | Counts, bytes and lag follow every commit, and are the same after a restart | `recover::counts_are_the_same_…`, `recover::bytes_that_wait_…`, `lease::how_long_a_head_has_been_due_…`, `retention::a_start_counts_what_was_delivered_by_its_tally_…` |
//! | A lane hears of whatever may have become due in it | `conformance::accept::a_lane_is_told_of_what_is_accepted_for_it_and_of_nothing_else` |
//! | No read or write crosses a workspace | `conformance::lease::no_workspace_sees_anothers`, `lease::workspaces_never_cross` |
//!
//! One process at a time: the store refuses a second one
//! (`conformance::processes::a_second_process_is_refused_or_works_beside_the_first`).
//!
//! What it does not do: it decides nothing (`cofferdam_domain::retry` does), reads no clock, runs nothing by itself, and
//! does not look at a lane's state before it leases: whether a lane may move is the dispatcher's to say.

mod abandon;
mod accept;
mod body;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod count;
mod damage;
mod dead_letters;
mod error;
mod kept;
mod keys;
mod lanes;
mod lease;
mod order;
mod polls;
mod queue;
mod read;
mod record;
mod recover;
mod redrive;
mod replay;
mod retention;
mod settle;
mod standing;
mod step;
mod store_queue;
mod tally;

#[cfg(test)]
mod tests;

pub use accept::{Accept, Accepted, FAN_OUT_MAX, Owed};
pub use body::{Bodies, BodyError, BodyPlace, BodySeal, KeySpan, Unsealed};
pub use dead_letters::{COUNT_EXAMINED_MAX, DeadCount, DeadCursor, DeadFilter};
pub use error::{QueueError, ReplayError, SettleError};
pub use kept::{CursorChange, CursorFacts, KeptChange, KeptVersion, StateChange, StateSize};
pub use lanes::Depth;
pub use lease::{LEASES_PER_CALL_MAX, LeaseTerms, Leased};
pub use polls::{PollStanding, SUPERSEDED_BY};
pub use queue::Queue;
pub use read::{ATTEMPTS_MAX, DeliveryFilter, PAGE_MAX, Page};
pub use record::RecordError;
pub use redrive::{
    REDRIVE_CHANGES_PER_STEP_MAX, REDRIVE_IDS_MAX, REDRIVE_RATE_DEFAULT, REDRIVE_RATE_MAX, REDRIVES_KEPT_MAX,
    REDRIVES_RUNNING_MAX, Redrive, RedriveError, RedriveId, RedriveKind, RedriveOrder, RedriveScope, RedriveState,
    RedriveStep, Room, Skipped,
};
pub use retention::{RETIRED_PER_COMMIT, Retention, Retired};
pub use settle::{Settled, Settlement};
pub use standing::Standing;
pub use store_queue::StoreQueue;
