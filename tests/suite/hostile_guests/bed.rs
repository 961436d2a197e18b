//! The server under attack: one process from the first case to the last, a connection for each case, and the neighbour.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use cofferdam_domain::DeliveryState;
use cofferdam_domain::classify::Failure;
use cofferdam_server::admin::views::DeadLetterPage;
use cofferdam_server::ingest::EventsAccepted;
use cofferdam_tests::api::Api;
use cofferdam_tests::{Running, Setup, api, wait};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::cases::{Case, TARGET};
use super::guests::{event_type, probes};
use super::memory::Baseline;
use super::neighbour::{self, Neighbour};

/// A page cache that is full soon, so that its filling is not taken for a leak.
const CONFIG: &str = "\n[store]\ncache_bytes = 1048576\n";

/// How long the server may take to decide about all the files that it is given at once. They are compiled one by one, with
/// the processor time that nobody else wants.
const LOOKED_AT_WITHIN: Duration = Duration::from_secs(300);

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Traces that are asked for at the same time.
const READ_AT_ONCE: usize = 16;

/// Where the suite stands.
pub(crate) struct Bed {
    server: Running,
    pub(crate) neighbour: Neighbour,
    /// Taken when the server has loaded what it found at its start, and again when the warm-up is over if there is one.
    pub(crate) baseline: Baseline,
    /// Where what the probes may call is: see [`outside`].
    target: String,
    pid: u32,
    sent: AtomicU64,
}

impl Bed {
    /// Starts the server with the connectors of these cases, and begins with the neighbour.
    pub(crate) async fn start(cases: &[Case]) -> anyhow::Result<Self> {
        let mut setup = Setup::new().config(CONFIG);
        for probe in probes() {
            setup = setup.plugin(&probe);
        }
        for case in cases {
            case.place(&setup.plugins())?;
        }
        let target = outside().await?;
        let server = setup.start().await;
        let neighbour = Neighbour::start(&server.api).await?;
        Ok(Self {
            baseline: Baseline::of_run(&server),
            pid: server.pid(),
            server,
            neighbour,
            target,
            sent: AtomicU64::new(0),
        })
    }

