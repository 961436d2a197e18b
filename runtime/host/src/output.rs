//! What a guest returned: how much of it there is, before anything is made of it.
//!
//! wasmtime has copied it by then, within the bound of one crossing; nothing is copied once more before it is known to be
//! within the call's own bounds. Counted are the bytes of all texts and bodies.

use crate::bindings::pollers::exports::cofferdam::connector::poller::Page;
use crate::bindings::sources::exports::cofferdam::connector::source::{Accepted, ImmediateReply, Rejection};
use crate::bindings::types::{EventDraft, Failure, Receipt};
use crate::limits::CallLimits;

/// A guest returned more bytes than it may. Carried as an error of the call.
#[derive(Debug, thiserror::Error)]
#[error("returned {bytes} bytes; {max} are allowed")]
pub(crate) struct OutputExceeded {
    bytes: usize,
    max: usize,
}

/// A guest returned more event drafts than it may.
#[derive(Debug, thiserror::Error)]
#[error("returned {drafts} event drafts; {max} are allowed")]
pub(crate) struct DraftsExceeded {
    drafts: usize,
    max: usize,
}

/// Something that a guest returns.
pub(crate) trait Output {
    /// Event drafts in it.
    fn drafts(&self) -> usize {
        0
    }

    /// Bytes of it.
    fn bytes(&self) -> usize;
}

/// Its bytes, if it is within the limits.
pub(crate) fn checked(output: &impl Output, limits: &CallLimits) -> wasmtime::Result<usize> {
    let (drafts, bytes) = (output.drafts(), output.bytes());
    if drafts > limits.drafts {
        let max = limits.drafts;
        return Err(DraftsExceeded { drafts, max }.into());
    }
    if bytes > limits.output_bytes {
        let max = limits.output_bytes;
        return Err(OutputExceeded { bytes, max }.into());
    }
    Ok(bytes)
}

impl<T: Output, E: Output> Output for Result<T, E> {
    fn drafts(&self) -> usize {
        match self {
            Ok(returned) => returned.drafts(),
            Err(returned) => returned.drafts(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Ok(returned) => returned.bytes(),
            Err(returned) => returned.bytes(),
        }
    }
}

impl Output for Receipt {
    fn bytes(&self) -> usize {
        let confirmation = self.confirmation.as_ref().map_or(0, |expected| expected.key.len());
        text(self.external_id.as_ref()) + text(self.summary.as_ref()) + confirmation
    }
}

impl Output for Failure {
    fn bytes(&self) -> usize {
        text(self.code.as_ref()) + self.message.len()
    }
}

impl Output for Page {
    fn drafts(&self) -> usize {
        self.events.len()
    }

    fn bytes(&self) -> usize {
        all(&self.events) + text(self.next_cursor.as_ref())
    }
}

impl Output for Accepted {
    fn drafts(&self) -> usize {
        self.events.len()
    }

    fn bytes(&self) -> usize {
        all(&self.events) + self.reply.as_ref().map_or(0, reply)
    }
}

impl Output for Rejection {
    fn bytes(&self) -> usize {
        text(self.code.as_ref()) + self.message.len()
    }
}

fn reply(reply: &ImmediateReply) -> usize {
    reply.content_type.len() + reply.body.len()
}

fn all(drafts: &[EventDraft]) -> usize {
    drafts.iter().map(draft).sum()
}

fn draft(draft: &EventDraft) -> usize {
    let extensions = draft.extensions.iter().map(|(name, value)| name.len() + value.len());
    let optional = [&draft.subject, &draft.data_schema, &draft.dedupe_key];
    draft.type_.len()
        + draft.source.len()
        + draft.data_content_type.len()
        + draft.data.len()
        + optional.into_iter().map(|part| text(part.as_ref())).sum::<usize>()
        + extensions.sum::<usize>()
}

fn text(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::types::ExpectedConfirmation;

    fn full_draft() -> EventDraft {
        EventDraft {
            type_: "1".into(),
            source: "22".into(),
            subject: Some("333".into()),
            time: Some(0),
            data_content_type: "4444".into(),
            data_schema: Some("55555".into()),
            extensions: vec![("666".into(), "666".into())],
            data: vec![7; 7],
            dedupe_key: Some("88888888".into()),
        }
    }

    #[test]
    fn every_text_and_every_body_counts() {
        assert_eq!(draft(&full_draft()), 36);
        let receipt = Receipt {
            external_id: Some("1".into()),
            summary: Some("22".into()),
            confirmation: Some(ExpectedConfirmation {
                key: "333".into(),
                within_ms: 1,
            }),
        };
        let page = Page {
            events: vec![full_draft(); 2],
            next_cursor: Some("1".into()),
            more: false,
        };
        let accepted = Accepted {
            events: vec![full_draft(); 3],
            reply: Some(ImmediateReply {
                status: 200,
                content_type: "1".into(),
                body: vec![0; 2],
            }),
        };
        let rejection = Rejection {
            code: Some("1".into()),
            message: "22".into(),
        };
        assert_eq!((receipt.bytes(), page.bytes(), accepted.bytes()), (6, 73, 111));
        assert_eq!((rejection.bytes(), page.drafts(), accepted.drafts()), (3, 2, 3));
    }

    #[test]
    fn what_is_returned_is_taken_up_to_its_bounds_and_not_beyond() {
        let page: Result<Page, Failure> = Ok(Page {
            events: vec![full_draft(); 2],
            next_cursor: None,
            more: false,
        });
        let check = |output_bytes, drafts, expected: Result<usize, &str>| {
            let limits = CallLimits {
                output_bytes,
                drafts,
                ..CallLimits::default()
            };
            let found = checked(&page, &limits).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned));
        };
        check(72, 2, Ok(72));
        check(71, 2, Err("returned 72 bytes; 71 are allowed"));
        check(72, 1, Err("returned 2 event drafts; 1 are allowed"));
    }
}
