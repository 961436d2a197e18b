//! What the API and the panel show, put together from the records. Both use these functions, so that they cannot disagree.

mod health;

use std::collections::BTreeMap;

use cofferdam_domain::attempt::ExchangeResult;
use cofferdam_domain::connection::{Connection, OverMaximum};
use cofferdam_domain::lane::LaneState;
use cofferdam_domain::{
    Attempt, ConnectionName, ConnectorName, CorrelationId, Delivery, DeliveryId, Descriptor, Digest, Event,
    FailureClass, UpstreamName, WorkspaceName,
};
use cofferdam_egress::{RefusalCode, TokenStatus};
use cofferdam_host::{Exports, LoadProblem};
use cofferdam_queue::{DeadCursor, DeadFilter, Depth, Queue, QueueError};
use serde::{Deserialize, Serialize};

use super::kept::{self, Polling, StateKept};
use super::letter_filter::cursor_text;
use crate::app::App;
use crate::clock::steady;
use crate::plugins::Held;
use crate::plugins::views::{self as versions, ConnectorVersions, RunsView, VersionView};
use crate::subscriptions::FilterTally;

pub use self::health::Health;

/// Most rows of a list.
pub const ROWS_MAX: usize = 200;

/// Most events of one trace. A correlation id that a caller reuses for ever still has an answer.
pub const TRACE_EVENTS_MAX: usize = 100;

/// Most attempts of one trace: each may hold what a chatty connector noted. A delivery's own page has the rest.
pub const TRACE_ATTEMPTS_MAX: usize = 500;

/// The plugins folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectorsView {
    /// What is in use.
    pub connectors: Vec<ConnectorView>,
    /// What was, and has versions that are kept; or is on its way.
    #[serde(default)]
    pub absent: Vec<ConnectorVersions>,
    /// What is not, and why.
    pub problems: Vec<LoadProblem>,
    /// Files that are being loaded.
    #[serde(default)]
    pub loading: Vec<String>,
    /// Whether everything has been dealt with that was there when the server started.
    #[serde(default)]
    pub read: bool,
}

/// A connector.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectorView {
    /// What it says about itself, and what it asks for.
    pub descriptor: Descriptor,
    /// Of its bytes.
    pub digest: Digest,
    /// Its file's name.
    pub file: String,
    /// Size of the component.
    pub bytes: u64,
    /// What it can be asked to do.
    pub exports: Exports,
    /// Connections of it.
    pub connections: Vec<ConnectionName>,
    /// Somebody has rolled back to this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// Every version that is kept, the latest offered first.
    #[serde(default)]
    pub versions: Vec<VersionView>,
}

/// A connection and how it is doing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectionView {
    /// What the admin decided.
    #[serde(flatten)]
    pub connection: Connection,
    /// One word.
    pub health: Health,
    /// Why, in a sentence, unless all is well.
    pub reason: Option<String>,
    /// Which version of its connector it runs, and which it does not.
    #[serde(default)]
    pub runs: RunsView,
    /// What waits, runs and died.
    pub depth: Depth,
    /// What keeps the lane from moving.
    pub lane: LaneState,
    /// How its filter has answered since the server's start; none if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_answers: Option<FilterTally>,
    /// How the access tokens of its upstreams stand, of those that take OAuth 2.0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub oauth2: BTreeMap<UpstreamName, TokenStatus>,
    /// How its state stands; none where none is granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_kept: Option<StateKept>,
    /// How it is polled; none where that is not granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polling: Option<Polling>,
    /// Limits that its policy sets higher than this server allows by now. Its calls get what is allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over_maximum: Vec<HeldLimit>,
}

/// A limit of a connection's policy that the server holds to its own maximum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLimit {
    /// Its key in `[policy]` and in `[host.maximum]`.
    pub limit: String,
    /// What the policy says.
    pub asked: u64,
    /// What a call gets.
    pub maximum: u64,
}

/// Everything that followed from one thing that happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TraceView {
    /// What was searched for.
    pub correlation_id: CorrelationId,
    /// In the order of acceptance.
    pub events: Vec<EventTrace>,
    /// Where each code by which the gate refused something is explained.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refusals: BTreeMap<String, String>,
}

/// One event and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventTrace {
    /// The event.
    pub event: Event,
    /// To whom it was owed.
    pub deliveries: Vec<DeliveryTrace>,
}

/// One delivery with every attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeliveryTrace {
    /// The delivery.
    pub delivery: Delivery,
    /// In the order they were made.
    pub attempts: Vec<Attempt>,
}

/// A dead letter with the event it is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadLetterView {
    /// The delivery.
    pub delivery: Delivery,
    /// The event; none if retention has taken it.
    pub event: Option<Event>,
}

/// Some dead letters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadLetterPage {
    /// The latest first. A page may be short, or empty, although there are more: a filter is only ever applied to so many.
    pub letters: Vec<DeadLetterView>,
    /// Set while there may be more: pass it as `cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Everything that is known of one dead letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadLetterDetail {
    /// Delivery and event.
    #[serde(flatten)]
    pub letter: DeadLetterView,
    /// The latest attempt with its trail; none if none was made.
    pub last_attempt: Option<Attempt>,
    /// Whether its connection still exists: without one it cannot be replayed.
    pub connection_exists: bool,
}

