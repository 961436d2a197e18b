//! Producers: they send one event after the other until the server is gone, and remember what they were told.

use std::time::Duration;

use cofferdam_server::ingest::EventsAccepted;
use cofferdam_tests::api::Api;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use super::ledger::{Answer, Sent};

/// Producers at once.
const PRODUCERS: u64 = 6;

/// The longest that a producer waits between two events.
const PAUSE_MAX: Duration = Duration::from_millis(25);

/// Producers at work.
pub(crate) struct Load {
    producers: JoinSet<Vec<Sent>>,
}

impl Load {
    /// Starts them; ids begin with `name`.
    pub(crate) fn start(api: &Api, name: &str, seed: u64) -> Self {
        let mut producers = JoinSet::new();
        for number in 0..PRODUCERS {
            let producer = Producer {
                api: api.clone(),
                name: format!("{name}-{number}"),
                rng: StdRng::seed_from_u64(seed.wrapping_mul(PRODUCERS).wrapping_add(number)),
            };
            producers.spawn(producer.run());
        }
        Self { producers }
    }

    /// Waits until all have noticed that the server is gone.
    pub(crate) async fn ended(self) -> Vec<Sent> {
        self.producers.join_all().await.concat()
    }
}

struct Producer {
    api: Api,
    name: String,
    rng: StdRng,
}

impl Producer {
    async fn run(mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        for number in 0.. {
            let kind = match self.rng.random_range(0..100) {
                0..45 => "steady",
                45..60 => "ordered",
                60..80 => "flaky",
                80..86 => "slow",
                86..94 => "refusing",
                _ => "every",
            };
            let id = format!("{}-{number}", self.name);
            let answer = send(&self.api, &id, kind).await;
            // Refused for now is no end; no answer is one.
            let over = matches!(answer, Answer::Nothing | Answer::AcknowledgedOnly);
            all.push(Sent { id, kind, answer });
            if over {
                break;
            }
            tokio::time::sleep(self.rng.random_range(Duration::ZERO..PAUSE_MAX)).await;
        }
        all
    }
}

/// Which producer has sent the event of this id, in whichever cycle: the last part but one.
pub(crate) fn producer(id: &str) -> &str {
    id.rsplit('-').nth(1).unwrap_or(id)
}

/// Sends the event of this id, for the first time or again.
pub(crate) async fn send(api: &Api, id: &str, kind: &str) -> Answer {
    match post(api, id, kind).await {
        Ok((_, Some(accepted))) => Answer::Acknowledged(accepted.accepted[0].id),
        Ok((StatusCode::ACCEPTED, None)) => Answer::AcknowledgedOnly,
        Ok((status, None)) => Answer::Refused(status.as_u16()),
        Err(_) => Answer::Nothing,
    }
}

/// The answer's status, and its content if it is 202 and came whole.
pub(crate) async fn post(api: &Api, id: &str, kind: &str) -> reqwest::Result<(StatusCode, Option<EventsAccepted>)> {
    let data = json!({"do": "call", "method": "POST", "path": "/", "body": id});
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/crash", "type": format!("test.{kind}"), "subject": producer(id),
        "data": data
    });
    let request = api.public("/v1/events").bearer_auth(&api.token);
    let request = request
        .header("content-type", "application/cloudevents+json")
        .header("x-correlation-id", id);
    let answer = request.body(event.to_string()).send().await?;
    let status = answer.status();
    let accepted = match status {
        StatusCode::ACCEPTED => answer
            .text()
            .await
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok()),
        _ => None,
    };
    Ok((status, accepted))
}
