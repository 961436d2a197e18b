//! The two listeners, as a client sees them.

use cofferdam_domain::{DeliveryId, DeliveryState};
use cofferdam_server::admin::views::{
    ConnectionView, ConnectorsView, DeadLetterPage, DeadLetterView, DeliveryTrace, TraceView,
};
use cofferdam_server::ingest::EventsAccepted;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;

use crate::sign;
use crate::wait;

/// A client with an admin token.
#[derive(Clone)]
pub struct Api {
    client: Client,
    /// Base URL of the public listener.
    pub public: String,
    /// Base URL of the admin listener.
    pub admin: String,
    /// The token.
    pub token: String,
}

/// Says what the answer was when it is not the one that was expected.
pub async fn read<T: DeserializeOwned>(response: Response) -> T {
    let status = response.status();
    let text = response.text().await.expect("the answer has an end");
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A plain HTTP client for tests.
pub fn client() -> Client {
    // Another test of the same process may have done it already; that is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .no_proxy()
        .build()
        .expect("a client without options can be made")
}

impl Api {
    /// A client of these listeners.
    pub fn new(public: String, admin: String, token: String) -> Self {
        Self {
            client: client(),
            public,
            admin,
            token,
        }
    }

    /// A request to the admin API.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.admin))
            .bearer_auth(&self.token)
    }

    /// A request to the public listener, without a token.
    pub fn public(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.public))
    }

    /// GET from the admin API.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        read(
            self.request(Method::GET, path)
                .send()
                .await
                .expect("the server answers"),
        )
        .await
    }

    /// Applies a connection file.
    pub async fn apply(&self, file: &str) -> ConnectionView {
        read(
            self.request(Method::POST, "/v1/connections")
                .body(file.to_owned())
                .send()
                .await
                .expect("an answer"),
        )
        .await
    }

    /// Sets a secret.
    pub async fn set_secret(&self, connection: &str, credential: &str, value: &str) {
        let path = format!("/v1/connections/{connection}/secrets/{credential}");
        let sent = self.request(Method::PUT, &path).body(value.to_owned()).send().await;
        let _: serde_json::Value = read(sent.expect("an answer")).await;
    }

    /// POST with a JSON body.
    pub async fn post_json<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> T {
        let sent = self
            .request(Method::POST, path)
            .header("content-type", "application/json");
        read(sent.body(body.to_string()).send().await.expect("an answer")).await
    }

    /// POST without a body.
    pub async fn post(&self, path: &str) -> serde_json::Value {
        read(self.request(Method::POST, path).send().await.expect("an answer")).await
    }

    /// Sends a CloudEvent whose data is this JSON, and hands back what was accepted.
    pub async fn send_event(&self, id: &str, kind: &str, data: serde_json::Value) -> EventsAccepted {
        let event = serde_json::json!({"specversion": "1.0", "id": id, "source": "/tests", "type": kind, "data": data});
        let sent = self.public("/v1/events").bearer_auth(&self.token);
        let sent = sent
            .header("content-type", "application/cloudevents+json")
            .body(event.to_string())
            .send()
            .await;
        read(sent.expect("an answer")).await
    }

    /// Sends a signed GitHub webhook to the connection `github`.
    pub async fn send_github(&self, secret: &str, event: &str, delivery: &str, body: &str) -> Response {
        self.public("/hooks/github")
            .header("content-type", "application/json")
            .header("x-github-event", event)
            .header("x-github-delivery", delivery)
            .header("x-hub-signature-256", sign::github(secret, body.as_bytes()))
            .body(body.to_owned())
            .send()
            .await
            .expect("the server answers")
    }

    /// Everything under a correlation id.
    pub async fn trace(&self, correlation_id: &str) -> TraceView {
        self.get(&format!("/v1/traces/{correlation_id}")).await
    }

    /// The plugins folder.
    pub async fn connectors(&self) -> ConnectorsView {
        self.get("/v1/connectors").await
    }

    /// One connection.
    pub async fn connection(&self, name: &str) -> ConnectionView {
        self.get(&format!("/v1/connections/{name}")).await
    }

    /// The latest dead letters.
    pub async fn dead_letters(&self) -> Vec<DeadLetterView> {
        self.get::<DeadLetterPage>("/v1/dead-letters").await.letters
    }

    /// One delivery.
    pub async fn delivery(&self, id: DeliveryId) -> DeliveryTrace {
        self.get(&format!("/v1/deliveries/{id}")).await
    }

    /// Waits until a delivery under this correlation id is in a state, and hands it back.
    pub async fn wait_for_state(&self, correlation_id: &str, wanted: impl Fn(&DeliveryState) -> bool) -> DeliveryTrace {
        wait::until("the delivery's state", || async {
            let events = self.trace(correlation_id).await.events;
            let mut deliveries = events.into_iter().flat_map(|event| event.deliveries);
            deliveries.find(|made| wanted(&made.delivery.state))
        })
        .await
    }

    /// Waits until it is delivered.
    pub async fn wait_delivered(&self, correlation_id: &str) -> DeliveryTrace {
        self.wait_for_state(correlation_id, |state| matches!(state, DeliveryState::Delivered { .. }))
            .await
    }

    /// Waits until it is dead.
    pub async fn wait_dead(&self, correlation_id: &str) -> DeliveryTrace {
        self.wait_for_state(correlation_id, |state| matches!(state, DeliveryState::Dead { .. }))
            .await
    }
}
