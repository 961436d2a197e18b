//! Accepting: one batch that holds events, dedupe keys and every delivery of the fan-out, and forgetting dedupe keys.
//!
//! That a dedupe key is free, or still names the event it named, is a precondition of the batch. A duplicate is therefore
//! only ever answered once the first event is durable, and of two producers that race one is told of the other's event.

use std::collections::HashMap;
use std::time::Duration;

use cofferdam_domain::classify::Failure;
use cofferdam_domain::id::idempotency_key;
use cofferdam_domain::limits::DEDUPE_WINDOW;
use cofferdam_domain::{
    ConnectionName, CorrelationId, Delivery, DeliveryId, DeliveryKind, DeliveryState, Event, EventId, NewEvent,
    OrderPlace, Timestamp, WorkspaceName,
};
use cofferdam_store::{Key, Keyspace, Scan};

use crate::body::{BodyPlace, Unsealed};
use crate::error::QueueError;
use crate::keys;
use crate::record::{self, Seen};
use crate::step::{Step, Stepped};
use crate::store_queue::StoreQueue;

/// Most connections that one event is owed to.
pub const FAN_OUT_MAX: usize = 1024;

/// Most dedupe keys that one sweep forgets.
const SWEEP_KEYS_MAX: usize = 1024;

/// The order key that all polls of a connection share. No event has it: attributes hold no control characters.
const POLL_ORDER_KEY: &str = "\u{1}poll";

/// An event to take in, and to whom it is owed.
#[derive(Clone, Debug)]
pub struct Accept {
    /// The event and its body.
    pub new: NewEvent,
    /// One delivery each; at most [`FAN_OUT_MAX`].
    pub fan_out: Vec<Owed>,
    /// How long the event's dedupe key is remembered, if it has one. The window of the first event with the key counts, not
    /// that of a later one.
    pub dedupe_window: Duration,
}

impl Accept {
    /// With the default window, [`DEDUPE_WINDOW`].
    pub fn new(new: NewEvent, fan_out: Vec<Owed>) -> Self {
        Self {
            new,
            fan_out,
            dedupe_window: DEDUPE_WINDOW,
        }
    }
}

/// A delivery to make.
#[derive(Clone, Debug)]
pub struct Owed {
    /// To whom.
    pub connection: ConnectionName,
    /// What its connector is asked to do.
    pub kind: DeliveryKind,
    /// Until the first attempt: the first entry of the connection's schedule.
    pub first_wait: Duration,
    /// Deliveries of one connection that share it are made one after the other, in the order of acceptance.
    pub order_key: Option<String>,
    /// Makes it a dead letter at once: a raw request that no connector could read.
    pub dead: Option<Failure>,
}

impl Owed {
    /// An event for a sink.
    pub fn deliver(connection: ConnectionName, first_wait: Duration) -> Self {
        Self {
            connection,
            kind: DeliveryKind::Deliver,
            first_wait,
            order_key: None,
            dead: None,
        }
    }

    /// A connection's turn to be polled: due at once, and one after the other.
    pub fn poll(connection: ConnectionName) -> Self {
        Self {
            connection,
            kind: DeliveryKind::Poll,
            first_wait: Duration::ZERO,
            order_key: Some(POLL_ORDER_KEY.to_owned()),
            dead: None,
        }
    }

    /// A raw request that its source is still to read, in its lane.
    pub fn unread(connection: ConnectionName) -> Self {
        Self {
            connection,
            kind: DeliveryKind::Receive,
            first_wait: Duration::ZERO,
            order_key: None,
            dead: None,
        }
    }

