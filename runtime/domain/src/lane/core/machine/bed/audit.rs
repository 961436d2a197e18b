//! What holds after each step, and that everything comes to its end.

use super::super::ledger::Place;
use super::*;

/// Looks at the lane until everything has come to its end; far more than any history needs.
const DRAIN_STEPS_MAX: usize = 20_000;

const DELIVERED: End = End {
    class: None,
    retry_after_ms: None,
};

impl Bed {
    /// Everything works from now on: whatever is left comes to its end.
    pub(in super::super) fn drain(&mut self) {
        self.release();
        for _ in 0..DRAIN_STEPS_MAX {
            let room = match self.look() {
                Allowance::Room(room) => room,
                Allowance::Until(until, _) => {
                    self.pass(until.since(self.now).as_millis().try_into().unwrap());
                    continue;
                }
                Allowance::Signal(_) => 0,
            };
            self.lease(room);
            if let Some(next) = self.under_way.first() {
                if next.decided.is_none() {
                    self.decide_at(0, DELIVERED);
                }
                self.write_at(0);
                // What was decided before may park the lane once more.
                if self.state.parked.is_some() {
                    self.pass(1);
                    self.release();
                }
            } else if let Some(due_at) = self.deliveries.iter().filter_map(due_at).min() {
                self.pass(due_at.since(self.now).as_millis().try_into().unwrap());
            } else {
                return self.check();
            }
            self.check();
        }
        panic!("the lane stalls: {:?}, {:?}", self.core, self.state);
    }

    pub(in super::super) fn check(&self) {
        assert_eq!(self.core.in_flight(), self.under_way.len());
        assert_eq!(self.deliveries.len(), self.ledger.len());
        for (at, (delivery, account)) in self.deliveries.iter().zip(&self.ledger).enumerate() {
            let place = match &delivery.state {
                DeliveryState::Pending { due_at } => Place::Pending(due_at.as_millis()),
                DeliveryState::Leased { .. } => Place::InFlight(delivery.generation),
                DeliveryState::Delivered { .. } => Place::Delivered,
                DeliveryState::Dead { .. } => Place::Dead,
                DeliveryState::Discarded { .. } => panic!("nobody discards here"),
            };
            assert_eq!(place, account.place);
            let counts = (delivery.charged, delivery.faults, delivery.interruptions);
            assert_eq!(
                counts,
                (account.charged, account.faults, account.interruptions),
                "{delivery:?}"
            );
            let valid = (0..self.under_way.len())
                .filter(|run| self.under_way[*run].delivery == at && self.is_valid(*run))
                .count();
            assert_eq!(
                valid,
                usize::from(matches!(place, Place::InFlight(_))),
                "leases of {delivery:?}"
            );
        }
    }
}
