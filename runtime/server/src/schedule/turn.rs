//! A connection's turn to be polled: looked after by its lane, made by the schedule or by a person, durable before anything
//! is asked.
//!
//! One poll of a connection waits or is under way at a time. The one that is due is a delivery in the connection's own lane:
//! slots, breaker, parking, retries and records are those of every delivery.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cofferdam_domain::connection::PollGrant;
use cofferdam_domain::event::{Event, NewEvent, Origin, POLL_TYPE};
use cofferdam_domain::{Connection, CorrelationId, Delivery, DeliveryId, Digest, EventId, Timestamp, TraceContext};
use cofferdam_host::Connector;
use cofferdam_queue::{Accept, Owed, PollStanding, QueueError};
use serde::{Deserialize, Serialize};

use super::{Next, Past, Schedule};
use crate::app::App;
use crate::clock::{now, steady};
use crate::dispatch::granted;

/// A schedule that could not be read, or was not on its way, is looked at again after this, without a signal.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How often a poll that a person asks for is planned anew, because somebody else made or ended one at the same moment.
const ASK_TRIES: u32 = 16;

/// What a poll's event says: why now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// Why.
    pub(crate) reason: Reason,
    /// The time of the schedule that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scheduled_at: Option<String>,
    /// Times of the schedule came due while the connection could not be polled; this is for all of them.
    #[serde(default)]
    pub(crate) missed: bool,
    /// Which page in a row it asks for, counted from 1.
    pub(crate) page: u32,
}

/// Why a connection is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    /// The schedule says so.
    Schedule,
    /// The page before says that there is more.
    More,
    /// A person asked.
    Asked,
}

/// What a lane remembers of its connection's schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turns {
    /// Since when it can be polled; none while it cannot.
    free_since: Option<Timestamp>,
    seen: Seen,
}

/// What was granted when it was last looked at, also while the connection was off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Seen {
    /// The lane has just begun.
    #[default]
    NotYet,
    /// No schedule.
    Nothing,
    /// This one, since then.
    Schedule { grant: PollGrant, since: Timestamp },
}

/// What the lane of a connection remembers, for whoever says when the next poll is due: so people are told what it will do.
#[derive(Debug, Default)]
pub(crate) struct Followed(Mutex<Turns>);

impl Followed {
    fn tell(&self, turns: &Turns) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != *turns {
            *told = turns.clone();
        }
    }

    /// As the lane was when it looked last; as one that has just begun if it never did.
    fn turns(&self) -> Turns {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether these are one schedule: the same times, whatever their jitter and what becomes of those that are missed.
fn is_same(one: &PollGrant, other: &PollGrant) -> bool {
    (&one.every, &one.cron, &one.timezone) == (&other.every, &other.cron, &other.timezone)
}

/// The latest that a schedule can have been changed, by what is on record: for a lane that has just begun. An interval goes on
/// by its last poll, so that no other change of the connection breaks its rhythm; a time of cron from before a change that
/// nobody has followed yet might be another schedule's.
fn changed_by_now(connection: &Connection, grant: &PollGrant) -> Timestamp {
    if grant.cron.is_some() {
        connection.updated_at
    } else {
        Timestamp::ZERO
    }
}

impl Turns {
    /// Since when the schedule is what it is. One that was changed begins anew: it was not free to be polled before.
    fn follow(&mut self, connection: &Connection, grant: &PollGrant, at: Timestamp) -> Timestamp {
        let since = match &self.seen {
            Seen::Schedule { grant: seen, since } if is_same(seen, grant) => return *since,
            Seen::NotYet => changed_by_now(connection, grant).min(at),
            Seen::Nothing | Seen::Schedule { .. } => at,
        };
        self.free_since = None;
        let grant = grant.clone();
        self.seen = Seen::Schedule { grant, since };
        since
    }

    /// Makes the poll that is due, if one is, and answers how long the lane need not look again.
    pub(crate) async fn look(&mut self, app: &App, connection: Option<&Connection>) -> Result<Duration, QueueError> {
        let again_in = self.take(app, connection).await;
        let followed = connection.and_then(|found| app.connections.followed(&found.workspace, &found.spec.name));
        if let Some(followed) = followed {
            followed.tell(self);
        }
        again_in
    }

    async fn take(&mut self, app: &App, connection: Option<&Connection>) -> Result<Duration, QueueError> {
        let Some((connection, grant)) = connection.and_then(|found| Some((found, found.spec.poll.as_ref()?))) else {
            self.free_since = None;
            self.seen = Seen::Nothing;
            return Ok(LOOK_AGAIN);
        };
        let at = steady();
        let changed = self.follow(connection, grant, at);
        let Some(schedule) = connection.enabled.then(|| running(app, connection)).flatten() else {
            self.free_since = None;
            return Ok(LOOK_AGAIN);
        };
        let Some(standing) = standing(app, connection, at).await? else {
            return Ok(LOOK_AGAIN);
        };
        if standing.is_open() || app.disk.is_almost_full() {
            self.free_since = None;
            return Ok(LOOK_AGAIN);
        }
        let past = Past {
            since: standing.since,
            last: standing.last,
            free_since: *self.free_since.get_or_insert(at),
            changed,
        };
        match schedule.next(past, at) {
            Ok(Next::Wait(due)) => Ok(due.since(at).min(LOOK_AGAIN)),
            Ok(Next::Run { tick, missed }) => {
                let turn = Turn {
                    reason: Reason::Schedule,
                    scheduled_at: Some(tick.to_string()),
                    missed,
                    page: 1,
                };
                let made = app
                    .queue
                    .make_poll(
                        &connection.spec.name,
                        &standing,
                        accept(connection, &turn),
                        Some(tick),
                        at,
                    )
                    .await?;
                tracing::debug!(connection = %connection.spec.name, %tick, missed, made = made.is_some(), "a poll is due");
                // Looked at again at once: somebody else may have been first, and what was made is open now.
                Ok(Duration::ZERO)
            }
            Err(error) => {
                tracing::error!(connection = %connection.spec.name, %error, "the schedule names no next time");
                Ok(LOOK_AGAIN)
            }
        }
    }
}

/// The schedule of a connection whose connector is there and asks for one.
fn running(app: &App, connection: &Connection) -> Option<Schedule> {
    let connector = granted(app, connection).ok()?;
    schedule_of(connection, &connector)
}

/// The schedule; one that cannot be read any more is logged.
pub(crate) fn schedule_of(connection: &Connection, connector: &Connector) -> Option<Schedule> {
    if !connector.exports.poller {
        return None;
    }
    match Schedule::of(connection, &connector.descriptor) {
        Ok(schedule) => schedule,
        Err(error) => {
            tracing::error!(connection = %connection.spec.name, %error, "the schedule cannot be read; nothing is polled");
            None
        }
    }
}

/// How its polls stand; begun now if they never were.
async fn standing(app: &App, connection: &Connection, at: Timestamp) -> Result<Option<PollStanding>, QueueError> {
    let (workspace, name) = (&connection.workspace, &connection.spec.name);
    if let Some(standing) = app.queue.poll_standing(workspace, name, at)? {
        return Ok(Some(standing));
    }
    app.queue.begin_polls(workspace, name, at).await?;
    app.queue.poll_standing(workspace, name, at)
}

/// What came of asking for a poll.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// It is due now.
    Due(DeliveryId, CorrelationId),
    /// One waited for its time, and is due now.
    Hastened(Delivery),
    /// One is under way.
    UnderWay(Delivery),
}

