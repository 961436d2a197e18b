//! From an event to the text of a message. Pure.
//!
//! The limits below add up to less than 4,000 characters as a person sees them, which is what Slack recommends as the most; it
//! cuts at 40,000 (<https://docs.slack.dev/reference/methods/chat.postMessage#truncating>). A test holds both.

use cofferdam_sdk::{Event, Failure};
use serde::Deserialize;

use crate::mrkdwn::{link, plain, quote};

/// Longest title of an issue, a pull request or a release, and longest attribute of another event, in characters.
const TITLE_CHARS_MAX: usize = 250;

/// Longest name of a repository, a person, a branch or an action, and longest title of a commit, in characters.
const NAME_CHARS_MAX: usize = 100;

/// Longest quotation, in characters and lines.
const QUOTE_CHARS_MAX: usize = 500;
const QUOTE_LINES_MAX: usize = 6;

/// Most commits of a push that are shown one by one.
const COMMITS_MAX: usize = 5;

/// What the formats need of a payload. Every field that is absent in some format is optional; the formats say what they
/// cannot do without.
#[derive(Deserialize)]
struct Payload {
    repository: Repository,
    sender: Account,
    #[serde(default)]
    issue: Option<Item>,
    #[serde(default)]
    pull_request: Option<Item>,
    #[serde(default)]
    comment: Option<Comment>,
    #[serde(default)]
    release: Option<Release>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

#[derive(Deserialize)]
struct Account {
    login: String,
}

#[derive(Deserialize)]
struct Item {
    number: u64,
    title: String,
    html_url: String,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    merged: Option<bool>,
    #[serde(default)]
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Comment {
    html_url: String,
    body: String,
}

#[derive(Deserialize)]
struct Release {
    tag_name: String,
    html_url: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    body: Option<String>,
}

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(default)]
    compare: String,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    forced: bool,
    #[serde(default)]
    commits: Vec<Commit>,
    repository: Repository,
    sender: Account,
}

#[derive(Deserialize)]
struct Commit {
    id: String,
    message: String,
    url: String,
}

/// The text of the message for this event.
pub(crate) fn text(event: &Event) -> Result<String, Failure> {
    let github = event.type_.strip_prefix("com.github.").unwrap_or_default();
    Ok(match github.split_once('.').unwrap_or((github, "")) {
        ("push", "") => push(&event.json()?),
        ("issues", action) => issue(&event.json()?, action)?,
        ("pull_request", action) => pull_request(&event.json()?, action)?,
        ("issue_comment", action) => comment(&event.json()?, action)?,
        ("release", action) => release(&event.json()?, action)?,
        _ => any(event),
    })
}

fn issue(payload: &Payload, action: &str) -> Result<String, Failure> {
    let issue = needed(payload.issue.as_ref(), "issue")?;
    let body = quoted_when(action == "opened", issue.body.as_deref());
    Ok(format!("{}{body}", sentence(payload, "issue", &titled(issue), action)))
}

fn pull_request(payload: &Payload, action: &str) -> Result<String, Failure> {
    let pull = needed(payload.pull_request.as_ref(), "pull_request")?;
    // https://docs.github.com/webhooks/webhook-events-and-payloads#pull_request: `closed` and `merged` is a merge.
    let action = if action == "closed" && pull.merged == Some(true) {
        "merged"
    } else {
        action
    };
    let body = quoted_when(action == "opened", pull.body.as_deref());
    Ok(format!(
        "{}{body}",
        sentence(payload, "pull request", &titled(pull), action)
    ))
}

fn comment(payload: &Payload, action: &str) -> Result<String, Failure> {
    let issue = needed(payload.issue.as_ref(), "issue")?;
    let comment = needed(payload.comment.as_ref(), "comment")?;
    let what = match issue.pull_request {
        Some(_) => "pull request",
        None => "issue",
    };
    let head = format!(
        "{} {} {} on {what} {}",
        repository(&payload.repository),
        person(&payload.sender),
        link(&comment.html_url, &format!("{} a comment", verb(action))),
        titled(issue),
    );
    Ok(format!(
        "{head}{}",
        quoted_when(action != "deleted", Some(&comment.body))
    ))
}