/// The plugins folder, as this workspace may see it.
pub fn connectors(app: &App, workspace: &WorkspaceName) -> ConnectorsView {
    let connections = app.connections.of(workspace);
    let used_by = |name: &ConnectorName| {
        let runs = connections
            .iter()
            .filter(|connection| connection.spec.connector == *name);
        runs.map(|connection| connection.spec.name.clone()).collect()
    };
    let catalogue = app.plugins.catalogue();
    ConnectorsView {
        connectors: catalogue
            .shelves()
            .filter_map(|shelf| Some((shelf, shelf.current()?)))
            .map(|(shelf, connector)| ConnectorView {
                held: shelf.record.held.clone(),
                versions: versions::versions(app, workspace, shelf),
                digest: connector.digest,
                file: shelf.file().to_owned(),
                bytes: connector.bytes,
                exports: connector.exports,
                connections: used_by(&connector.descriptor.name),
                descriptor: connector.descriptor.clone(),
            })
            .collect(),
        absent: versions::absent(app, workspace),
        problems: catalogue.problems(app.plugins.dir()),
        loading: catalogue.loading(),
        read: catalogue.is_read(),
    }
}

/// Every connection of the workspace.
pub async fn connections(app: &App, workspace: &WorkspaceName) -> Result<Vec<ConnectionView>, QueueError> {
    let mut views = Vec::new();
    for connection in app.connections.of(workspace) {
        views.push(connection_view(app, &connection).await?);
    }
    Ok(views)
}

/// One connection.
pub async fn connection_view(app: &App, connection: &Connection) -> Result<ConnectionView, QueueError> {
    let name = &connection.spec.name;
    let lane = app.queue.lane_state(&connection.workspace, name).await?;
    let (health, reason) = health::health(app, connection, &lane, steady());
    Ok(ConnectionView {
        connection: connection.clone(),
        health,
        reason,
        runs: versions::runs(app, connection),
        depth: app.queue.depth(&connection.workspace, name),
        lane,
        filter_answers: connection
            .spec
            .filter
            .as_ref()
            .map(|_| app.filters.of(&connection.workspace, name)),
        oauth2: crate::oauth2::sources(app, connection)
            .map(|source| (source.upstream.clone(), app.oauth2.status(&source)))
            .collect(),
        state_kept: kept::state_kept(app, connection),
        polling: kept::polling(app, connection),
        over_maximum: app.maximum.over(&connection.spec.policy).map(HeldLimit::from).collect(),
    })
}

impl From<OverMaximum> for HeldLimit {
    fn from(over: OverMaximum) -> Self {
        Self {
            limit: over.limit.key().to_owned(),
            asked: over.asked,
            maximum: over.maximum,
        }
    }
}

/// Everything under one correlation id; none if there is nothing.
pub async fn trace(app: &App, workspace: &WorkspaceName, id: &CorrelationId) -> Result<Option<TraceView>, QueueError> {
    let mut events = Vec::new();
    let mut left = TRACE_ATTEMPTS_MAX;
    for event in app.queue.events_by_correlation(workspace, id, TRACE_EVENTS_MAX)? {
        let mut deliveries = Vec::new();
        for delivery in app.queue.deliveries_of(workspace, event.id)? {
            // The latest attempts say most, so they are what is kept of many.
            let mut attempts = if left == 0 {
                Vec::new()
            } else {
                app.queue.attempts(workspace, delivery.id)?
            };
            attempts.drain(..attempts.len().saturating_sub(left));
            left -= attempts.len();
            deliveries.push(DeliveryTrace { delivery, attempts });
        }
        events.push(EventTrace { event, deliveries });
    }
    Ok((!events.is_empty()).then(|| TraceView {
        correlation_id: id.clone(),
        refusals: refusals(&events),
        events,
    }))
}

fn refusals(events: &[EventTrace]) -> BTreeMap<String, String> {
    let ends = events
        .iter()
        .flat_map(|event| &event.deliveries)
        .flat_map(|delivery| &delivery.attempts)
        .filter_map(|attempt| attempt.ended.as_ref());
    let refused = ends
        .flat_map(|end| &end.trail)
        .filter_map(|exchange| match &exchange.result {
            ExchangeResult::Refused { code, .. } => RefusalCode::named(code),
            _ => None,
        });
    refused.map(|code| (code.code().to_owned(), code.docs_path())).collect()
}

/// Dead letters, the latest first.
pub fn dead_letters(
    app: &App,
    workspace: &WorkspaceName,
    filter: &DeadFilter,
    limit: usize,
    after: Option<DeadCursor>,
) -> Result<DeadLetterPage, QueueError> {
    let page = app.queue.dead_letters(workspace, filter, limit, after)?;
    let letters = page.items.into_iter().map(|letter| dead_letter(app, letter));
    Ok(DeadLetterPage {
        letters: letters.collect::<Result<_, _>>()?,
        next: page.next.as_ref().map(cursor_text),
    })
}

/// A dead letter with its event.
pub fn dead_letter(app: &App, delivery: Delivery) -> Result<DeadLetterView, QueueError> {
    let event = app.queue.event(&delivery.workspace, delivery.event)?;
    Ok(DeadLetterView { delivery, event })
}

/// One dead letter; none if there is no such delivery.
pub fn dead_letter_detail(
    app: &App,
    workspace: &WorkspaceName,
    id: DeliveryId,
) -> Result<Option<DeadLetterDetail>, QueueError> {
    let Some(delivery) = app.queue.delivery(workspace, id)? else {
        return Ok(None);
    };
    Ok(Some(DeadLetterDetail {
        last_attempt: app.queue.last_attempt(workspace, id)?,
        connection_exists: app.connections.get(workspace, &delivery.connection).is_some(),
        letter: dead_letter(app, delivery)?,
    }))
}

/// A class by its name in the API.
pub fn class_named(name: &str) -> Option<FailureClass> {
    FailureClass::ALL.into_iter().find(|class| class.as_str() == name)
}
