//! A subscription tried on the latest events of a workspace: what it would be owed. Nothing is delivered, counted or kept.

use std::time::{Duration, Instant};

use cofferdam_domain::subscription::TypePattern;
use cofferdam_domain::{Event, EventId, Timestamp, WorkspaceName};
use cofferdam_queue::QueueError;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::filter::{FILTER_TIME_MAX, Filter, Verdict};
use super::sight::Sight;
use crate::app::App;
use crate::problem::Problem;

/// Most events that one dry run looks at.
pub const EVENTS_MAX: usize = 1000;

/// What it looks at if it is not told.
const EVENTS_DEFAULT: usize = 100;

/// Events that are read at a time.
const PAGE: usize = 100;

/// When a dry run ends, looked at or not: reading a thousand large bodies takes its time.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Most patterns of one request.
const PATTERNS_MAX: usize = 256;

/// Dry runs at once; more wait for their turn.
static RUNNING: Semaphore = Semaphore::const_new(1);

/// A subscription to try.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DryRunRequest {
    /// Event types; at most 256. None means every type.
    #[serde(default)]
    pub subscribe: Vec<TypePattern>,
    /// A CEL expression; none means that the type is enough.
    #[serde(default)]
    pub filter: Option<String>,
    /// How many of the latest events to look at: 1 to 1000, else 100.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// What it would have been owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DryRun {
    /// Events that were looked at, the latest first.
    pub examined: usize,
    /// Those whose type fits.
    pub of_type: usize,
    /// Those that would be owed, overruns among them.
    pub matched: usize,
    /// Those that the filter fails on: they would not be owed.
    pub failed: usize,
    /// Those that a bound kept the filter from judging: they would be owed.
    pub overruns: usize,
    /// False if time ran out before all that was asked for was looked at.
    pub complete: bool,
    /// Those whose type fits and that the filter did not hold back.
    pub events: Vec<DryRunEvent>,
}

/// One event of a dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DryRunEvent {
    /// The event.
    pub id: EventId,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its source.
    pub source: String,
    /// Its subject.
    #[serde(default)]
    pub subject: Option<String>,
    /// When it was taken in.
    pub received_at: Timestamp,
    /// What the filter says of it.
    pub judged: Judged,
    /// Why, if it failed or was over a bound.
    #[serde(default)]
    pub problem: Option<String>,
}

/// What a filter says of an event that it does not hold back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judged {
    /// It is owed.
    Match,
    /// The filter fails on it; it is not owed.
    Failed,
    /// The filter is over a bound; it is owed.
    Overrun,
}

/// Tries a subscription on the latest events.
pub(crate) async fn dry_run(app: &App, workspace: &WorkspaceName, request: DryRunRequest) -> Result<DryRun, Problem> {
    let bad = |field: &str, detail: String| {
        Problem::new(axum::http::StatusCode::BAD_REQUEST, "bad-subscription", detail).field(field)
    };
    let limit = request.limit.unwrap_or(EVENTS_DEFAULT);
    if !(1..=EVENTS_MAX).contains(&limit) {
        return Err(bad("limit", format!("limit is {limit}; it must be 1 to {EVENTS_MAX}")));
    }
    if request.subscribe.len() > PATTERNS_MAX {
        let count = request.subscribe.len();
        return Err(bad(
            "subscribe",
            format!("{count} patterns; {PATTERNS_MAX} are allowed"),
        ));
    }
    let _turn = RUNNING.acquire().await;
    let (app, workspace) = (app.clone(), workspace.clone());
    let run = move || {
        let filter = request.filter.as_deref().map(Filter::compile).transpose();
        let filter = filter.map_err(|fault| bad("filter", fault.to_string()))?;
        let patterns = request.subscribe;
        examine(&app, &workspace, &patterns, filter.as_ref(), limit)
            .map_err(|error| Problem::internal("reading the latest events", &error))
    };
    match tokio::task::spawn_blocking(run).await {
        Ok(done) => done,
        Err(error) => Err(Problem::internal("trying the subscription", &error)),
    }
}

fn examine(
    app: &App,
    workspace: &WorkspaceName,
    patterns: &[TypePattern],
    filter: Option<&Filter>,
    limit: usize,
) -> Result<DryRun, QueueError> {
    let began = Instant::now();
    let mut run = DryRun {
        examined: 0,
        of_type: 0,
        matched: 0,
        failed: 0,
        overruns: 0,
        complete: true,
        events: Vec::new(),
    };
    let mut before = None;
    while run.examined < limit {
        let page = app
            .queue
            .recent_events(workspace, PAGE.min(limit - run.examined), before)?;
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        for event in &page {
            if began.elapsed() > TIME_MAX {
                run.complete = false;
                return Ok(run);
            }
            run.examined += 1;
            if patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(&event.kind)) {
                run.of_type += 1;
                let verdict = judge(app, event, filter)?;
                run.add(event, verdict);
            }
        }
    }
    Ok(run)
}

/// The body is read only for a filter. One that retention has taken is judged as an empty one, which is `null`.
fn judge(app: &App, event: &Event, filter: Option<&Filter>) -> Result<Verdict, QueueError> {
    let Some(filter) = filter else {
        return Ok(Verdict::Wanted);
    };
    let body = app.queue.body(&event.workspace, event.id)?.unwrap_or_default();
    Ok(filter.evaluate(&Sight::of(event, &body), FILTER_TIME_MAX))
}

impl DryRun {
    fn add(&mut self, event: &Event, verdict: Verdict) {
        let (judged, problem) = match verdict {
            Verdict::Unwanted => return,
            Verdict::Wanted => {
                self.matched += 1;
                (Judged::Match, None)
            }
            Verdict::Failed(why) => {
                self.failed += 1;
                (Judged::Failed, Some(why))
            }
            Verdict::Overrun(overrun) => {
                self.matched += 1;
                self.overruns += 1;
                (Judged::Overrun, Some(overrun.as_str().to_owned()))
            }
        };
        self.events.push(DryRunEvent {
            id: event.id,
            kind: event.kind.clone(),
            source: event.source.clone(),
            subject: event.subject.clone(),
            received_at: event.received_at,
            judged,
            problem,
        });
    }
}