    /// A raw request that its source could not handle; it waits for a person.
    pub fn unreadable(connection: ConnectionName, why: Failure) -> Self {
        Self {
            dead: Some(why),
            ..Self::unread(connection)
        }
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The event; of a duplicate, the first one.
    pub event_id: EventId,
    /// The event's; of a duplicate, the first one's.
    pub correlation_id: CorrelationId,
    /// The dedupe key was seen in the window, and nothing was taken in.
    pub duplicate: bool,
    /// The deliveries made, in the order of the fan-out; none for a duplicate.
    pub deliveries: Vec<DeliveryId>,
}

/// A request whose identifiers are drawn, so that planning it again draws no others.
pub(crate) struct Prepared {
    event: Event,
    body: Vec<u8>,
    deliveries: Vec<Delivery>,
    dedupe_window: Duration,
}

impl StoreQueue {
    pub(crate) fn prepare(&self, requests: Vec<Accept>, now: Timestamp) -> Result<Vec<Prepared>, QueueError> {
        if let Some(request) = requests.iter().find(|request| request.fan_out.len() > FAN_OUT_MAX) {
            return Err(QueueError::FanOut(request.fan_out.len()));
        }
        let mut rng = self.rng();
        let prepared = requests.into_iter().map(
            |Accept {
                 new: NewEvent { event, body },
                 fan_out,
                 dedupe_window,
             }| {
                let deliveries = fan_out
                    .into_iter()
                    .map(|owed| {
                        let order = owed.order_key.as_deref().map(|key| self.places.end_of(key));
                        delivery(DeliveryId::mint(now, &mut *rng), &event, owed, order, now)
                    })
                    .collect();
                Prepared {
                    event,
                    body,
                    deliveries,
                    dedupe_window,
                }
            },
        );
        Ok(prepared.collect())
    }

    /// Adds the requests to the step and says what they will come to.
    pub(crate) fn stage(
        &self,
        step: &mut Step,
        requests: &[Prepared],
        now: Timestamp,
    ) -> Result<Vec<Accepted>, QueueError> {
        let mut here: HashMap<Key, Accepted> = HashMap::new();
        let mut answers = Vec::with_capacity(requests.len());
        let mut bodies = Vec::with_capacity(requests.len());
        for request in requests {
            let event = &request.event;
            let accepted = Accepted {
                event_id: event.id,
                correlation_id: event.correlation_id.clone(),
                duplicate: false,
                deliveries: request.deliveries.iter().map(|delivery| delivery.id).collect(),
            };
            if let Some(dedupe_key) = &event.dedupe_key {
                let (key, hash) = keys::dedupe(event, dedupe_key);
                let first = match here.get(&key) {
                    Some(first) => Some(first.clone()),
                    None => self.remember(step, request, &key, &hash, now)?,
                };
                if let Some(first) = first {
                    let answer = duplicate_of(first.event_id, first.correlation_id);
                    here.insert(key, answer.clone());
                    answers.push(answer);
                    continue;
                }
                here.insert(key, accepted.clone());
            }
            self.stage_event(step, request);
            bodies.push(Unsealed {
                place: BodyPlace {
                    workspace: &event.workspace,
                    event: event.id,
                },
                body: &request.body,
            });
            answers.push(accepted);
        }
        self.stage_bodies(step, &bodies)?;
        Ok(answers)
    }

