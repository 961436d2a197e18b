//! Random secrets, so that what is searched for at the end can have come from nowhere else.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use rand::Rng;

/// In front of a Standard Webhooks secret: <https://github.com/standard-webhooks/standard-webhooks>.
pub(super) const WEBHOOK_PREFIX: &str = "whsec_";

/// What only the server and the outside may know.
pub(super) struct Secrets {
    /// Slack's bot token.
    pub(super) slack_token: String,
    /// Signs GitHub's requests.
    pub(super) github_secret: String,
    /// Signs what goes to the webhook receiver: `whsec_` and base64.
    pub(super) webhook_secret: String,
}

impl Secrets {
    pub(super) fn random() -> Self {
        Self {
            slack_token: format!("xoxb-{}", HEXLOWER.encode(&random_bytes())),
            github_secret: HEXLOWER.encode(&random_bytes()),
            webhook_secret: format!("{WEBHOOK_PREFIX}{}", BASE64.encode(&random_bytes())),
        }
    }

    /// Each secret with every form of it that must not be found anywhere.
    pub(super) fn forms(&self) -> Vec<(&'static str, Vec<u8>)> {
        let webhook_base64 = self.webhook_secret.trim_start_matches(WEBHOOK_PREFIX);
        let webhook_key = BASE64.decode(webhook_base64.as_bytes()).unwrap_or_default();
        let mut forms = Vec::new();
        for (name, secret) in [
            ("the Slack token", self.slack_token.as_bytes()),
            ("GitHub's secret", self.github_secret.as_bytes()),
            ("the webhook secret", webhook_base64.as_bytes()),
            ("the webhook secret", &webhook_key),
        ] {
            forms.push((name, secret.to_vec()));
            forms.push((name, HEXLOWER.encode(secret).into_bytes()));
            forms.push((name, BASE64_NOPAD.encode(secret).into_bytes()));
            forms.push((name, BASE64URL_NOPAD.encode(secret).into_bytes()));
        }
        forms
    }
}

fn random_bytes() -> [u8; 24] {
    let mut bytes = [0; 24];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}
