//! Requests as GitHub sends them: headers, signature, and payloads in the shape of
//! <https://docs.github.com/webhooks/webhook-events-and-payloads>, with content of our own.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The issue's title, by which the stand-ins know its message.
pub(super) const ISSUE_TITLE: &str = "Pump 3 trips when the tide turns";

/// One request.
pub(super) struct Webhook {
    /// `X-GitHub-Event`.
    pub(super) event: &'static str,
    /// `X-GitHub-Delivery`: GitHub's own id, the same when it sends the request again.
    pub(super) delivery: &'static str,
    /// The body.
    pub(super) body: Vec<u8>,
}

impl Webhook {
    /// `X-Hub-Signature-256`: <https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries>.
    pub(super) fn signature(&self, secret: &str) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length (RFC 2104)");
        mac.update(&self.body);
        format!("sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes()))
    }
}

/// Somebody opened an issue.
pub(super) fn issue_opened() -> Webhook {
    webhook(
        "issues",
        "3b1f7a52-0d6e-11f0-9cd2-0242ac120001",
        &json!({
            "action": "opened",
            "issue": {
                "id": 3_001, "number": 42, "state": "open", "title": ISSUE_TITLE,
                "html_url": "https://github.com/harbour-works/pumps/issues/42",
                "body": "Since Monday pump 3 trips within a minute of high water.\nThe other two carry on <as they should>.",
                "user": account("marit"), "labels": [{ "id": 7, "name": "bug", "color": "d73a4a" }],
                "created_at": "2026-11-23T15:08:51Z", "updated_at": "2026-11-23T15:08:51Z"
            },
            "repository": repository(), "sender": account("marit")
        }),
    )
}

/// Somebody opened a pull request.
pub(super) fn pull_request_opened() -> Webhook {
    webhook(
        "pull_request",
        "3b1f7a52-0d6e-11f0-9cd2-0242ac120002",
        &json!({
            "action": "opened",
            "number": 43,
            "pull_request": {
                "id": 4_001, "number": 43, "state": "open", "draft": false, "merged": false,
                "title": "Wait for the float switch to settle",
                "html_url": "https://github.com/harbour-works/pumps/pull/43",
                "body": "Reads the switch three times before it believes it. Fixes #42.",
                "user": account("jonas"),
                "head": { "ref": "settle-float-switch", "sha": "9c1f0a7d5b3e4f2a8c6d1e0b7a9f5c3d2e1b4a60" },
                "base": { "ref": "main", "sha": "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d" },
                "created_at": "2026-11-23T15:08:55Z", "updated_at": "2026-11-23T15:08:55Z"
            },
            "repository": repository(), "sender": account("jonas")
        }),
    )
}

/// Somebody pushed to a branch.
pub(super) fn push() -> Webhook {
    webhook(
        "push",
        "3b1f7a52-0d6e-11f0-9cd2-0242ac120003",
        &json!({
            "ref": "refs/heads/main",
            "before": "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d",
            "after": "9c1f0a7d5b3e4f2a8c6d1e0b7a9f5c3d2e1b4a60",
            "created": false, "deleted": false, "forced": false,
            "compare": "https://github.com/harbour-works/pumps/compare/1a2b3c4d5e6f...9c1f0a7d5b3e",
            "commits": [{
                "id": "9c1f0a7d5b3e4f2a8c6d1e0b7a9f5c3d2e1b4a60",
                "message": "Wait for the float switch to settle",
                "timestamp": "2026-11-23T15:08:40Z",
                "url": "https://github.com/harbour-works/pumps/commit/9c1f0a7d5b3e4f2a8c6d1e0b7a9f5c3d2e1b4a60",
                "author": { "name": "Jonas", "email": "jonas@example.com" },
                "added": [], "removed": [], "modified": ["src/float_switch.rs"]
            }],
            "pusher": { "name": "jonas", "email": "jonas@example.com" },
            "repository": repository(), "sender": account("jonas")
        }),
    )
}

fn webhook(event: &'static str, delivery: &'static str, payload: &Value) -> Webhook {
    Webhook {
        event,
        delivery,
        body: payload.to_string().into_bytes(),
    }
}

fn repository() -> Value {
    json!({
        "id": 501, "name": "pumps", "full_name": "harbour-works/pumps", "private": true,
        "owner": account("harbour-works"), "html_url": "https://github.com/harbour-works/pumps",
        "default_branch": "main", "pushed_at": 1_795_446_520
    })
}

fn account(login: &str) -> Value {
    json!({ "login": login, "id": login.len(), "type": "User", "html_url": format!("https://github.com/{login}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_githubs_own_example() {
        // The example of GitHub's page on validating deliveries.
        let webhook = Webhook {
            event: "ping",
            delivery: "1",
            body: b"Hello, World!".to_vec(),
        };
        let expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(webhook.signature("It's a Secret to Everybody"), expected);
    }
}
