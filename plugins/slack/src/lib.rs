//! Posts events to a Slack channel by [`chat.postMessage`](https://docs.slack.dev/reference/methods/chat.postMessage).
//!
//! GitHub's issues, pull requests, pushes, releases and comments read like a person wrote them; any other event becomes
//! one line that names it. Slack takes no idempotency key here: after an ambiguous time-out a message may appear twice.

mod answer;
mod message;
mod mrkdwn;

use cofferdam_sdk::{
    Attempt, Connector, Descriptor, Event, Failure, Receipt, Request, Sink, Upstream, connector, settings,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

struct Slack;

/// A connection's settings.
#[derive(Deserialize)]
struct Settings {
    channel: String,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    icon_emoji: Option<String>,
}

/// The arguments of `chat.postMessage` that are used.
#[derive(Serialize)]
struct Message<'a> {
    channel: &'a str,
    text: &'a str,
    unfurl_links: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon_emoji: Option<&'a str>,
}

impl Connector for Slack {
    fn describe() -> Descriptor {
        Descriptor::new("slack", env!("CARGO_PKG_VERSION"), "Posts events to a Slack channel.")
            .settings(json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "required": ["channel"],
                "additionalProperties": false,
                "properties": {
                    "channel": {
                        "type": "string",
                        "title": "Channel",
                        "description": "Its id (C0123456789), or #name. The app must have been invited to it.",
                        "minLength": 1,
                        "maxLength": 128
                    },
                    "username": {
                        "type": "string",
                        "title": "Name",
                        "description": "Shown instead of the app's name; needs the scope chat:write.customize.",
                        "maxLength": 80
                    },
                    "icon_emoji": {
                        "type": "string",
                        "title": "Emoji",
                        "description": "Shown instead of the app's icon, :like_this:; needs the scope chat:write.customize.",
                        "maxLength": 80
                    }
                }
            }))
            .upstream(
                Upstream::new("slack", "Posts the messages, as the app whose bot token (xoxb-…) you give it.")
                    .base_url("https://slack.com/api")
                    .bearer()
                    .method("POST")
                    .path_prefix("/chat.postMessage"),
            )
    }
}

impl Sink for Slack {
    fn deliver(event: Event, _attempt: Attempt) -> Result<Receipt, Failure> {
        let settings: Settings = settings::get()?;
        let text = message::text(&event)?;
        let message = Message {
            channel: &settings.channel,
            text: &text,
            unfurl_links: false,
            username: settings.username.as_deref(),
            icon_emoji: settings.icon_emoji.as_deref(),
        };
        let response = Request::post("slack", "/chat.postMessage").json(&message)?.send()?;
        answer::receipt(response)
    }
}

connector!(Slack: Sink);

#[cfg(test)]
mod tests;
