//! The ledger held against the server's records and the destination's book.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use cofferdam_domain::DeliveryState;
use cofferdam_server::admin::views::{ConnectionView, DeliveryTrace, TraceView};
use cofferdam_tests::api::Api;
use reqwest::{Method, StatusCode};
use tokio::task::JoinSet;

use super::destination::{Book, Destination, Reached};
use super::lane::{CONCURRENCY, Fate, Lane};
use super::ledger::{Answer, Sent};
use super::load;

/// How long nothing may move while deliveries wait. Waits after interruptions double up to some minutes.
const STANDSTILL_MAX: Duration = Duration::from_secs(300);

/// Requests to the API at once.
const ASKERS: usize = 8;

/// What the reckoning found, all of it as it should be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    /// Events that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Events without an answer that are there.
    pub(crate) kept: u64,
    /// Deliveries that ended as delivered.
    pub(crate) delivered: u64,
    /// Deliveries that ended as dead letters.
    pub(crate) dead: u64,
    /// Effects at the destination beyond the first of each delivery.
    pub(crate) duplicates: u64,
}

/// What can be seen soon after a restart: acknowledged events are there, and sending one again changes nothing.
pub(crate) async fn glance(api: &Api, sent: &[&Sent]) -> anyhow::Result<u64> {
    let mut sent_again = 0;
    for event in sent.iter().filter(|event| event.is_acknowledged()) {
        let trace = trace(api, &event.id).await?;
        let trace = trace.with_context(|| format!("event {} was acknowledged and is gone", event.id))?;
        ensure!(
            trace.events.len() == 1 && trace.events[0].deliveries.len() == event.owed().len(),
            "event {} has not the deliveries that it is owed",
            event.id
        );
        let (status, answer) = load::post(api, &event.id, event.kind).await?;
        let answer = answer.with_context(|| format!("event {} sent again is answered {status}", event.id))?;
        let answer = &answer.accepted[0];
        ensure!(answer.duplicate, "event {} is taken again", event.id);
        if let Answer::Acknowledged(id) = event.answer {
            ensure!(answer.id == id, "event {} sent again is another", event.id);
        }
        sent_again += 1;
    }
    Ok(sent_again)
}

