//! A brake on those who guess tokens: so many failed sign-ins per address and minute.
//!
//! Tokens hold 256 random bits, so guessing is hopeless anyway; this keeps it from being noisy, too. Behind a proxy all
//! callers share one address, and one of them can use up the others' tries for a minute. The API is not affected.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cofferdam_domain::Timestamp;

/// Failed sign-ins of one address in one window.
const FAILURES_MAX: u32 = 10;

/// After this, an address starts afresh.
const WINDOW: Duration = Duration::from_secs(60);

/// Most addresses that are remembered. One too many forgets the one whose window began first.
const ADDRESSES_MAX: usize = 1_024;

/// Failed sign-ins, by address.
#[derive(Default)]
pub(super) struct Throttle {
    windows: Mutex<HashMap<IpAddr, Window>>,
}

struct Window {
    began: Timestamp,
    failures: u32,
}

impl Throttle {
    /// Counts a try, as failed until [`Throttle::succeeded`] says otherwise, so that tries at the same moment count, too.
    /// The error is how long to wait.
    pub(super) fn admit(&self, address: IpAddr, now: Timestamp) -> Result<(), Duration> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.get(&address).is_none_or(|window| window.is_over(now)) {
            make_room(&mut windows, now);
            windows.insert(
                address,
                Window {
                    began: now,
                    failures: 1,
                },
            );
            return Ok(());
        }
        match windows.get_mut(&address) {
            Some(window) if window.failures >= FAILURES_MAX => Err(WINDOW.saturating_sub(now.since(window.began))),
            Some(window) => {
                window.failures += 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Takes a counted try back.
    pub(super) fn succeeded(&self, address: IpAddr) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = windows.get_mut(&address) {
            window.failures = window.failures.saturating_sub(1);
        }
    }
}

impl Window {
    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.began) >= WINDOW
    }
}

fn make_room(windows: &mut HashMap<IpAddr, Window>, now: Timestamp) {
    if windows.len() < ADDRESSES_MAX {
        return;
    }
    windows.retain(|_, window| !window.is_over(now));
    if windows.len() >= ADDRESSES_MAX
        && let Some(first) = windows
            .iter()
            .min_by_key(|(_, window)| window.began)
            .map(|(address, _)| *address)
    {
        windows.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from(number).into()
    }

    #[test]
    fn an_address_that_guesses_waits_for_the_rest_of_its_window_and_others_do_not() {
        let throttle = Throttle::default();
        let at = |seconds| Timestamp::from_millis(1_000_000).after(Duration::from_secs(seconds));
        for _ in 0..FAILURES_MAX {
            assert_eq!(throttle.admit(address(1), at(0)), Ok(()));
        }
        assert_eq!(throttle.admit(address(1), at(20)), Err(Duration::from_secs(40)));
        assert_eq!(throttle.admit(address(2), at(20)), Ok(()));
        assert_eq!(throttle.admit(address(1), at(60)), Ok(()));
    }

    #[test]
    fn signing_in_costs_no_try() {
        let throttle = Throttle::default();
        for _ in 0..2 * FAILURES_MAX {
            assert_eq!(throttle.admit(address(1), Timestamp::ZERO), Ok(()));
            throttle.succeeded(address(1));
        }
    }

    #[test]
    fn the_number_of_remembered_addresses_is_bounded() {
        let throttle = Throttle::default();
        for number in 0..5_000 {
            assert_eq!(
                throttle.admit(address(number), Timestamp::from_millis(number.into())),
                Ok(())
            );
        }
        assert_eq!(throttle.windows.lock().unwrap().len(), ADDRESSES_MAX);
    }
}
