//! What a poll found.

use crate::{EventDraft, Page};

impl Default for Page {
    /// Nothing new. The next poll starts without a cursor: see [`Page::new`].
    fn default() -> Self {
        Self::new(Vec::new(), None)
    }
}

impl Page {
    /// These events (at most 1,000), and the cursor for the next poll (at most 4 KiB).
    #[must_use]
    pub fn new(events: Vec<EventDraft>, next_cursor: Option<String>) -> Self {
        Self {
            events,
            next_cursor,
            more: false,
        }
    }

    /// There is more to fetch now: the host polls again without waiting for the schedule.
    #[must_use]
    pub fn more(mut self) -> Self {
        self.more = true;
        self
    }
}
