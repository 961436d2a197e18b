//! What the writer had been told by a moment, and what it had asked for: the measure of what is found after the power loss.

use std::collections::HashMap;

use cofferdam_domain::{CorrelationId, DeliveryId, Digest, EventId};

use super::marks::{End, Mark};

/// The statements up to a moment, summed up.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Everything that was asked for; an event that is not here cannot be there.
    pub(crate) offered: HashMap<EventId, Offered>,
    /// Everything that must be there.
    pub(crate) accepted: Vec<Accepted>,
    /// How far each delivery is known to have come.
    pub(crate) deliveries: HashMap<DeliveryId, Progress>,
}

/// An event as it was asked for.
pub(crate) struct Offered {
    /// Of its body.
    pub(crate) hash: Digest,
    /// Its fan-out.
    pub(crate) deliveries: usize,
}

/// An event as it was acknowledged.
pub(crate) struct Accepted {
    /// Its id.
    pub(crate) event: EventId,
    /// Its correlation id.
    pub(crate) correlation: CorrelationId,
    /// The key that it was sent under.
    pub(crate) dedupe_key: String,
    /// Its deliveries.
    pub(crate) deliveries: Vec<DeliveryId>,
}

/// How far a delivery is known to have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The latest run whose lease was handed out.
    pub(crate) leased: u32,
    /// The latest run whose settle was confirmed.
    pub(crate) settled: u32,
    /// The run after which a person has intervened.
    pub(crate) intervened: u32,
    /// Where it must stand, if it cannot stand anywhere else.
    pub(crate) rests: Option<Rest>,
}

/// A state that a delivery does not leave by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Delivered,
    Dead,
    Discarded,
}

impl Ledger {
    /// The next statement.
    pub(crate) fn enter(&mut self, mark: Mark) {
        match mark {
            Mark::Began | Mark::Opened => {}
            Mark::Offered {
                event,
                hash,
                deliveries,
            } => {
                self.offered.insert(event, Offered { hash, deliveries });
            }
            Mark::Accepted {
                event,
                correlation,
                dedupe_key,
                deliveries,
            } => {
                self.accepted.push(Accepted {
                    event,
                    correlation,
                    dedupe_key,
                    deliveries,
                });
            }
            Mark::Leased { delivery, run } => self.progress(delivery).leased = run,
            Mark::Settled { delivery, run, end } => {
                let progress = self.progress(delivery);
                progress.settled = run;
                // The person may have been quicker than the settler's statement.
                if run > progress.intervened {
                    progress.rests = match end {
                        End::Delivered => Some(Rest::Delivered),
                        End::Dead => Some(Rest::Dead),
                        End::Pending => None,
                    };
                }
            }
            Mark::Intervening { delivery, run } => {
                let progress = self.progress(delivery);
                progress.intervened = run;
                progress.rests = None;
            }
            Mark::Discarded { delivery } => self.progress(delivery).rests = Some(Rest::Discarded),
        }
    }

    fn progress(&mut self, delivery: DeliveryId) -> &mut Progress {
        self.deliveries.entry(delivery).or_default()
    }
}
