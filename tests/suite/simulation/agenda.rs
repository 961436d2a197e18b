//! What is still to come, in the order of its time.

use std::collections::BTreeMap;

use cofferdam_domain::DeliveryId;
use cofferdam_domain::lane::core::AttemptId;

/// Something that happens at a time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    /// A producer sends the arrival of this number.
    Arrive(usize),
    /// The mishap of this number begins.
    Mishap(usize),
    /// A stopped process is started again.
    Start,
    /// A connection that was turned off is turned on.
    Enable(usize),
    /// Somebody has put right what parked the lane.
    Release(usize),
    /// A person decides about a dead letter.
    Judge(DeliveryId),
    /// A lane's sleep is over, unless it was woken since.
    Wake {
        /// Which lane.
        lane: usize,
        /// Which of its sleeps.
        sleep: u64,
    },
    /// A lane's lease is durable, and it gets what it has leased.
    Leased {
        /// Which lane.
        lane: usize,
        /// Of this process.
        process: u32,
    },
    /// A call has ended.
    Answered {
        /// Which.
        attempt: AttemptId,
        /// Of this process.
        process: u32,
    },
    /// A settle reaches the store.
    Written {
        /// Which.
        attempt: AttemptId,
        /// Of this process.
        process: u32,
    },
    /// The server's housekeeping.
    Tidy {
        /// Of this process.
        process: u32,
    },
    /// From here on nothing goes wrong any more.
    Heal,
}

/// Items by time; those of one time in the order in which they were put in.
#[derive(Default)]
pub(super) struct Agenda {
    items: BTreeMap<(u64, u64), Item>,
    count: u64,
}

impl Agenda {
    /// Puts one in, at this time in milliseconds.
    pub(super) fn put(&mut self, at_ms: u64, item: Item) {
        self.count += 1;
        self.items.insert((at_ms, self.count), item);
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Option<(u64, Item)> {
        self.items.pop_first().map(|((at_ms, _), item)| (at_ms, item))
    }
}
