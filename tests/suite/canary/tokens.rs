//! Access tokens that the host obtains: as a client of its own and for a person who consents, renewed, refused, and given back
//! by the upstream.

use cofferdam_server::admin::ConsentStarted;
use cofferdam_tests::oauth2::{CLIENT_SECRET, TOKEN_MARK};
use cofferdam_tests::{Answer, AuthorizationServer, TokenAnswer, Upstream, wait};
use serde_json::json;

use super::outside::file;
use super::places::Place;
use super::scenes::Stage;

impl Stage<'_> {
    /// Every scene of tokens.
    pub(crate) async fn tokens(&mut self) -> anyhow::Result<()> {
        self.canaries.add("the client's secret", CLIENT_SECRET.as_bytes());
        // Every token and every code begins with it.
        self.canaries.add("a token", TOKEN_MARK.as_bytes());
        self.of_the_client().await?;
        self.of_a_person().await
    }

    async fn of_the_client(&mut self) -> anyhow::Result<()> {
        let (server, upstream) = (AuthorizationServer::start().await, reflecting().await);
        self.connect("oauth-client", "client-credentials", &server, &upstream)
            .await;
        self.delivered("oauth-client", &upstream).await?;
        // A server that says no, and repeats what it was sent.
        for (name, code) in [
            ("oauth-down", "temporarily_unavailable"),
            ("oauth-refused", "invalid_client"),
        ] {
            self.connect(name, "client-credentials", &server, &upstream).await;
            server.script([TokenAnswer::no(code)]);
            let asked = server.requests().len();
            self.server.api.send_event(name, &format!("test.{name}"), call()).await;
            wait::until("a token request", || async {
                (server.requests().len() > asked).then_some(())
            })
            .await;
        }
        Ok(())
    }

    async fn of_a_person(&mut self) -> anyhow::Result<()> {
        let (server, upstream) = (AuthorizationServer::start().await, reflecting().await);
        let name = "oauth-person";
        self.connect(name, "authorization-code", &server, &upstream).await;
        let start = format!("/v1/connections/{name}/upstreams/target/oauth2/start");
        let started = self.server.api.post(&start).await;
        self.places.add(Place::ApiAnswers, start, started.to_string());
        let started: ConsentStarted = serde_json::from_value(started)?;
        let page = cofferdam_tests::api::client()
            .get(&started.authorize_url)
            .send()
            .await?;
        anyhow::ensure!(
            page.status().is_success(),
            "the callback was answered {}",
            page.status()
        );
        let head = format!("{:?}", page.headers());
        self.places.add(
            Place::PanelPages,
            "the callback of a consent",
            format!("{head}\n{}", page.text().await?),
        );
        server.script([TokenAnswer::LivesFor(1)]);
        self.delivered(name, &upstream).await?;
        // Answered with 401, the token is renewed once; then the server ends the consent.
        server.script([TokenAnswer::no("invalid_grant")]);
        upstream.script([Answer::status(401)]);
        self.server
            .api
            .send_event("ended", &format!("test.{name}"), call())
            .await;
        upstream.wait_for(upstream.asked().len() + 1).await;
        Ok(())
    }

    async fn connect(&self, name: &str, grant: &str, server: &AuthorizationServer, upstream: &Upstream) {
        let file = file(name, "oauth2", &upstream.url()).replace("credential = \"key\"", "credential = \"tokens\"");
        self.server
            .api
            .apply(&format!("{file}{}", server.table("target", grant)))
            .await;
        self.server.api.set_secret(name, "app", CLIENT_SECRET).await;
    }

    async fn delivered(&self, name: &str, upstream: &Upstream) -> anyhow::Result<()> {
        let before = upstream.asked().len();
        let echo = json!({"do": "echo-log", "method": "POST", "body": "x"});
        self.act(name, "echo-log", echo).await;
        let asked = upstream.asked();
        let carried = asked
            .last()
            .is_some_and(|asked| asked.header("authorization").starts_with("Bearer "));
        anyhow::ensure!(asked.len() > before && carried, "{name}: no token reached the upstream");
        Ok(())
    }
}

fn call() -> serde_json::Value {
    json!({"do": "call", "method": "POST", "body": "x"})
}

/// Gives back its headers, the token among them.
async fn reflecting() -> Upstream {
    Upstream::start([], Answer::echo().header("x-request-id", CLIENT_SECRET)).await
}
