//! What stands around the server of a run: upstreams that got a secret and give it back, and a person who signs webhooks.

use cofferdam_tests::{Answer, Upstream, sign};

use super::planted::{Canary, Kind, Use};

/// A connection that attaches a canary, and the upstream that gets it.
pub(crate) struct Target {
    pub(crate) canary: Canary,
    pub(crate) upstream: Upstream,
}

impl Target {
    pub(crate) async fn start(kind: Kind) -> Self {
        let canary = kind.canary();
        let upstream = Upstream::start([], Answer::status(200)).await;
        Self { canary, upstream }
    }

    /// The connection's file.
    pub(crate) fn file(&self) -> String {
        file(self.canary.kind.connection, self.canary.kind.slot, &self.upstream.url())
    }

    /// Everything comes back: in a header that is recorded, in others, and in the body in every form.
    pub(crate) fn reflecting(&self, status: u16) -> Answer {
        let text = self.canary.text();
        let mut answer = Answer::ok(self.canary.in_every_form()).with_status(status);
        for name in ["x-request-id", "location", "www-authenticate", "set-cookie", "x-echo"] {
            answer = answer.header(name, text.clone());
        }
        answer
    }
}

/// A connection of the probe whose credential goes into this slot.
pub(crate) fn file(name: &str, slot: &str, url: &str) -> String {
    let credential = if slot == "none" { "" } else { "credential = \"key\"\n" };
    format!(
        "name = \"{name}\"\nconnector = \"probe\"\nsubscribe = [\"test.{name}\"]\n\n[upstreams.target]\nbase_url = \"{url}\"\n\
         attach = \"{slot}\"\n{credential}networks = [\"127.0.0.0/8\"]\nmethods = [\"GET\", \"POST\"]\n\n[policy]\n\
         request_timeout_ms = 400\n\n[policy.retry]\nschedule_ms = [0]\nmax_age_ms = 60000\n"
    )
}

/// A connection that takes webhooks.
pub(crate) fn inbound_file(kind: Kind) -> String {
    format!(
        "name = \"{}\"\nconnector = \"github\"\n[inbound]\nscheme = \"{}\"\ncredential = \"key\"\n",
        kind.connection, kind.slot
    )
}

/// The headers of a webhook that is signed with a secret.
pub(crate) fn signed(kind: Kind, secret: &str, id: &str, body: &str) -> Vec<(&'static str, String)> {
    assert_eq!(kind.used, Use::Inbound);
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-github-event", "issues".to_owned()),
        ("x-github-delivery", id.to_owned()),
    ];
    if kind.slot == "github" {
        headers.push(("x-hub-signature-256", sign::github(secret, body.as_bytes())));
    } else {
        let timestamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let timestamp = timestamp.map_or(0, |since| since.as_secs()).to_string();
        headers.push((
            "webhook-signature",
            sign::standard_webhooks(secret, id, &timestamp, body.as_bytes()),
        ));
        headers.push(("webhook-id", id.to_owned()));
        headers.push(("webhook-timestamp", timestamp));
    }
    headers
}