fn release(payload: &Payload, action: &str) -> Result<String, Failure> {
    let release = needed(payload.release.as_ref(), "release")?;
    let name = release.name.as_deref().filter(|name| !name.trim().is_empty());
    let label = plain(name.unwrap_or(&release.tag_name), TITLE_CHARS_MAX);
    let body = quoted_when(action == "published", release.body.as_deref());
    Ok(format!(
        "{}{body}",
        sentence(payload, "release", &link(&release.html_url, &label), action)
    ))
}

fn push(push: &Push) -> String {
    let (what, name) = match push.reference.split_once("refs/tags/") {
        Some(("", tag)) => ("tag", tag),
        _ => (
            "branch",
            push.reference.strip_prefix("refs/heads/").unwrap_or(&push.reference),
        ),
    };
    let name = plain(name, NAME_CHARS_MAX);
    let head = format!("{} {}", repository(&push.repository), person(&push.sender));
    if push.deleted {
        return format!("{head} deleted {what} {name}");
    }
    let how = if push.forced { "force-pushed" } else { "pushed" };
    let count = match push.commits.len() {
        0 => format!("{what} {name}"),
        1 => format!("1 commit to {name}"),
        many => format!("{many} commits to {name}"),
    };
    let mut text = format!("{head} {how} {}", link(&push.compare, &count));
    for commit in push.commits.iter().take(COMMITS_MAX) {
        let id: String = commit.id.chars().take(7).collect();
        let title = commit.message.lines().next().unwrap_or_default();
        text.push_str(&format!(
            "\n• {} {}",
            link(&commit.url, &plain(&id, 7)),
            plain(title, NAME_CHARS_MAX)
        ));
    }
    if push.commits.len() > COMMITS_MAX {
        text.push_str(&format!("\n• … and {} more", push.commits.len() - COMMITS_MAX));
    }
    text
}

/// Any event: its attributes, since nothing is known of its data.
fn any(event: &Event) -> String {
    let source = plain(&event.source, TITLE_CHARS_MAX);
    let subject = match &event.subject {
        Some(subject) => format!(" · {}", plain(subject, TITLE_CHARS_MAX)),
        None => String::new(),
    };
    format!(
        "*{}*{subject} · {}",
        plain(&event.type_, TITLE_CHARS_MAX),
        link(&event.source, &source)
    )
}

/// `[acme/app] octocat opened issue #42 Title`.
fn sentence(payload: &Payload, what: &str, which: &str, action: &str) -> String {
    format!(
        "{} {} {} {what} {which}",
        repository(&payload.repository),
        person(&payload.sender),
        verb(action)
    )
}

/// GitHub's actions are past participles, with `_` between words; but for a few.
fn verb(action: &str) -> String {
    match action {
        "" => "changed".to_owned(),
        "synchronize" => "pushed to".to_owned(),
        "ready_for_review" => "marked as ready".to_owned(),
        "converted_to_draft" => "made a draft of".to_owned(),
        "review_requested" => "requested a review of".to_owned(),
        "review_request_removed" => "withdrew a request to review".to_owned(),
        action => plain(&action.replace('_', " "), NAME_CHARS_MAX),
    }
}

fn repository(repository: &Repository) -> String {
    format!("*[{}]*", plain(&repository.full_name, NAME_CHARS_MAX))
}

fn person(account: &Account) -> String {
    plain(&account.login, NAME_CHARS_MAX)
}

fn titled(item: &Item) -> String {
    let label = format!("#{} {}", item.number, plain(&item.title, TITLE_CHARS_MAX));
    link(&item.html_url, &label)
}

fn quoted_when(wanted: bool, text: Option<&str>) -> String {
    match text {
        Some(text) if wanted => quote(text, QUOTE_LINES_MAX, QUOTE_CHARS_MAX),
        Some(_) | None => String::new(),
    }
}

fn needed<'a, T>(field: Option<&'a T>, name: &str) -> Result<&'a T, Failure> {
    field.ok_or_else(|| Failure::data_quality(format!("the data has no `{name}`")))
}
