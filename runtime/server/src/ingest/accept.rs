//! Stamped events into the queue: back-pressure, one durable batch.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use cofferdam_domain::event::Origin;
use cofferdam_domain::{Connection, ConnectionName, WorkspaceName};
use cofferdam_queue::{Accept, Accepted, Queue, QueueError};
use cofferdam_store::CommitError;

use super::marks::{self, Door, Incoming, LaneStanding, Mark, Met};
use crate::app::App;
use crate::clock::steady;
use crate::metrics::{DuplicateLabels, RefusedLabels};
use crate::problem::{Problem, chain};

/// What producers are told to wait while the store is out.
const STORE_OUT_WAIT_S: u64 = 5;

/// What producers are told to wait while the disk is almost full: making room is somebody's work.
const DISK_WAIT_S: u64 = 30;

/// 503 while the disk is almost full. Costs one atomic read.
pub(super) fn refuse_when_disk_is_almost_full(app: &App, door: Door) -> Result<(), Problem> {
    if !app.disk.is_almost_full() {
        return Ok(());
    }
    let mark = Mark::DiskAlmostFull.as_str();
    count(app, door, mark);
    let detail = "the server's disk is almost full; nothing was accepted";
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, mark, detail).retry_after(DISK_WAIT_S))
}

/// Whether a page that a poll has found may not be taken now, and when it may be: the same marks as for what is sent.
pub(crate) fn page_refused(app: &App, accepts: &[Accept], more: bool) -> Result<(), Problem> {
    if accepts.is_empty() && !more {
        return Ok(());
    }
    refuse_when_disk_is_almost_full(app, Door::Poll)?;
    refuse_when_full(app, Door::Poll, accepts)
}

/// How many deliveries more the lane of a connection takes at the API's door: none when the server as a whole is full.
pub(crate) fn room(app: &App, connection: &Connection) -> u64 {
    let (workspace, name) = (&connection.workspace, &connection.spec.name);
    let waiting = Incoming {
        count: app.queue.pending_total(),
        bytes: app.queue.pending_bytes_total(),
    };
    if app.disk.is_almost_full()
        || marks::server(&app.limits, Door::Api, waiting, Incoming { count: 1, bytes: 1 }).is_some()
    {
        return 0;
    }
    let standing = LaneStanding {
        depth: app.queue.depth(workspace, name),
        lag: app.queue.lag(workspace, name, steady()),
    };
    marks::free(&app.limits, &connection.spec.policy, Door::Api, &standing)
}

/// Refuses new work at the high-water marks before any of it is durable, a request as a whole: at those of each connection
/// that would be owed, so that one that is off or slow stops only what it is owed itself, and at those of the server as a
/// last resort.
fn refuse_when_full(app: &App, door: Door, accepts: &[Accept]) -> Result<(), Problem> {
    let mut coming: BTreeMap<(&WorkspaceName, &ConnectionName), Incoming> = BTreeMap::new();
    let mut in_all = Incoming::default();
    for accept in accepts {
        let event = &accept.new.event;
        // A dead letter waits for nobody's lane.
        for owed in accept.fan_out.iter().filter(|owed| owed.dead.is_none()) {
            let lane = coming.entry((&event.workspace, &owed.connection)).or_default();
            lane.add(event.body_bytes);
            in_all.add(event.body_bytes);
        }
    }
    for ((workspace, name), incoming) in coming {
        let Some(connection) = app.connections.get(workspace, name) else {
            continue;
        };
        let standing = LaneStanding {
            depth: app.queue.depth(workspace, name),
            lag: app.queue.lag(workspace, name, steady()),
        };
        if let Some(met) = marks::lane(&app.limits, &connection.spec.policy, door, &standing, incoming) {
            let subject = format!("connection {name}");
            let wait = met.wait(app.house.drained_per_s(workspace, name));
            return Err(refused(app, door, &met, &subject, wait));
        }
    }
    let waiting = Incoming {
        count: app.queue.pending_total(),
        bytes: app.queue.pending_bytes_total(),
    };
    match marks::server(&app.limits, door, waiting, in_all) {
        Some(met) => Err(refused(app, door, &met, "the whole server", met.wait(None))),
        None => Ok(()),
    }
}

fn refused(app: &App, door: Door, met: &Met, subject: &str, wait: Duration) -> Problem {
    count(app, door, met.mark.as_str());
    let Met { waiting, allowed, .. } = met;
    let detail = match met.mark {
        Mark::LaneFullCount | Mark::ServerFullCount => {
            format!("{waiting} deliveries wait for {subject}, of {allowed} allowed here")
        }
        Mark::LaneFullBytes | Mark::ServerFullBytes => {
            format!("{waiting} bytes wait for {subject}, of {allowed} allowed here")
        }
        Mark::LaneTooOld => format!(
            "the first delivery for {subject} has been due for {} s, of {} s allowed here",
            waiting / 1000,
            allowed / 1000
        ),
        Mark::DiskAlmostFull => "the disk is almost full".to_owned(),
    };
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        met.mark.as_str(),
        format!("{detail}; nothing was accepted"),
    )
    .retry_after(wait.as_secs())
}

/// Counts a request that is not taken, by why.
pub(super) fn count(app: &App, door: Door, reason: &'static str) {
    let door = door.as_str();
    app.metrics.refused.get_or_create(&RefusedLabels { door, reason }).inc();
}

/// Makes the events durable with every delivery that they owe.
///
/// The work is spawned: a client that hangs up cannot cancel it half-way.
pub(super) async fn accept(app: &App, door: Door, accepts: Vec<Accept>) -> Result<Vec<Accepted>, Problem> {
    refuse_when_disk_is_almost_full(app, door)?;
    refuse_when_full(app, door, &accepts)?;
    let origins: Vec<&'static str> = accepts.iter().map(|accept| kind(&accept.new.event.origin)).collect();
    let queue = std::sync::Arc::clone(&app.queue);
    let accepted = tokio::spawn(async move { queue.accept(accepts, steady()).await }).await;
    match accepted {
        Ok(Ok(accepted)) => {
            for (_, origin) in accepted.iter().zip(origins).filter(|(accepted, _)| accepted.duplicate) {
                app.metrics.duplicates.get_or_create(&DuplicateLabels { origin }).inc();
            }
            Ok(accepted)
        }
        Ok(Err(error)) if error.is_outage() => {
            tracing::error!(
                error = chain(&error),
                "the store is out; producers are told to come back"
            );
            // A commit whose fsync failed may be there after the next start all the same; the same id then makes it a duplicate.
            let detail = "the store takes nothing now; send it again, under the same id, until it is acknowledged";
            Err(
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", detail)
                    .retry_after(STORE_OUT_WAIT_S),
            )
        }
        Ok(Err(QueueError::Commit(CommitError::TooLarge))) => {
            let detail = "these events and all their deliveries are too much for one request; send fewer at once";
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "batch-too-large", detail))
        }
        Ok(Err(error)) => Err(Problem::internal("accepting the event", &error)),
        Err(error) => Err(Problem::internal("accepting the event", &error)),
    }
}

/// The word for where an event comes from.
const fn kind(origin: &Origin) -> &'static str {
    match origin {
        Origin::Api(_) => "api",
        Origin::Connection(_) => "connection",
    }
}
