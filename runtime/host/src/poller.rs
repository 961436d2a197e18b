//! `poller.poll`.

use std::sync::Arc;

use cofferdam_domain::event::EventDraft;
use cofferdam_domain::limits::CURSOR_BYTES_MAX;
use cofferdam_domain::{Fault, GuestFailure};
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::bindings::pollers::PollersIndices;
use crate::bindings::pollers::exports::cofferdam::connector::poller as wit;
use crate::call::{Ask, Call, CallReport};
use crate::connector::Connector;
use crate::convert;
use crate::environment::Environment;
use crate::fault::BadReturn;
use crate::imports::Guest;
use crate::limits::CallLimits;
use crate::slots::Slot;

/// What a poll found, checked but for its drafts.
#[derive(Clone, Debug)]
pub struct Page {
    /// Unstamped events.
    pub drafts: Vec<EventDraft>,
    /// Handed to the next poll.
    pub next_cursor: Option<String>,
    /// There is more to fetch now; then the cursor is another one than this poll was handed.
    pub more: bool,
}

/// How a poll ended.
#[derive(Clone, Debug)]
pub enum Polled {
    /// With a page.
    Page(Page),
    /// The guest says that it could not.
    Failed(GuestFailure),
    /// The guest broke the contract.
    Faulted(Fault),
}

impl Connector {
    /// Asks for news once, in an instance, which the slot is the right to: a fresh one, unless it says otherwise.
    pub async fn poll(
        &self,
        cursor: Option<String>,
        environment: Arc<dyn Environment>,
        limits: CallLimits,
        slot: Slot,
    ) -> CallReport<Polled> {
        let poller = self.poller.clone();
        let report = Call::new(&self.engine, &self.instance, environment, limits, slot)
            .reusing(self.digest)
            .run(Poll { poller, cursor })
            .await;
        CallReport {
            result: Ok(report.result.unwrap_or_else(Polled::Faulted)),
            logs: report.logs,
            logs_dropped: report.logs_dropped,
            usage: report.usage,
        }
    }
}

struct Poll {
    poller: Option<PollersIndices>,
    cursor: Option<String>,
}

impl Ask for Poll {
    type Returned = Polled;

    async fn ask(self, store: &mut Store<Guest>, instance: Instance) -> wasmtime::Result<Polled> {
        let Self { poller, cursor } = self;
        let poller = poller
            .ok_or_else(|| BadReturn("exports no poller".to_owned()))?
            .load(&mut *store, &instance)?;
        let returned = poller
            .cofferdam_connector_poller()
            .call_poll(&mut *store, cursor.as_deref())
            .await?;
        Ok(match store.data().returned(returned)? {
            Ok(page) => Polled::Page(checked(page, cursor.as_deref()).map_err(BadReturn)?),
            Err(failure) => Polled::Failed(convert::failure(failure)),
        })
    }
}

fn checked(page: wit::Page, cursor: Option<&str>) -> Result<Page, String> {
    if let Some(next) = page.next_cursor.as_ref().filter(|next| next.len() > CURSOR_BYTES_MAX) {
        return Err(format!(
            "the cursor has {} bytes; {CURSOR_BYTES_MAX} are allowed",
            next.len()
        ));
    }
    // It would be asked the same again at once, for ever.
    if page.more && page.next_cursor.as_deref() == cursor {
        return Err("says that there is more, with the cursor that it was handed".to_owned());
    }
    Ok(Page {
        drafts: page.events.into_iter().map(convert::draft).collect(),
        next_cursor: page.next_cursor,
        more: page.more,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(events: usize, next_cursor: Option<String>, more: bool) -> wit::Page {
        let draft = crate::bindings::types::EventDraft {
            type_: "t".into(),
            source: "/s".into(),
            subject: None,
            time: None,
            data_content_type: "text/plain".into(),
            data_schema: None,
            extensions: Vec::new(),
            data: Vec::new(),
            dedupe_key: None,
        };
        wit::Page {
            events: vec![draft; events],
            next_cursor,
            more,
        }
    }

    #[test]
    fn a_page_is_taken_up_to_its_bounds_and_not_beyond() {
        let cursor = |bytes| Some("c".repeat(bytes));
        for (page, refused) in [
            (page(1000, cursor(4096), true), None),
            (
                page(0, cursor(4097), false),
                Some("the cursor has 4097 bytes; 4096 are allowed"),
            ),
            (page(0, Some(String::new()), true), None),
        ] {
            assert_eq!(checked(page, Some("before")).err().as_deref(), refused);
        }
    }

    #[test]
    fn more_comes_with_another_cursor() {
        for (before, next, good) in [
            (None, Some("a"), true),
            (Some("a"), Some("b"), true),
            (Some("a"), None, true),
            (Some("a"), Some("a"), false),
            (None, None, false),
            (None, Some(""), true),
        ] {
            let next = next.map(str::to_owned);
            assert_eq!(
                checked(page(1, next.clone(), true), before).is_ok(),
                good,
                "{before:?} {next:?}"
            );
            assert!(checked(page(1, next, false), before).is_ok());
        }
    }
}
