//! The three connections of the demo, as an admin would write them.

use std::net::SocketAddr;

/// Takes GitHub's requests in.
pub(super) const GITHUB: &str = "github";
/// Posts to Slack.
pub(super) const SLACK: &str = "slack-alerts";
/// Posts to the webhook receiver.
pub(super) const AUDIT: &str = "audit-webhook";

/// The channel that the messages go to.
pub(super) const CHANNEL: &str = "C0COFFERDAM";

/// A connection file, and the credential that it needs.
pub(super) struct Install {
    /// The connection.
    pub(super) name: &'static str,
    /// Its file.
    pub(super) file: String,
    /// What its file calls the credential.
    pub(super) credential: &'static str,
}

/// What is applied. The stand-ins are on loopback, which is blocked unless an admin lists it; waits are short, so that nobody has
/// to sit through the real ones.
pub(super) fn installs(slack: SocketAddr, receiver: SocketAddr) -> [Install; 3] {
    let github = format!(
        r#"
name = "{GITHUB}"
connector = "github"

[inbound]
scheme = "github"
credential = "webhook-secret"
"#
    );
    let slack = format!(
        r#"
name = "{SLACK}"
connector = "slack"
owner = "demo"
subscribe = ["com.github.*"]

[settings]
channel = "{CHANNEL}"

[upstreams.slack]
base_url = "http://{slack}/api"
credential = "bot-token"
networks = ["127.0.0.0/8"]

[policy.retry]
schedule_ms = [0, 300, 600, 1_000, 2_000]
"#
    );
    let audit = format!(
        r#"
name = "{AUDIT}"
connector = "webhook"
owner = "demo"
subscribe = ["com.github.*"]

[settings]
path = "/events"

[upstreams.endpoint]
base_url = "http://{receiver}"
credential = "signing-secret"
networks = ["127.0.0.0/8"]

[policy.retry]
schedule_ms = [0, 300, 600, 1_000, 2_000]
"#
    );
    [
        Install {
            name: GITHUB,
            file: github,
            credential: "webhook-secret",
        },
        Install {
            name: SLACK,
            file: slack,
            credential: "bot-token",
        },
        Install {
            name: AUDIT,
            file: audit,
            credential: "signing-secret",
        },
    ]
}

#[cfg(test)]
mod tests {
    use cofferdam_server::config::parse_connection;

    use super::*;

    #[test]
    fn every_file_of_the_demo_is_valid_and_names_its_credential() {
        let address = "127.0.0.1:4000".parse().unwrap();
        for install in installs(address, address) {
            let spec = parse_connection(&install.file).unwrap();
            assert_eq!(spec.name.as_str(), install.name);
            assert!(
                install
                    .file
                    .contains(&format!("credential = \"{}\"", install.credential))
            );
        }
    }
}
