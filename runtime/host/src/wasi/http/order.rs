//! The order in which a call's requests enter the gate: that in which the guest began them, however many of them go on at
//! once and whichever of them it gives up.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

/// Hands out places in the order. Holds the numbers of those that have neither entered nor been given up.
pub(in crate::wasi) struct Order {
    begun: u64,
    waiting: Arc<watch::Sender<BTreeSet<u64>>>,
}

/// One request's place; dropped when it has entered, or is given up.
pub(super) struct Place {
    number: u64,
    waiting: Arc<watch::Sender<BTreeSet<u64>>>,
}

impl Order {
    pub(in crate::wasi) fn new() -> Self {
        Self {
            begun: 0,
            waiting: Arc::new(watch::Sender::new(BTreeSet::new())),
        }
    }

    /// The next place, if fewer than `begun_max` were handed out.
    pub(super) fn next(&mut self, begun_max: u64) -> Option<Place> {
        if self.begun >= begun_max {
            return None;
        }
        let number = self.begun;
        self.begun += 1;
        self.waiting.send_modify(|waiting| {
            waiting.insert(number);
        });
        Some(Place {
            number,
            waiting: Arc::clone(&self.waiting),
        })
    }
}

impl Place {
    /// Returns when nobody is before this one. Cancel-safe.
    pub(super) async fn comes(&self) {
        let mut waiting = self.waiting.subscribe();
        let first = waiting.wait_for(|waiting| waiting.first() == Some(&self.number));
        // An error would mean that the sender is gone, of which this place holds one.
        let _ = first.await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.send_modify(|waiting| {
            waiting.remove(&self.number);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn has_come(place: &Place) -> bool {
        let mut coming = std::pin::pin!(place.comes());
        coming.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn a_place_comes_when_all_before_it_have_entered_or_are_given_up() {
        let mut order = Order::new();
        let mut next = || order.next(10).unwrap();
        let (first, second, third) = (next(), next(), next());
        assert_eq!([&first, &second, &third].map(has_come), [true, false, false]);
        // Given up in the middle, it lets nobody past the one that is still before it.
        drop(second);
        assert!(!has_come(&third));
        drop(first);
        assert!(has_come(&third));
        let fourth = next();
        assert!(!has_come(&fourth));
        drop(third);
        assert!(has_come(&fourth));
    }

    #[test]
    fn places_are_bounded_in_number() {
        let mut order = Order::new();
        assert!(order.next(2).is_some() && order.next(2).is_some());
        assert!(order.next(2).is_none());
    }
}