    /// The event that had the dedupe key before, if its window is not over; otherwise this event takes the key.
    ///
    /// A record that cannot be read says nothing, and an event is rather delivered twice than lost: it is taken in.
    fn remember(
        &self,
        step: &mut Step,
        request: &Prepared,
        key: &Key,
        hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<Accepted>, QueueError> {
        let event = &request.event;
        let raw = match self.store.get(key).map_err(QueueError::from) {
            Ok(raw) => raw,
            // Nothing can be written over a record that the store itself cannot read.
            Err(error) if error.is_damage() => {
                tracing::error!(
                    workspace = %event.workspace,
                    error = &error as &dyn std::error::Error,
                    "a dedupe record is damaged; its event is taken in, and its key is not remembered"
                );
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let seen = raw.as_deref().and_then(|raw| seen(&event.workspace, raw));
        match raw {
            Some(raw) => step.batch.expect(key.clone(), raw),
            None => step.batch.expect_absent(key.clone()),
        };
        if let Some(first) = seen.filter(|seen| seen.expires_at > now) {
            return Ok(Some(duplicate_of(first.event, first.correlation_id)));
        }
        let expires_at = now.after(request.dedupe_window);
        let seen = Seen {
            event: event.id,
            correlation_id: event.correlation_id.clone(),
            expires_at,
        };
        step.batch
            .put(key.clone(), record::encode(&seen))
            .put(keys::dedupe_expiry(expires_at, &event.workspace, hash), "");
        Ok(None)
    }

    fn stage_event(&self, step: &mut Step, request: &Prepared) {
        let event = &request.event;
        let workspace = &event.workspace;
        step.batch
            .put(keys::event(workspace, event.id), record::encode(event))
            .put(
                keys::correlated(workspace, &event.correlation_id).bytes(event.id.as_bytes()),
                "",
            );
        for delivery in &request.deliveries {
            step.batch
                .put(keys::fan_out(workspace, event.id).bytes(delivery.id.as_bytes()), "");
            step.create(&self.lanes, delivery);
        }
    }

    /// Forgets a bounded number of dedupe keys whose window is over: in one commit, unless one of them is just being taken
    /// again.
    pub(crate) async fn forget_dedupe_keys(&self, now: Timestamp) -> Result<usize, QueueError> {
        let over = Scan::prefix(Key::of(Keyspace::DedupeExpiry), SWEEP_KEYS_MAX).until(keys::expiries_from(now));
        let expiries: Vec<_> = self.store.scan(&over)?.into_iter().map(|(key, _)| key).collect();
        if expiries.is_empty() || self.forget(&expiries, now).await? == Stepped::Done {
            return Ok(expiries.len());
        }
        let mut forgotten = 0;
        for expiry in expiries.chunks(1) {
            match self.forget(expiry, now).await? {
                Stepped::Done => forgotten += 1,
                // It is the one: its old entry goes at the next sweep.
                Stepped::Conflict => {}
            }
        }
        Ok(forgotten)
    }

    async fn forget(&self, expiries: &[Vec<u8>], now: Timestamp) -> Result<Stepped, QueueError> {
        let mut step = Step::default();
        for expiry in expiries {
            step.batch.delete(expiry.as_slice());
            let Ok(key) = keys::dedupe_of_expiry(expiry) else {
                tracing::error!(key = %expiry.escape_ascii(), "an entry of the dedupe index cannot be read; it is removed");
                continue;
            };
            match self.store.get(&key).map_err(QueueError::from) {
                Ok(None) => {}
                Ok(Some(raw)) => {
                    // A key that was seen again after its window has a later expiry, and an entry of its own. One that
                    // cannot be read keeps nothing out any more.
                    let over = record::decode::<Seen>("dedupe", &raw).map_or(true, |seen| seen.expires_at < now);
                    if over {
                        step.batch.expect(key.clone(), raw).delete(key);
                    }
                }
                Err(error) if error.is_damage() => tracing::error!(
                    key = %expiry.escape_ascii(),
                    error = &error as &dyn std::error::Error,
                    "a dedupe record is damaged; it stays, and no sweep looks at it again"
                ),
                Err(error) => return Err(error),
            }
        }
        self.commit(step).await
    }
}

/// What a dedupe record says; nothing if it cannot be read.
fn seen(workspace: &WorkspaceName, raw: &[u8]) -> Option<Seen> {
    let seen = record::decode("dedupe", raw);
    if let Err(error) = &seen {
        tracing::error!(
            %workspace,
            error = error as &dyn std::error::Error,
            "a dedupe record cannot be read; its event is taken in, and the record is written anew"
        );
    }
    seen.ok()
}

fn duplicate_of(event_id: EventId, correlation_id: CorrelationId) -> Accepted {
    Accepted {
        event_id,
        correlation_id,
        duplicate: true,
        deliveries: Vec::new(),
    }
}

fn delivery(id: DeliveryId, event: &Event, owed: Owed, order: Option<OrderPlace>, now: Timestamp) -> Delivery {
    let state = match &owed.dead {
        Some(failure) => DeliveryState::Dead {
            at: now,
            class: failure.class,
        },
        None => DeliveryState::Pending {
            due_at: now.after(owed.first_wait),
        },
    };
    Delivery {
        id,
        workspace: event.workspace.clone(),
        event: event.id,
        correlation_id: event.correlation_id.clone(),
        idempotency_key: idempotency_key(&event.workspace, event.id, &owed.connection),
        connection: owed.connection,
        kind: owed.kind,
        accepted_at: now,
        series_at: now,
        state,
        charged: 0,
        runs: 0,
        faults: 0,
        generation: 0,
        replays: 0,
        interventions: Vec::new(),
        last_failure: owed.dead,
        event_type: event.kind.clone(),
        order,
        interruptions: 0,
        body_bytes: event.body_bytes,
    }
}