/// A poll that a person asks for. It is for no time of the schedule, which goes on as it is.
pub(crate) async fn ask(app: &App, connection: &Connection) -> Result<Asked, QueueError> {
    for _ in 0..ASK_TRIES {
        let at = steady();
        let Some(standing) = standing(app, connection, at).await? else {
            continue;
        };
        if let Some(open) = standing.latest.clone().filter(|_| standing.is_open()) {
            let hastened = app.queue.hasten_poll(&connection.workspace, open.id, at).await?;
            return Ok(if hastened {
                Asked::Hastened(open)
            } else {
                Asked::UnderWay(open)
            });
        }
        let turn = Turn {
            reason: Reason::Asked,
            scheduled_at: None,
            missed: false,
            page: 1,
        };
        let made = app
            .queue
            .make_poll(&connection.spec.name, &standing, accept(connection, &turn), None, at)
            .await?;
        if let Some(made) = made
            && let Some(delivery) = made.deliveries.first()
        {
            return Ok(Asked::Due(*delivery, made.correlation_id));
        }
    }
    Err(QueueError::Contended("make a poll"))
}

/// The turn as an event that is owed to the connection, and to nobody else.
pub(crate) fn accept(connection: &Connection, turn: &Turn) -> Accept {
    let body = serde_json::to_vec(turn).expect("a turn holds string keys only, and a Vec takes every write");
    let (rng, received_at) = (&mut rand::rng(), now());
    let name = &connection.spec.name;
    let event = Event {
        id: EventId::mint(received_at, rng),
        workspace: connection.workspace.clone(),
        correlation_id: CorrelationId::mint(received_at, rng),
        trace: TraceContext::mint(rng),
        kind: POLL_TYPE.to_owned(),
        source: format!("/connections/{name}/poll"),
        subject: None,
        time: None,
        received_at,
        origin: Origin::Connection(name.clone()),
        data_content_type: "application/json".to_owned(),
        data_schema: None,
        extensions: std::collections::BTreeMap::new(),
        body_bytes: body.len() as u64,
        body_hash: Digest::of(&body),
        dedupe_key: None,
    };
    Accept::new(NewEvent { event, body }, vec![Owed::poll(name.clone())])
}

/// When the next poll is due, for people, by what its lane follows: now, if it only has to be made; none while the connection
/// cannot be polled or one is open.
pub(crate) fn next_due(app: &App, connection: &Connection, standing: Option<&PollStanding>) -> Option<Timestamp> {
    if !connection.enabled {
        return None;
    }
    let schedule = running(app, connection)?;
    let grant = connection.spec.poll.as_ref()?;
    let at = steady();
    let followed = app.connections.followed(&connection.workspace, &connection.spec.name);
    let mut turns = followed.map(|followed| followed.turns()).unwrap_or_default();
    // As the lane will do it at its next look.
    let changed = turns.follow(connection, grant, at);
    let past = Past {
        since: standing.map_or(at, |standing| standing.since),
        last: standing.and_then(|standing| standing.last),
        free_since: turns.free_since.unwrap_or(at),
        changed,
    };
    match schedule.next(past, at) {
        Ok(Next::Wait(due)) => Some(due),
        Ok(Next::Run { .. }) => Some(at),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
