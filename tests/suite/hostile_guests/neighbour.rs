//! The good connection beside the hostile ones: an event every [`EVERY`] all the time, from before the first case to behind
//! the last, each a request to an upstream of its own. What a case does to it is what becomes of the events that were due
//! meanwhile.
//!
//! Its latency is counted from when an event was to be sent, so that a stall of the sender is not left out.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use cofferdam_tests::api::Api;
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};

/// Between two events.
pub(crate) const EVERY: Duration = Duration::from_millis(10);

/// The longest that an event may take to arrive before it counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// How much longer the 99th percentile may be beside something hostile than alone, in the same minute on the same machine: so many
/// times as long, and so much on top. It is no measure of quality, which `cargo xtask bench host` takes: a percentile of few events
/// is their longest, alone it is a few milliseconds, and the machine may be compiling something at the same time, in turns of
/// the kernel's scheduler and of the disk that are tenths of a second. It is where a person would say that the neighbour was
/// disturbed.
const TIMES_MAX: f64 = 10.0;
const MORE_MS_MAX: f64 = 500.0;

/// What every event of it ends with.
pub(crate) const BODY_END: &str = ", which is the neighbour's own and nobody else's";

/// Its connection.
pub(crate) const NAME: &str = "good";

/// Events of the neighbour, by number, and what went wrong with their sending.
#[derive(Default)]
struct Book {
    events: Mutex<Vec<Event>>,
    refused: Mutex<Vec<String>>,
}

struct Event {
    due: Instant,
    arrived: Option<Instant>,
    arrivals: u32,
    /// The first difference between what arrived and what should have.
    wrong: Option<String>,
}

/// A running neighbour. It ends when it is dropped.
pub(crate) struct Neighbour {
    book: Arc<Book>,
    sender: JoinHandle<()>,
    upstream: JoinHandle<()>,
}

/// What became of the events that were due in a span.
pub(crate) struct Heard {
    /// In milliseconds, sorted.
    latencies: Vec<f64>,
    /// Events that were lost, came twice, came otherwise than they were sent, or were refused.
    pub(crate) faults: Vec<String>,
}

