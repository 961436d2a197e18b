//! Who is owed an event, decided for all events of a request at once.

use std::num::NonZero;
use std::sync::LazyLock;
use std::time::Duration;

use cofferdam_domain::connection::OrderBy;
use cofferdam_domain::{Connection, Event, NewEvent};
use cofferdam_queue::{Accept, Owed};
use tokio::sync::Semaphore;

use super::filter::Verdict;
use super::sight::Sight;
use crate::app::App;
use crate::clock::now;
use crate::connections::Subscriber;
use crate::metrics::FilterLabels;
use crate::problem::{Problem, chain};

/// The CloudEvents partitioning extension
/// (<https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/partitioning.md>).
const PARTITION_KEY: &str = "partitionkey";

/// What every delivery shares whose connection is ordered as a whole.
const ALL_OF_THEM: &str = "";

/// Requests whose filters are asked at the same moment: as many as there are cores. More would take each other's time, and a
/// filter's time is bounded.
static ASKING: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, NonZero::get)));

/// Decides to whom each event is owed; their dedupe keys are remembered for the window.
///
/// Filters, where there are any, are asked on a thread that may take its time, all for
/// the request together; a request to whose connections no filter belongs goes straight through.
pub(crate) async fn fan_out(app: &App, events: Vec<NewEvent>, window: Duration) -> Result<Vec<Accept>, Problem> {
    let subscribers: Vec<Vec<Subscriber>> = events
        .iter()
        .map(|new| app.connections.subscribed(&new.event.workspace, &new.event.kind))
        .collect();
    let filtered = subscribers
        .iter()
        .flatten()
        .any(|subscriber| subscriber.filter.is_some());
    let owing = events.into_iter().zip(subscribers).collect();
    if !filtered {
        return Ok(decide(app, owing, window));
    }
    let _turn = ASKING.acquire().await;
    let app = app.clone();
    // A filter that panics answers for itself (see `Filter::ask`), so what is lost here is lost to a fault of ours.
    tokio::task::spawn_blocking(move || decide(&app, owing, window))
        .await
        .map_err(|error| {
            tracing::error!(error = chain(&error), "filters could not be asked");
            Problem::internal("asking the filters", &error)
        })
}

fn decide(app: &App, events: Vec<(NewEvent, Vec<Subscriber>)>, window: Duration) -> Vec<Accept> {
    let events = events.into_iter().map(|(new, subscribers)| {
        let sight = Sight::of(&new.event, &new.body);
        let fan_out = subscribers
            .iter()
            .filter(|subscriber| is_owed(app, subscriber, &sight))
            .map(|subscriber| owed(&subscriber.connection, &new.event))
            .collect();
        drop(sight);
        Accept {
            new,
            fan_out,
            dedupe_window: window,
        }
    });
    events.collect()
}

/// A failure holds the event back, an overrun does not: see the module above.
fn is_owed(app: &App, subscriber: &Subscriber, sight: &Sight<'_>) -> bool {
    let Some(filter) = &subscriber.filter else {
        return true;
    };
    let connection = &subscriber.connection;
    let verdict = filter.ask(sight);
    app.filters
        .count(&connection.workspace, &connection.spec.name, &verdict, now());
    let (owed, answer) = match &verdict {
        Verdict::Wanted => (true, "wanted"),
        Verdict::Unwanted => (false, "unwanted"),
        Verdict::Failed(_) => (false, "error"),
        Verdict::Overrun(_) => (true, "overrun"),
    };
    app.metrics
        .filters
        .get_or_create(&FilterLabels::of(connection, answer))
        .inc();
    owed
}

fn owed(connection: &Connection, event: &Event) -> Owed {
    let policy = &connection.spec.policy;
    let first_wait = policy.retry.schedule_ms.first().copied().unwrap_or(0);
    let mut owed = Owed::deliver(connection.spec.name.clone(), Duration::from_millis(first_wait));
    owed.order_key = policy.order_by.and_then(|by| order_key(by, event));
    owed
}

/// What the delivery shares with those it must not overtake; none for one that has no order.
fn order_key(by: OrderBy, event: &Event) -> Option<String> {
    match by {
        OrderBy::Connection => Some(ALL_OF_THEM.to_owned()),
        OrderBy::Source => Some(event.source.clone()),
        OrderBy::Subject => event.subject.clone(),
        OrderBy::Partitionkey => event.extensions.get(PARTITION_KEY).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_domain::Timestamp;
    use cofferdam_domain::event::{EventDraft, Origin, Stamp};
    use rand::SeedableRng;

    use super::*;

    fn event(subject: Option<&str>, partition: Option<&str>) -> Event {
        let draft = EventDraft {
            kind: "t".into(),
            source: "/s".into(),
            subject: subject.map(Into::into),
            time: None,
            data_content_type: "application/json".into(),
            data_schema: None,
            extensions: partition
                .map(|key| (PARTITION_KEY.to_owned(), key.to_owned()))
                .into_iter()
                .collect(),
            data: Vec::new(),
            dedupe_key: None,
        };
        let stamp = Stamp {
            workspace: cofferdam_domain::WorkspaceName::default(),
            origin: Origin::Api("t".into()),
            correlation_id: None,
            trace: None,
            received_at: Timestamp::ZERO,
            body_bytes_max: 10,
        };
        draft
            .stamp(stamp, &mut rand::rngs::StdRng::seed_from_u64(1))
            .unwrap()
            .event
    }

    #[test]
    fn the_order_key_is_what_the_policy_names_and_none_where_the_event_lacks_it() {
        let (full, bare) = (event(Some("a"), Some("k")), event(None, None));
        let check = |by, event: &Event, expected: Option<&str>| {
            assert_eq!(order_key(by, event).as_deref(), expected, "{by:?}");
        };
        check(OrderBy::Connection, &bare, Some(""));
        check(OrderBy::Source, &bare, Some("/s"));
        check(OrderBy::Subject, &full, Some("a"));
        check(OrderBy::Subject, &bare, None);
        check(OrderBy::Partitionkey, &full, Some("k"));
        check(OrderBy::Partitionkey, &bare, None);
    }
}
