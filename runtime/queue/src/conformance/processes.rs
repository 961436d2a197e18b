//! One process after another, and two at a time.

use cofferdam_domain::{DeliveryState, Outcome};

use super::{Bed, Harness, SecondProcess, at, home, owed, sink, terms};
use crate::{Queue as _, SettleError};

/// Delivery is at least once: the attempt that nobody ended is made again, and its late settle is refused.
pub async fn a_lease_of_a_process_that_is_gone_is_void_for_the_next<H: Harness>() {
    let bed = Bed::<H>::new().await;
    let id = bed.one(at(0)).await;
    let lost = bed.leased(at(0)).await;
    let bed = bed.reopened(at(1)).await;
    assert_eq!(bed.state(id).await, DeliveryState::Pending { due_at: at(1) });
    let late = bed.settle(lost, Outcome::Delivered, at(1)).await;
    assert!(matches!(late, Err(SettleError::Stale(_))));
    let again = bed.leased(at(1)).await;
    assert_eq!((again.delivery.id, again.delivery.interruptions), (id, 1));
}

/// As the harness says of its implementation; nothing is checked where it cannot start a second process.
pub async fn a_second_process_is_refused_or_works_beside_the_first<H: Harness>() {
    let bed = Bed::<H>::new().await;
    match H::SECOND_PROCESS {
        None => {}
        Some(SecondProcess::Refused) => {
            assert!(bed.place.open(at(1)).await.is_err());
            bed.one(at(1)).await;
            assert!(bed.lease(at(1)).await.is_some(), "the first one goes on");
        }
        Some(SecondProcess::Shares) => {
            let second = bed.place.open(at(1)).await.expect("both work on it");
            let accepted = second.accept(vec![owed(b"{}", None, at(1))], at(1)).await;
            accepted.expect("the queue works");
            let mine = bed.lease(at(1)).await;
            let its = second.lease(&home(), &sink(), terms(at(1), 1)).await;
            let its = its.expect("the queue works");
            assert!(mine.is_some() && its.is_none(), "whoever accepts, one of them gets it");
        }
    }
}