    /// Waits until the server has decided about each of these files: by name, why it is not in use, or that it is.
    pub(crate) async fn looked_at(&self, names: &BTreeSet<String>) -> anyhow::Result<BTreeMap<String, Option<String>>> {
        let began = Instant::now();
        loop {
            let view = self.server.api.connectors().await;
            let problems = view.problems.into_iter().map(|problem| {
                let name = problem.path.file_name().unwrap_or_default();
                (name.to_string_lossy().into_owned(), Some(problem.reason))
            });
            let used = view.connectors.into_iter().map(|connector| (connector.file, None));
            let found: BTreeMap<_, _> = problems.chain(used).collect();
            let Some(missing) = names.iter().find(|name| !found.contains_key(*name)) else {
                return Ok(found);
            };
            anyhow::ensure!(
                began.elapsed() < LOOKED_AT_WITHIN,
                "{missing:?} is neither in use nor named after {} s",
                LOOKED_AT_WITHIN.as_secs()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Makes the case's connection.
    pub(crate) async fn connect(&self, case: &Case) {
        self.server.api.apply(&case.connection(&self.target)).await;
    }

    /// The server.
    pub(crate) fn server(&self) -> &Running {
        &self.server
    }

    /// So many events, or requests, for the case's connection; their correlation ids.
    pub(crate) async fn send(&self, case: &Case, count: usize) -> Vec<String> {
        if case.is_source() {
            return self.request(case, count).await;
        }
        let act = case.act.to_string().replace(TARGET, &self.target);
        let act: Value = serde_json::from_str(&act).expect("it was JSON before");
        let event = |_| {
            let id = self.sent.fetch_add(1, Ordering::Relaxed);
            json!({"specversion": "1.0", "id": format!("{}-{id}", case.name), "source": "/suite", "type": event_type(&case.name),
                   "data": act})
        };
        let batch: Vec<Value> = (0..count).map(event).collect();
        let api = &self.server.api;
        let request = api.public("/v1/events").bearer_auth(&api.token);
        let request = request.header("content-type", "application/cloudevents-batch+json");
        let sent = request.body(Value::from(batch).to_string()).send().await;
        let accepted: EventsAccepted = api::read(sent.expect("the server answers")).await;
        let ids = accepted.accepted.into_iter();
        ids.map(|event| event.correlation_id.to_string()).collect()
    }

    /// So many requests at once to the case's hook, each of which must be acknowledged.
    async fn request(&self, case: &Case, count: usize) -> Vec<String> {
        let mut under_way = JoinSet::new();
        for _ in 0..count {
            let id = self.sent.fetch_add(1, Ordering::Relaxed);
            let request = self.server.api.public(&format!("/hooks/{}", case.name));
            under_way.spawn(request.body(format!("request {id}")).send());
        }
        let mut ids = Vec::new();
        for answer in under_way.join_all().await {
            let accepted: EventsAccepted = api::read(answer.expect("the server answers")).await;
            ids.extend(
                accepted
                    .accepted
                    .into_iter()
                    .map(|event| event.correlation_id.to_string()),
            );
        }
        ids
    }

    /// Waits until nothing of the case waits or runs.
    pub(crate) async fn ended(&self, case: &Case) {
        wait::until("the end of the calls", || async {
            let depth = self.server.api.connection(&case.name).await.depth;
            (depth.pending == 0 && depth.in_flight == 0).then_some(())
        })
        .await;
    }

    /// Dead letters and deliveries of the case so far.
    pub(crate) async fn counted(&self, case: &Case) -> (u64, u64) {
        let depth = self.server.api.connection(&case.name).await.depth;
        (depth.dead, depth.delivered)
    }

    /// Why the latest dead letters of the case died.
    pub(crate) async fn failures(&self, case: &Case, count: usize) -> Vec<Failure> {
        let mut found = Vec::new();
        let mut cursor = String::new();
        while found.len() < count {
            let path = format!("/v1/dead-letters?connection={}{cursor}", case.name);
            let page: DeadLetterPage = self.server.api.get(&path).await;
            let letters = page.letters.into_iter();
            found.extend(letters.filter_map(|letter| letter.delivery.last_failure));
            let Some(next) = page.next else { break };
            cursor = format!("&cursor={next}");
        }
        found.truncate(count);
        found
    }

    /// The summaries of these events' receipts; none of one that was not delivered. The order is another.
    pub(crate) async fn summaries(&self, correlation_ids: &[String]) -> Vec<Option<String>> {
        let mut found = Vec::new();
        for some in correlation_ids.chunks(READ_AT_ONCE) {
            let mut under_way = JoinSet::new();
            for id in some {
                under_way.spawn(summary(self.server.api.clone(), id.clone()));
            }
            found.extend(under_way.join_all().await);
        }
        found
    }

    /// What is wrong with the server as a whole.
    pub(crate) async fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let depth = self.server.api.connection(neighbour::NAME).await.depth;
        if depth.dead > 0 {
            faults.push(format!("{} of the neighbour's deliveries are dead letters", depth.dead));
        }
        if self.server.pid() != self.pid {
            faults.push("the server is another process".to_owned());
        }
        // What a guest says in its panic is in a line of the log, which is JSON.
        let panicked = |line: &&str| line.contains("panicked") && !line.starts_with('{');
        if let Some(line) = self.server.log().lines().find(panicked) {
            faults.push(format!("the server panicked: {line}"));
        }
        faults
    }

    /// Stops the server, which has to end as if nothing had been.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        drop(self.neighbour);
        let (code, log, _setup) = self.server.stop().await;
        anyhow::ensure!(
            code == Some(0),
            "the server ended with {code:?}: {}",
            log.lines().last().unwrap_or_default()
        );
        Ok(())
    }
}

async fn summary(api: Api, correlation_id: String) -> Option<String> {
    let trace = api.trace(&correlation_id).await;
    match &trace.events.first()?.deliveries.first()?.delivery.state {
        DeliveryState::Delivered { receipt, .. } => receipt.summary.clone(),
        _ => None,
    }
}

/// An upstream that answers at once, but for `/hold`, which is never answered. It ends with the executor.
async fn outside() -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let hold = axum::routing::any(|| async { std::future::pending::<&'static str>().await });
    let router = Router::new().route("/hold", hold).fallback(|| async { "{}" });
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}
