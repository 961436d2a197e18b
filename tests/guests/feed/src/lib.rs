//! A poller that pages through an upstream by a cursor. The upstream says in its answer what the poller makes of it, so that a
//! test chooses both what a feed sends and how a connector misbehaves. See [`Answer`].
//!
//! It counts its polls in its state, where it has one, and every event says what the count was: what an attempt has seen is
//! to be read off what it made.

use cofferdam_sdk::{
    Attempt, Connector, Descriptor, Event, EventDraft, Failure, Page, Poller, Receipt, Request, Sink, Upstream,
    connector, log, state,
};
use serde::Deserialize;
use serde_json::json;

struct Feed;

/// What the upstream answers.
#[derive(Default, Deserialize)]
struct Answer {
    /// An event for each, that says so. None has a key by which the host would know it again: taken twice, it would be two.
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    next: Option<String>,
    #[serde(default)]
    more: bool,
    /// What else it does, by one of the words below.
    #[serde(default, rename = "do")]
    act: Option<String>,
    /// How many, or how large.
    #[serde(default)]
    count: usize,
}

impl Connector for Feed {
    fn describe() -> Descriptor {
        Descriptor::new("feed", env!("CARGO_PKG_VERSION"), "Pages through a feed, for tests.")
            .upstream(Upstream::new("feed", "The feed.").bearer().method("GET").method("POST"))
            .produces("test.item")
            .wants_state()
    }
}

impl Poller for Feed {
    fn poll(cursor: Option<String>) -> Result<Page, Failure> {
        let polls = count();
        log::info("asks the feed", &[("cursor", cursor.as_deref().unwrap_or("none"))]);
        let mut request = Request::get("feed", "/items");
        if let Some(cursor) = &cursor {
            request = request.query(format!("after={cursor}"));
        }
        let response = request.send()?;
        let answer: Answer = if response.status == 304 {
            Answer {
                next: cursor,
                ..Answer::default()
            }
        } else if response.status >= 300 && response.header("x-lie").is_some() {
            // Claims a page although the feed has failed.
            Answer {
                ids: vec!["lie".to_owned()],
                next: Some("lie".to_owned()),
                ..Answer::default()
            }
        } else {
            response.success()?.json()?
        };
        let found = polls.map_or_else(|| "none".to_owned(), |polls| polls.to_string());
        let item = |id: &str| {
            let data = json!({ "id": id }).to_string().into_bytes();
            EventDraft::new("test.item", "/feed", "application/json", data)
                .extension("item", id)
                .extension("polls", found.as_str())
        };
        let mut events: Vec<_> = answer.ids.iter().map(|id| item(id)).collect();
        let mut next = answer.next;
        match answer.act.as_deref() {
            Some("panic") => panic!("the feed was told to panic"),
            Some("malformed") => events.push(EventDraft::new("", "/feed", "text/plain", Vec::new())),
            Some("host-type") => events.push(EventDraft::new("dev.cofferdam.poll", "/feed", "text/plain", Vec::new())),
            Some("forged") => events.push(item("forged").extension("polledby", "somebody else")),
            Some("many") => events.extend((0..answer.count).map(|at| item(&format!("many-{at}")))),
            Some("big-cursor") => next = Some("c".repeat(answer.count)),
            Some("big-data") => events.push(EventDraft::new(
                "test.item",
                "/feed",
                "text/plain",
                vec![b'x'; answer.count],
            )),
            Some("fail") => return Err(Failure::dependency("the feed was told to fail")),
            Some(other) => return Err(Failure::configuration(format!("the feed does not know {other}"))),
            None => {}
        }
        let page = Page::new(events, next);
        Ok(if answer.more { page.more() } else { page })
    }
}

/// Counts in the state by every delivery too, and says what it found: deliveries and polls share it.
impl Sink for Feed {
    fn deliver(event: Event, _attempt: Attempt) -> Result<Receipt, Failure> {
        let found = count();
        Request::post("feed", "/delivered")
            .body("application/json", event.data)
            .send()?
            .success()?;
        Ok(Receipt::new(format!("found {found:?}")))
    }
}

/// What the count was, none without a state; it is one more now.
fn count() -> Option<u32> {
    let before = match state::get("polls") {
        Ok(Some(raw)) => String::from_utf8_lossy(&raw).parse().unwrap_or_default(),
        Ok(None) => 0,
        Err(_) => return None,
    };
    let after = u32::saturating_add(before, 1).to_string();
    state::set("polls", after.as_bytes()).ok().map(|()| before)
}

connector!(Feed: Poller + Sink);
