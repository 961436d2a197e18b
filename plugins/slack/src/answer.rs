//! What Slack's answer means. Slack says 200 to almost everything: whether it worked is in the body.

use cofferdam_sdk::{Failure, FailureKind, Receipt, Response};
use serde::Deserialize;

#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    ts: Option<String>,
}

/// Longest error word that is taken over, in bytes: what the host takes as a code.
const CODE_BYTES_MAX: usize = 128;

/// The receipt, or why there is none. `channel/ts` is what Slack's other methods name the message by.
pub(crate) fn receipt(response: Response) -> Result<Receipt, Failure> {
    let response = response.success()?;
    let answer: Answer = response.json()?;
    if !answer.ok {
        let error = answer.error.unwrap_or_else(|| "unknown".to_owned());
        let failure = failure(&error);
        return Err(match response.retry_after_ms() {
            Some(wait) => failure.retry_after_ms(wait),
            None => failure,
        });
    }
    match (answer.channel, answer.ts) {
        (Some(channel), Some(ts)) => {
            Ok(Receipt::new(format!("posted to {channel}")).external_id(format!("{channel}/{ts}")))
        }
        (Some(_) | None, _) => Err(Failure::dependency(
            "Slack says that it posted the message, but not where: the answer has no channel or ts",
        )
        .code("unreadable-answer")),
    }
}

fn failure(error: &str) -> Failure {
    let (kind, meaning) = meaning(error);
    let code: String = error
        .chars()
        .filter(char::is_ascii_graphic)
        .take(CODE_BYTES_MAX)
        .collect();
    Failure::new(kind, meaning).code(code)
}

/// What an error word asks for: <https://docs.slack.dev/reference/methods/chat.postMessage#errors>.
///
/// A word that is not listed counts as `invalid`: Slack understood the request and refused it, so that the same message again
/// would be refused again; a dead letter shows it to a person at once.
fn meaning(error: &str) -> (FailureKind, &'static str) {
    match error {
        "invalid_auth"
        | "not_authed"
        | "account_inactive"
        | "token_revoked"
        | "token_expired"
        | "no_permission"
        | "missing_scope"
        | "not_allowed_token_type"
        | "access_denied"
        | "org_login_required"
        | "two_factor_setup_required"
        | "team_access_not_granted"
        | "ekm_access_denied" => (
            FailureKind::Auth,
            "Slack refused the token, or the token may not do this",
        ),
        "ratelimited" | "rate_limited" | "message_limit_exceeded" => {
            (FailureKind::RateLimited, "Slack asks to slow down")
        }
        "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "team_added_to_org"
        | "request_timeout"
        | "external_channel_migrating" => (FailureKind::Dependency, "Slack does not work now"),
        "channel_not_found"
        | "not_in_channel"
        | "is_archived"
        | "channel_is_archived"
        | "restricted_action"
        | "restricted_action_read_only_channel"
        | "restricted_action_thread_only_channel"
        | "restricted_action_non_threadable_channel"
        | "restricted_action_thread_locked"
        | "messages_tab_disabled"
        | "user_not_found"
        | "invalid_channel"
        | "cannot_reply_to_message"
        | "as_user_not_supported"
        | "method_deprecated"
        | "deprecated_endpoint"
        | "enterprise_is_restricted"
        | "accesslimited"
        | "duplicate_channel_not_found"
        | "slack_connect_canvas_sharing_blocked" => (
            FailureKind::Configuration,
            "Slack does not let the app post to this channel; is the app invited, and is the channel open?",
        ),
        "msg_too_long"
        | "no_text"
        | "invalid_blocks"
        | "invalid_blocks_format"
        | "msg_blocks_too_long"
        | "too_many_attachments"
        | "markdown_text_conflict"
        | "invalid_metadata_format"
        | "invalid_arguments"
        | "invalid_arg_name"
        | "invalid_array_arg"
        | "invalid_charset"
        | "invalid_form_data"
        | "invalid_post_type"
        | "missing_post_type"
        | "invalid_json"
        | "json_not_object" => (FailureKind::Invalid, "Slack refused the message as malformed"),
        _ => (FailureKind::Invalid, "Slack refused the message"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> Result<Receipt, Failure> {
        receipt(Response {
            status,
            headers: vec![("retry-after".to_owned(), b"3".to_vec())],
            body: body.as_bytes().to_vec(),
        })
    }

    #[test]
    fn each_error_word_becomes_the_kind_of_failure_that_helps() {
        let check = |error: &str, expected| {
            let failure = answered(200, &format!(r#"{{"ok":false,"error":"{error}"}}"#)).unwrap_err();
            assert_eq!(failure.kind, expected, "{error}");
            assert_eq!(failure.code.as_deref(), Some(error));
        };
        for error in [
            "invalid_auth",
            "not_authed",
            "account_inactive",
            "token_revoked",
            "missing_scope",
        ] {
            check(error, FailureKind::Auth);
        }
        check("ratelimited", FailureKind::RateLimited);
        for error in ["channel_not_found", "not_in_channel", "is_archived"] {
            check(error, FailureKind::Configuration);
        }
        for error in ["msg_too_long", "no_text", "invalid_blocks", "a_word_of_tomorrow"] {
            check(error, FailureKind::Invalid);
        }
        for error in ["internal_error", "fatal_error", "service_unavailable"] {
            check(error, FailureKind::Dependency);
        }
    }

    #[test]
    fn the_wait_that_slack_asks_for_is_handed_on() {
        let failure = answered(200, r#"{"ok":false,"error":"ratelimited"}"#).unwrap_err();
        assert_eq!(failure.retry_after_ms, Some(3000));
        assert_eq!(answered(429, "").unwrap_err().retry_after_ms, Some(3000));
    }

    #[test]
    fn a_posted_message_is_named_by_channel_and_ts() {
        let receipt = answered(200, r#"{"ok":true,"channel":"C123","ts":"1503435956.000247"}"#).unwrap();
        assert_eq!(receipt.external_id.as_deref(), Some("C123/1503435956.000247"));
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_tried_again() {
        for body in ["<html>", r#"{"ok":true}"#, ""] {
            assert_eq!(answered(200, body).unwrap_err().kind, FailureKind::Dependency, "{body}");
        }
    }
}
