//! Who compiles what now: those who ask for the same digest meanwhile share one compile and its result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cofferdam_domain::Digest;
use tokio::sync::OnceCell;

use super::{CompileError, Compiled};

/// One compile. Whoever comes first runs it; if they give up, another of those who wait does.
pub(super) type Flight = OnceCell<Result<Compiled, CompileError>>;

/// Forgotten when nobody waits for it any more: a failure is shared, not kept.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Digest, Weak<Flight>>>);

impl Flights {
    pub(super) fn of(&self, digest: Digest) -> Arc<Flight> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        if let Some(flight) = flights.get(&digest).and_then(Weak::upgrade) {
            return flight;
        }
        let flight = Arc::new(Flight::new());
        flights.insert(digest, Arc::downgrade(&flight));
        flight
    }
}