impl Neighbour {
    /// Applies its connection, of the connector `probe`, and begins.
    pub(crate) async fn start(api: &Api) -> anyhow::Result<Self> {
        let book = Arc::new(Book::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new()
            .route("/{number}", axum::routing::post(arrive))
            .with_state(Arc::clone(&book));
        let upstream = tokio::spawn(async move {
            // It ends with this task and not before.
            _ = axum::serve(listener, router).await;
        });
        api.apply(&format!(
            "name = \"{NAME}\"\nconnector = \"probe\"\nsubscribe = [\"test.{NAME}\"]\n[upstreams.target]\nbase_url = \"{url}\"\n\
             networks = [\"127.0.0.0/8\"]\nattach = \"none\"\nmethods = [\"POST\"]\n"
        ))
        .await;
        let sender = tokio::spawn(send_on_and_on(api.clone(), Arc::clone(&book)));
        Ok(Self { book, sender, upstream })
    }

    /// The number of the next event.
    pub(crate) fn mark(&self) -> usize {
        locked(&self.book.events).len()
    }

    /// Waits until so many more are due.
    pub(crate) async fn pass(&self, events: usize) {
        let until = self.mark() + events;
        while self.mark() < until && !self.sender.is_finished() {
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Waits for the last of these, and says what became of them.
    pub(crate) async fn heard(&self, span: Range<usize>) -> Heard {
        let began = Instant::now();
        let all_there = || {
            locked(&self.book.events)[span.clone()]
                .iter()
                .all(|event| event.arrived.is_some())
        };
        while !all_there() && began.elapsed() < LOST_AFTER && locked(&self.book.refused).is_empty() {
            tokio::time::sleep(EVERY).await;
        }
        let mut faults = std::mem::take(&mut *locked(&self.book.refused));
        if self.sender.is_finished() {
            faults.push("the neighbour's sender has ended".to_owned());
        }
        let events = locked(&self.book.events);
        let mut latencies = Vec::new();
        for (number, event) in span.clone().zip(&events[span]) {
            match event.arrived {
                Some(at) => latencies.push(at.saturating_duration_since(event.due).as_secs_f64() * 1e3),
                None => faults.push(format!("the neighbour's event {number} was lost")),
            }
            if event.arrivals > 1 {
                faults.push(format!("the neighbour's event {number} came {} times", event.arrivals));
            }
            faults.extend(
                event
                    .wrong
                    .iter()
                    .map(|wrong| format!("the neighbour's event {number} {wrong}")),
            );
        }
        latencies.sort_by(f64::total_cmp);
        Heard { latencies, faults }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.sender.abort();
        self.upstream.abort();
    }
}

impl Heard {
    /// The latency that 99 of 100 stay within, in milliseconds; of fewer than a hundred it is the longest.
    pub(crate) fn p99_ms(&self) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (self.latencies.len() * 99).div_ceil(100).saturating_sub(1).min(last);
        self.latencies.get(at).copied().unwrap_or(f64::NAN)
    }

    /// What is wrong with this span, beside something hostile, if the other is the neighbour alone.
    pub(crate) fn disturbed(&self, alone: &Self) -> Option<String> {
        let (beside, alone) = (self.p99_ms(), alone.p99_ms());
        let allowed = TIMES_MAX * alone + MORE_MS_MAX;
        (beside > allowed)
            .then(|| format!("its neighbour's p99 is {beside:.0} ms, {alone:.0} ms alone; {allowed:.0} ms are allowed"))
    }
}

async fn send_on_and_on(api: Api, book: Arc<Book>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    loop {
        let due = tick.tick().await.into_std();
        let number = {
            let mut events = locked(&book.events);
            events.push(Event {
                due,
                arrived: None,
                arrivals: 0,
                wrong: None,
            });
            events.len() - 1
        };
        let (api, book) = (api.clone(), Arc::clone(&book));
        under_way.spawn(async move {
            if let Err(refused) = send(&api, number).await {
                locked(&book.refused).push(format!("the neighbour's event {number} was not accepted: {refused}"));
            }
        });
        while under_way.try_join_next().is_some() {}
    }
}

async fn send(api: &Api, number: usize) -> Result<(), String> {
    let act = json!({"do": "call", "method": "POST", "path": format!("/{number}"), "body": body(number)});
    let event = json!({"specversion": "1.0", "id": format!("{NAME}-{number}"), "source": "/suite", "type": format!("test.{NAME}"),
                       "data": act});
    let request = api.public("/v1/events").bearer_auth(&api.token);
    let request = request.header("content-type", "application/cloudevents+json");
    let answer = request.body(event.to_string()).send().await;
    let answer = answer.map_err(|error| error.to_string())?;
    let status = answer.status();
    // The answer is taken whole, so that the connection can be used again.
    let text = answer.text().await.map_err(|error| error.to_string())?;
    if status == StatusCode::ACCEPTED {
        Ok(())
    } else {
        Err(format!("{status} {text}"))
    }
}

fn body(number: usize) -> String {
    format!("event {number}{BODY_END}")
}

async fn arrive(
    State(book): State<Arc<Book>>,
    Path(number): Path<usize>,
    headers: HeaderMap,
    got: String,
) -> Result<&'static str, StatusCode> {
    let at = Instant::now();
    let mut events = locked(&book.events);
    let event = events.get_mut(number).ok_or(StatusCode::NOT_FOUND)?;
    event.arrived.get_or_insert(at);
    event.arrivals += 1;
    if got != body(number) {
        event.wrong = Some(format!("arrived as {got:?}"));
    }
    if !headers.contains_key("idempotency-key") {
        event.wrong = Some("arrived without its idempotency key".to_owned());
    }
    Ok("{}")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
