//! What a run plays: with every kind of secret, everything that can go well or badly.

use cofferdam_domain::{DeliveryState, ExchangeResult};
use cofferdam_server::admin::views::DeliveryTrace;
use cofferdam_tests::{Answer, Running, wait};
use reqwest::Method;
use serde_json::{Value, json};

use super::outside::{Target, signed};
use super::places::{Place, Places};
use super::planted::{Canary, Use};
use crate::needles::Needles;

/// What all scenes share.
pub(crate) struct Stage<'a> {
    pub(crate) server: &'a Running,
    pub(crate) places: &'a mut Places,
    /// Everything that must be nowhere; grows as secrets are rotated.
    pub(crate) canaries: &'a mut Needles,
    /// What is planted on purpose.
    pub(crate) control: &'a Needles,
}

impl Stage<'_> {
    /// Every scene of one outbound secret. Answers with what was wrong with how the upstream was asked, if anything.
    pub(crate) async fn outbound(&mut self, target: &Target) -> anyhow::Result<()> {
        let name = target.canary.kind.connection;
        self.in_memory(name, target).await?;

        target.upstream.answer_with(target.reflecting(200));
        let trace = self
            .act(
                name,
                "echo-log",
                json!({"do": "echo-log", "method": "POST", "body": "x"}),
            )
            .await;
        expect(&trace, "delivered", |state| {
            matches!(state, DeliveryState::Delivered { .. })
        })?;
        let reflected = trace.attempts.iter().filter_map(|attempt| attempt.ended.as_ref());
        let reflected = reflected
            .flat_map(|end| &end.trail)
            .any(|exchange| exchange.credential_reflected);
        anyhow::ensure!(reflected, "{name}: that the secret came back is not recorded");

        for status in [302, 400, 403, 500] {
            target.upstream.answer_with(target.reflecting(status));
            let call = json!({"do": "call", "method": "POST", "body": "x"});
            if status == 403 {
                self.parked_and_rotated(name, target, &call).await?;
            } else {
                let trace = self.act(name, &status.to_string(), call).await;
                expect(&trace, "dead", is_dead)?;
            }
        }
        target.upstream.answer_with(Answer::held());
        let trace = self
            .act(name, "held", json!({"do": "call", "method": "POST", "body": "x"}))
            .await;
        expect(&trace, "dead", is_dead)?;
        target.upstream.answer_with(Answer::status(200));
        let refused = json!({"do": "call", "headers": [["authorization", "mine"], ["x_api_key", "mine"]]});
        let trace = self.act(name, "refused", refused).await;
        let results = trace
            .attempts
            .iter()
            .filter_map(|attempt| attempt.ended.as_ref())
            .flat_map(|end| &end.trail);
        let refused = results
            .map(|exchange| &exchange.result)
            .any(|result| matches!(result, ExchangeResult::Refused { .. }));
        anyhow::ensure!(refused, "{name}: a header of the guest's own was not refused");
        // The words of a failure are logged, recorded and shown.
        self.act(
            name,
            "says",
            json!({"do": "say", "kind": "invalid", "message": "no secret here"}),
        )
        .await;
        Ok(())
    }

    /// The guest gets the secret back in every form, keeps all of it, and searches its own memory.
    async fn in_memory(&mut self, name: &str, target: &Target) -> anyhow::Result<()> {
        target.upstream.answer_with(target.reflecting(200));
        let mut needles = Needles::default();
        target.canary.add_to(&mut needles);
        let found = self.searched(name, "search", &needles).await?;
        anyhow::ensure!(
            found.is_empty(),
            "{name}: the guest's memory holds {}",
            found.join(", ")
        );
        let asked = target.upstream.asked();
        anyhow::ensure!(!asked.is_empty(), "{name}: the upstream was never asked");
        Ok(())
    }

    /// Has the guest of a connection ask its upstream twice and search its memory; what it found, by name.
    pub(crate) async fn searched(&mut self, name: &str, id: &str, needles: &Needles) -> anyhow::Result<Vec<String>> {
        let calls = json!([{}, {"method": "POST", "body": "x"}]);
        let search = json!({"do": "search", "calls": calls, "needles": needles.masked()});
        let trace = self.act(name, id, search).await;
        let DeliveryState::Delivered { receipt, .. } = &trace.delivery.state else {
            anyhow::bail!(
                "{name}: the search of its memory did not come to its end: {:?}",
                trace.delivery.last_failure
            );
        };
        let said = receipt.summary.clone().unwrap_or_default();
        let (searched, found) = said.split_once(" bytes, found ").unwrap_or_default();
        let bytes: usize = searched.trim_start_matches("searched ").parse()?;
        anyhow::ensure!(bytes > 64 * 1024, "{name}: the guest searched {bytes} bytes only");
        let found: Vec<usize> = serde_json::from_str(found)?;
        // What the search looked at cannot be taken out of the guest; what it found can.
        let names: Vec<_> = found.iter().map(|at| needles.name(*at).to_owned()).collect();
        self.places
            .add(Place::GuestMemory, format!("memory of {name}"), vec![0; bytes]);
        Ok(names)
    }

    /// The upstream says 403, the lane is parked, and a new secret sets it going again.
    async fn parked_and_rotated(&mut self, name: &str, target: &Target, call: &Value) -> anyhow::Result<()> {
        let accepted = self
            .server
            .api
            .send_event("403", &format!("test.{name}"), call.clone())
            .await;
        let correlation = accepted.accepted[0].correlation_id.clone();
        wait::until("the end of a refused attempt", || async {
            let trace = self.server.api.trace(correlation.as_str()).await;
            let ended = trace
                .events
                .first()?
                .deliveries
                .first()?
                .attempts
                .first()?
                .ended
                .is_some();
            ended.then_some(())
        })
        .await;
        self.look_at_everything(&format!("while {name} is parked")).await?;
        let next = target.canary.kind.canary();
        next.add_to(self.canaries);
        target.upstream.answer_with(Answer::ok(next.in_every_form()));
        self.server.api.set_secret(name, "key", &next.text()).await;
        self.server.api.wait_delivered(correlation.as_str()).await;
        self.server.api.set_secret(name, "key", &target.canary.text()).await;
        Ok(())
    }

    /// Hooks that are verified, forged and sent again.
    pub(crate) async fn inbound(&mut self, canary: &Canary) -> anyhow::Result<()> {
        let kind = canary.kind;
        assert_eq!(kind.used, Use::Inbound);
        let good = r#"{"action":"opened","issue":{"number":1},"repository":{"full_name":"a/b"}}"#;
        let (text, forged) = (canary.text(), kind.canary().text());
        for (id, secret, body, status) in [
            ("1", &text, good, 202),
            ("1", &text, good, 202),
            ("2", &forged, good, 401),
            ("3", &text, "no JSON", 202),
        ] {
            let path = format!("/hooks/{}", kind.connection);
            let mut request = self.server.api.public(&path).body(body.to_owned());
            for (name, value) in signed(kind, secret, id, body) {
                request = request.header(name, value);
            }
            let answer = request.send().await?;
            let (seen, headers) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
            self.places
                .add(Place::HookAnswers, path, format!("{headers}\n{}", answer.text().await?));
            anyhow::ensure!(
                seen == status,
                "{}: hook {id} was answered {seen}, not {status}",
                kind.connection
            );
        }
        Ok(())
    }

    /// Requests that cannot be done, with a secret in them.
    pub(crate) async fn mistakes(&mut self, canary: &Canary) -> anyhow::Result<()> {
        let text = canary.text();
        let known = format!("/v1/connections/{}/secrets/key", canary.kind.connection);
        for (path, token, body, status) in [
            (
                "/v1/connections/nobody/secrets/key",
                self.server.api.token.as_str(),
                text.clone(),
                404,
            ),
            (known.as_str(), "not-a-token", text.clone(), 401),
            (known.as_str(), self.server.api.token.as_str(), text.repeat(1000), 0),
            (
                "/v1/connections/Not%20A%20Name/secrets/key",
                self.server.api.token.as_str(),
                text.clone(),
                0,
            ),
        ] {
            let url = format!("{}{path}", self.server.api.admin);
            let sent = cofferdam_tests::api::client()
                .put(url)
                .bearer_auth(token)
                .body(body)
                .send()
                .await?;
            let seen = sent.status().as_u16();
            anyhow::ensure!(
                seen >= 400 && (status == 0 || status == seen),
                "{path} was answered {seen}"
            );
            let headers = format!("{:?}", sent.headers());
            self.places.add(
                Place::ErrorAnswers,
                format!("PUT {path}"),
                format!("{headers}\n{}", sent.text().await?),
            );
        }
        Ok(())
    }

    /// What is planted on purpose: its connection, its event, its upstream and its failure all name it.
    pub(crate) async fn planted(&mut self, name: &str) -> anyhow::Result<()> {
        let found = self.searched(name, "planted-memory", self.control).await?;
        anyhow::ensure!(!found.is_empty(), "the search of a guest's memory finds nothing");
        self.places.add(Place::GuestMemory, "what was planted", name);
        let say = json!({"do": "say", "kind": "invalid", "message": format!("failed because of {name}")});
        let trace = self.act(name, "planted-failure", say).await;
        expect(&trace, "dead", is_dead)
    }

    /// Replays what died, once by one and once by many, and discards the rest.
    pub(crate) async fn redrives(&mut self) -> anyhow::Result<()> {
        let api = &self.server.api;
        let letters = api.dead_letters().await;
        let Some(first) = letters.first() else {
            anyhow::bail!("nothing died, so nothing can be replayed");
        };
        let path = format!("/v1/dead-letters/{}/replay", first.delivery.id);
        let replayed = api.post(&path).await;
        self.places.add(Place::ApiAnswers, path, replayed.to_string());
        let bulk = json!({"filter": {"connection": "bearer"}});
        for path in ["/v1/dead-letters/replay", "/v1/dead-letters/discard"] {
            let sent = api
                .request(Method::POST, path)
                .header("content-type", "application/json")
                .body(bulk.to_string())
                .send()
                .await?;
            self.places.add(Place::ApiAnswers, path, sent.text().await?);
        }
        Ok(())
    }

    pub(crate) async fn act(&self, name: &str, id: &str, data: Value) -> DeliveryTrace {
        let id = format!("{name}-{id}");
        let accepted = self.server.api.send_event(&id, &format!("test.{name}"), data).await;
        let ended =
            |state: &DeliveryState| matches!(state, DeliveryState::Delivered { .. } | DeliveryState::Dead { .. });
        self.server
            .api
            .wait_for_state(accepted.accepted[0].correlation_id.as_str(), ended)
            .await
    }
}

fn is_dead(state: &DeliveryState) -> bool {
    matches!(state, DeliveryState::Dead { .. })
}

fn expect(trace: &DeliveryTrace, what: &str, is: impl Fn(&DeliveryState) -> bool) -> anyhow::Result<()> {
    let delivery = &trace.delivery;
    anyhow::ensure!(
        is(&delivery.state),
        "{}: expected {what}, seen {:?}: {:?}",
        delivery.connection,
        delivery.state,
        delivery.last_failure
    );
    Ok(())
}