/// Waits until nothing waits any more.
pub(crate) async fn settled(api: &Api) -> anyhow::Result<()> {
    let (mut least, mut since) = (u64::MAX, Instant::now());
    loop {
        let mut left = 0;
        for lane in Lane::ALL {
            let view: ConnectionView = api.connection(lane.name()).await;
            left += view.depth.pending + view.depth.in_flight;
        }
        if left == 0 {
            return Ok(());
        }
        if left < least {
            (least, since) = (left, Instant::now());
        }
        ensure!(since.elapsed() < STANDSTILL_MAX, "{left} deliveries do not move");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Everything, once nothing waits any more. `kills` is how often the server was killed.
pub(crate) async fn reckon(api: &Api, sent: &[Sent], world: &Destination, kills: u64) -> anyhow::Result<Found> {
    let mut askers = JoinSet::new();
    for share in sent.chunks(sent.len().div_ceil(ASKERS).max(1)) {
        let (api, share, world) = (api.clone(), share.to_vec(), world.clone());
        askers.spawn(async move {
            let mut found = Found::default();
            for event in &share {
                let one = one(&api, event, &world, &mut found).await;
                one.with_context(|| format!("event {}, answered {:?}", event.id, event.answer))?;
            }
            anyhow::Ok(found)
        });
    }
    let mut found = Found::default();
    while let Some(share) = askers.join_next().await {
        found.add(share??);
    }
    let lanes = Lane::ALL.len() as u64;
    let most = kills * lanes * u64::from(CONCURRENCY);
    ensure!(
        found.duplicates <= most,
        "{} duplicates; {kills} kills with {CONCURRENCY} attempts under way in each of {lanes} lanes explain {most}",
        found.duplicates
    );
    in_order(sent, &world.book())?;
    let ids: HashSet<&str> = sent.iter().map(|sent| sent.id.as_str()).collect();
    let book = world.book();
    let strangers = book.keys().filter(|(_, id)| !ids.contains(id.as_str())).count();
    ensure!(
        strangers == 0,
        "{strangers} events reached the destination that nobody had sent"
    );
    Ok(found)
}

/// A producer's events have had their first effect at the ordered lane's destination in the order in which it has sent them:
/// it waits for each answer before it sends the next. Events that were lost with their answer have no place.
fn in_order(sent: &[Sent], book: &Book) -> anyhow::Result<()> {
    let mut latest: HashMap<&str, (u64, &str)> = HashMap::new();
    for event in sent.iter().filter(|event| event.owed().contains(&Lane::Ordered)) {
        let Some(reached) = book.get(&(Lane::Ordered, event.id.clone())) else {
            continue;
        };
        let producer = load::producer(&event.id);
        if let Some((place, before)) = latest.insert(producer, (reached.place, &event.id)) {
            ensure!(place < reached.place, "event {} has overtaken {before}", event.id);
        }
    }
    Ok(())
}

async fn one(api: &Api, event: &Sent, world: &Destination, found: &mut Found) -> anyhow::Result<()> {
    let trace = trace(api, &event.id).await?;
    found.acknowledged += u64::from(event.is_acknowledged());
    let Some(trace) = trace else {
        ensure!(!event.is_acknowledged(), "it was acknowledged and is gone");
        let reached = Lane::ALL.map(|lane| reached(world, lane, event).requests);
        ensure!(
            reached == [0; Lane::ALL.len()],
            "it is gone and has reached the destination"
        );
        return Ok(());
    };
    if let Answer::Refused(status) = event.answer {
        bail!("it was refused with {status} and is there");
    }
    found.kept += u64::from(!event.is_acknowledged());
    let [traced] = trace.events.as_slice() else {
        bail!("it is there {} times", trace.events.len());
    };
    if let Answer::Acknowledged(id) = event.answer {
        ensure!(traced.event.id == id, "it is there under another id");
    }
    let owed = event.owed();
    ensure!(
        traced.deliveries.len() == owed.len(),
        "{} of {} deliveries",
        traced.deliveries.len(),
        owed.len()
    );
    for lane in owed {
        let mut deliveries = traced.deliveries.iter();
        let delivery = deliveries.find(|delivery| delivery.delivery.connection.as_str() == lane.name());
        let delivery = delivery.with_context(|| format!("no delivery to {}", lane.name()))?;
        ended(lane, delivery, &reached(world, lane, event), found)
            .with_context(|| format!("its delivery to {}", lane.name()))?;
    }
    Ok(())
}

fn reached(world: &Destination, lane: Lane, event: &Sent) -> Reached {
    world.book().get(&(lane, event.id.clone())).cloned().unwrap_or_default()
}

/// The delivery has ended as its lane ends them, and every request at the destination is one of its attempts.
fn ended(lane: Lane, trace: &DeliveryTrace, reached: &Reached, found: &mut Found) -> anyhow::Result<()> {
    let state = &trace.delivery.state;
    match (lane.fate(), state) {
        (Fate::Delivered, DeliveryState::Delivered { .. }) => {
            ensure!(
                reached.effects > 0,
                "it is delivered and the destination has not seen it"
            );
            found.delivered += 1;
        }
        (Fate::Dead(expected), DeliveryState::Dead { class, .. }) if *class == expected => {
            ensure!(reached.requests > 0, "it was refused and the destination was not asked");
            found.dead += 1;
        }
        (fate, state) => bail!("its fate is {fate:?} and it is {state:?}"),
    }
    ensure!(reached.keys.len() == 1, "it came under the keys {:?}", reached.keys);
    ensure!(
        reached.keys[0] == trace.delivery.idempotency_key,
        "it came under a key that is not its own"
    );
    let attempts = trace.attempts.len();
    ensure!(
        reached.requests as usize <= attempts,
        "{} requests in {attempts} attempts",
        reached.requests
    );
    // What ended without the host knowing what became of it: killed under way, or stopped before the answer.
    let unknown = trace.attempts.iter().filter(|attempt| {
        let failure = attempt.ended.as_ref().map(|ended| ended.failure.as_ref());
        failure.is_none_or(|failure| failure.is_some_and(|failure| failure.ambiguous))
    });
    let (unknown, again) = (unknown.count(), reached.effects.saturating_sub(1));
    ensure!(
        again as usize <= unknown,
        "it had {} effects, and only {unknown} attempts of unknown end explain more than one",
        reached.effects
    );
    found.duplicates += u64::from(again);
    Ok(())
}

/// None if there is nothing under this correlation id.
async fn trace(api: &Api, id: &str) -> anyhow::Result<Option<TraceView>> {
    let answer = api.request(Method::GET, &format!("/v1/traces/{id}")).send().await?;
    match answer.status() {
        StatusCode::NOT_FOUND => Ok(None),
        StatusCode::OK => Ok(Some(serde_json::from_str(&answer.text().await?)?)),
        other => bail!("the trace of {id} is answered {other}"),
    }
}

impl Found {
    fn add(&mut self, other: Self) {
        let Self {
            acknowledged,
            kept,
            delivered,
            dead,
            duplicates,
        } = other;
        self.acknowledged += acknowledged;
        self.kept += kept;
        self.delivered += delivered;
        self.dead += dead;
        self.duplicates += duplicates;
    }
}
