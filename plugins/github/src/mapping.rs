//! From a payload to the attributes of an event. Pure: what is not in the payload is not in the event.
//!
//! The shapes are those of <https://docs.github.com/webhooks/webhook-events-and-payloads>.

use cofferdam_sdk::time;

use crate::payload::{Payload, Scalar, Thing};

/// Longest part of a type that a payload chooses, in bytes. GitHub allows 100 characters of `repository_dispatch`.
const ACTION_BYTES_MAX: usize = 128;

/// Longest subject, in bytes: what the host takes. A longer one is left out rather than cut into another's name.
const SUBJECT_BYTES_MAX: usize = 1024;

/// `com.github.push`, `com.github.issues.opened`. An action that a person chose (`repository_dispatch`) may hold anything;
/// what would not do in a type becomes `-`.
pub(crate) fn kind(event: &str, action: Option<&str>) -> String {
    let Some(action) = action else {
        return format!("com.github.{event}");
    };
    let action: String = action
        .chars()
        .take(ACTION_BYTES_MAX)
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    format!("com.github.{event}.{action}")
}

/// The address of the repository, organization or account that it happened in; else the server's.
pub(crate) fn source(payload: &Payload, host: &str) -> String {
    let repository = payload
        .repository
        .get()
        .and_then(|place| address(&place.html_url, &place.full_name, host));
    let organization = || {
        let account = payload.organization.get()?;
        address(&account.html_url, &account.login, host)
    };
    let account = || {
        let account = payload.installation.get()?.account.get()?;
        address(&account.html_url, &account.login, host)
    };
    repository
        .or_else(organization)
        .or_else(account)
        .unwrap_or_else(|| format!("https://{host}"))
}

fn address(html_url: &Scalar, name: &Scalar, host: &str) -> Option<String> {
    match html_url.text() {
        Some(url) => Some(url.to_owned()),
        None => name.text().map(|name| format!("https://{host}/{name}")),
    }
}

/// What it happened to, named as in GitHub's own paths.
pub(crate) fn subject(event: &str, payload: &Payload) -> Option<String> {
    let thing = match event {
        "push" => payload.reference.text().map(str::to_owned),
        "create" | "delete" => branch_or_tag(payload),
        "issues" => numbered("issues", payload.issue.get()),
        "issue_comment" => issue_or_pull(payload),
        "release" => payload
            .release
            .get()
            .and_then(|release| release.tag_name.text())
            .map(|tag| format!("releases/{tag}")),
        "ping" | "meta" => identified("hooks", &payload.hook_id),
        "status" => payload.sha.text().map(|sha| format!("commits/{sha}")),
        "commit_comment" => payload
            .comment
            .get()
            .and_then(|comment| comment.commit_id.text())
            .map(|sha| format!("commits/{sha}")),
        "discussion" | "discussion_comment" => numbered("discussions", payload.discussion.get()),
        "milestone" => numbered("milestones", payload.milestone.get()),
        "check_run" => with_id("check-runs", payload.check_run.get()),
        "check_suite" => with_id("check-suites", payload.check_suite.get()),
        "workflow_run" => with_id("actions/runs", payload.workflow_run.get()),
        "workflow_job" => with_id("actions/jobs", payload.workflow_job.get()),
        "deployment" | "deployment_status" => with_id("deployments", payload.deployment.get()),
        "code_scanning_alert" => numbered("code-scanning/alerts", payload.alert.get()),
        "dependabot_alert" => numbered("dependabot/alerts", payload.alert.get()),
        "secret_scanning_alert" => numbered("secret-scanning/alerts", payload.alert.get()),
        event if event.starts_with("pull_request") => {
            numbered("pulls", payload.pull_request.get()).or_else(|| identified("pulls", &payload.number))
        }
        _ => None,
    };
    thing.filter(|subject| subject.len() <= SUBJECT_BYTES_MAX)
}

/// A comment on a pull request arrives as one on the issue of the same number, which then says `pull_request`.
fn issue_or_pull(payload: &Payload) -> Option<String> {
    let issue = payload.issue.get()?;
    let folder = match issue.pull_request.get() {
        Some(_) => "pulls",
        None => "issues",
    };
    numbered(folder, Some(issue))
}

/// `create` and `delete` give the short name; `push` the full one. Here all give the full one.
fn branch_or_tag(payload: &Payload) -> Option<String> {
    let name = payload.reference.text()?;
    match payload.ref_type.text()? {
        "branch" => Some(format!("refs/heads/{name}")),
        "tag" => Some(format!("refs/tags/{name}")),
        _ => None,
    }
}

fn numbered(folder: &str, thing: Option<&Thing>) -> Option<String> {
    identified(folder, &thing?.number)
}

fn with_id(folder: &str, thing: Option<&Thing>) -> Option<String> {
    identified(folder, &thing?.id)
}

fn identified(folder: &str, number: &Scalar) -> Option<String> {
    number.number().map(|number| format!("{folder}/{number}"))
}

/// When it happened, in milliseconds since the Unix epoch, as far as the payload says.
pub(crate) fn time_ms(event: &str, payload: &Payload) -> Option<u64> {
    let updated = |thing: Option<&Thing>| {
        let thing = thing?;
        instant_ms(&thing.updated_at).or_else(|| instant_ms(&thing.created_at))
    };
    match event {
        "push" => instant_ms(&payload.repository.get()?.pushed_at),
        "issues" => updated(payload.issue.get()),
        "issue_comment" | "commit_comment" | "discussion_comment" | "pull_request_review_comment" => {
            updated(payload.comment.get())
        }
        "pull_request" => updated(payload.pull_request.get()),
        "pull_request_review" => instant_ms(&payload.review.get()?.submitted_at),
        "release" => {
            let release = payload.release.get()?;
            instant_ms(&release.published_at).or_else(|| updated(Some(release)))
        }
        "discussion" => updated(payload.discussion.get()),
        "milestone" => updated(payload.milestone.get()),
        "check_run" | "workflow_job" => {
            let run = payload.check_run.get().or(payload.workflow_job.get())?;
            instant_ms(&run.completed_at).or_else(|| instant_ms(&run.started_at))
        }
        "check_suite" => updated(payload.check_suite.get()),
        "workflow_run" => updated(payload.workflow_run.get()),
        "deployment" => updated(payload.deployment.get()),
        "deployment_status" => updated(payload.deployment_status.get()),
        "status" => instant_ms(&payload.updated_at),
        "star" => instant_ms(&payload.starred_at),
        _ => None,
    }
}

/// RFC 3339 text, or seconds since the Unix epoch: GitHub uses both, even for the same field.
fn instant_ms(when: &Scalar) -> Option<u64> {
    match when {
        Scalar::Number(seconds) => seconds.checked_mul(1000),
        Scalar::Text(text) => time::parse_rfc3339(text),
        Scalar::None => None,
    }
}
