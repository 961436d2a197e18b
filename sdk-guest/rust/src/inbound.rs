//! Incoming requests, and what a source makes of them.

use crate::{Accepted, EventDraft, ImmediateReply, InboundRequest, http};

impl InboundRequest {
    /// The first header of this name, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        http::header(&self.headers, name)
    }
}

impl Accepted {
    /// The request means these events; the host answers.
    #[must_use]
    pub fn events(events: Vec<EventDraft>) -> Self {
        Self { events, reply: None }
    }

    /// The request means nothing that anybody would want to know; the host answers.
    #[must_use]
    pub fn nothing() -> Self {
        Self::events(Vec::new())
    }

    /// Answers with this instead: a provider's handshake, for example. At most 16 KiB.
    #[must_use]
    pub fn reply(mut self, status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.reply = Some(ImmediateReply {
            status,
            content_type: content_type.to_owned(),
            body: body.into(),
        });
        self
    }
}
