//! Connection files that the flows share.

use cofferdam_tests::artifacts::{plugin, test_guest};
use cofferdam_tests::{Running, Setup, Upstream};

/// The signing secret of the connection `github`.
pub(crate) const GITHUB_SECRET: &str = "It's a Secret to Everybody";

/// A retry schedule that a test can wait for.
pub(crate) const QUICK: &str = "[policy.retry]\nschedule_ms = [0, 20, 20, 20]\nmax_age_ms = 60000\nfaults_max = 2\n";

/// A server with the test connector and nothing else.
pub(crate) async fn probe_server() -> Running {
    Setup::new().plugin(&test_guest("probe")).start().await
}

/// A connection of the probe to this upstream; `more` is TOML behind it.
pub(crate) fn probe(name: &str, upstream: &Upstream, more: &str) -> String {
    let attach = if more.contains("credential") { "bearer" } else { "none" };
    format!(
        "name = \"{name}\"\nconnector = \"probe\"\nsubscribe = [\"test.{name}\"]\n\n[upstreams.target]\nbase_url = \"{}\"\n\
         attach = \"{attach}\"\nnetworks = [\"127.0.0.0/8\"]\nmethods = [\"GET\", \"POST\", \"PUT\"]\n{more}\n",
        upstream.url()
    )
}

/// A server with GitHub as its source and Slack as its sink, wired to this stand-in.
pub(crate) async fn github_to_slack(slack: &Upstream, more: &str) -> Running {
    let setup = Setup::new().plugin(&plugin("github")).plugin(&plugin("slack"));
    let server = setup.start().await;
    server
        .api
        .apply("name = \"github\"\nconnector = \"github\"\n[inbound]\nscheme = \"github\"\ncredential = \"signing\"\n")
        .await;
    server.api.set_secret("github", "signing", GITHUB_SECRET).await;
    server.api.apply(&slack_file(slack, more)).await;
    server.api.set_secret("slack-alerts", "bot", "xoxb-the-bot-token").await;
    server
}

/// The connection file of the sink.
pub(crate) fn slack_file(slack: &Upstream, more: &str) -> String {
    format!(
        "name = \"slack-alerts\"\nconnector = \"slack\"\nsubscribe = [\"com.github.*\"]\n\n[settings]\nchannel = \"#ops\"\n\n\
         [upstreams.slack]\nbase_url = \"{}/api\"\ncredential = \"bot\"\nnetworks = [\"127.0.0.0/8\"]\n\n{more}\n",
        slack.url()
    )
}

/// What Slack answers to a message that it has taken.
pub(crate) const SLACK_OK: &str = r#"{"ok":true,"channel":"C1","ts":"1700000000.000100"}"#;

/// A push as GitHub sends it, cut to what connectors read.
pub(crate) fn issue_opened(number: u32) -> String {
    serde_json::json!({
        "action": "opened",
        "issue": {
            "number": number, "title": "Pumps fail at high tide", "state": "open",
            "html_url": format!("https://github.com/acme/dam/issues/{number}"),
            "user": {"login": "mona"}, "created_at": "2026-11-01T10:00:00Z", "updated_at": "2026-11-01T10:00:00Z",
            "body": "The second pump stops."
        },
        "repository": {"full_name": "acme/dam", "html_url": "https://github.com/acme/dam", "owner": {"login": "acme"}, "name": "dam"},
        "sender": {"login": "mona"}
    })
    .to_string()
}
