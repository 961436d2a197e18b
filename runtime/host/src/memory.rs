//! The memory of one call: what its guest has of linear memory, and what the host holds for it, under one limit.
//!
//! Linear memory over the limit is a trap at once ([`MemoryWatch`](crate::limits::MemoryWatch)). A buffer of the host's is
//! often wanted where nothing can trap, in a request that goes on beside the guest: then the request fails, and the call is
//! judged by [`CallMemory::exceeded`] when it has ended, whatever the guest made of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// A guest asked for more memory than it may have. Carried as a trap, so that the call ends here with its own class and not
/// a little later with "unreachable executed".
#[derive(Clone, Debug, thiserror::Error)]
#[error("asked for {wanted} bytes of memory; {max} are allowed")]
pub(crate) struct MemoryExceeded {
    wanted: usize,
    max: usize,
}

/// Clones share one account.
#[derive(Clone, Debug)]
pub struct CallMemory(Arc<Account>);

#[derive(Debug)]
struct Account {
    max: usize,
    used: AtomicUsize,
    peak: AtomicUsize,
    exceeded: OnceLock<MemoryExceeded>,
}

/// Memory that the host holds for a call; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    memory: CallMemory,
    bytes: usize,
}

impl CallMemory {
    pub(crate) fn new(max: usize) -> Self {
        Self(Arc::new(Account {
            max,
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            exceeded: OnceLock::new(),
        }))
    }

    /// Takes memory that is not given back before the call has ended.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), MemoryExceeded> {
        let account = &*self.0;
        let taken = account.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|wanted| *wanted <= account.max)
        });
        match taken {
            Ok(before) => {
                account.peak.fetch_max(before + bytes, Ordering::Relaxed);
                Ok(())
            }
            Err(used) => Err(MemoryExceeded {
                wanted: used.saturating_add(bytes),
                max: account.max,
            }),
        }
    }

    /// Whether there is room for so much now. Nothing is taken.
    pub(crate) fn has_room(&self, bytes: usize) -> Result<(), MemoryExceeded> {
        let max = self.0.max;
        let wanted = self.0.used.load(Ordering::Relaxed).saturating_add(bytes);
        if wanted > max {
            return Err(MemoryExceeded { wanted, max });
        }
        Ok(())
    }

    /// Nothing yet, to grow by [`Held::grow`].
    pub(crate) fn held(&self) -> Held {
        Held {
            memory: self.clone(),
            bytes: 0,
        }
    }

    /// Takes memory for what is held outside of this crate. What does not fit is remembered against the call.
    pub fn hold(&self, bytes: usize) -> bool {
        let taken = self.take(bytes);
        taken.map_err(|exceeded| self.remember(&exceeded)).is_ok()
    }

    /// Gives back what [`hold`](Self::hold) took.
    pub fn release(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn remember(&self, exceeded: &MemoryExceeded) {
        self.0.exceeded.get_or_init(|| exceeded.clone());
    }

    /// The first buffer of the host's that did not fit.
    pub(crate) fn exceeded(&self) -> Option<MemoryExceeded> {
        self.0.exceeded.get().cloned()
    }

    /// The most that was used at once.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.0.peak.load(Ordering::Relaxed) as u64
    }
}

impl Held {
    /// Takes more. What does not fit is remembered against the call.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), MemoryExceeded> {
        self.memory
            .take(bytes)
            .inspect_err(|exceeded| self.memory.remember(exceeded))?;
        self.bytes += bytes;
        Ok(())
    }
}

/// Two of one call are the same.
impl PartialEq for CallMemory {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for CallMemory {}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_holds_counts_until_it_is_given_back_and_what_did_not_fit_is_remembered() {
        let memory = CallMemory::new(100);
        memory.take(60).unwrap();
        let mut held = memory.held();
        held.grow(40).unwrap();
        assert!(memory.take(1).is_err());
        assert!(memory.exceeded().is_none(), "a trap tells of itself");
        assert!(held.grow(1).is_err());
        assert_eq!(
            memory.exceeded().unwrap().to_string(),
            "asked for 101 bytes of memory; 100 are allowed"
        );
        drop(held);
        memory.take(40).unwrap();
        assert_eq!(memory.peak_bytes(), 100);
    }

    #[test]
    fn what_is_held_elsewhere_counts_alike() {
        let memory = CallMemory::new(100);
        assert!(memory.hold(100));
        assert!(memory.exceeded().is_none());
        assert!(!memory.hold(1) && memory.exceeded().is_some());
        memory.release(100);
        assert!(memory.hold(100));
    }

    #[test]
    fn sizes_that_overflow_do_not_fit() {
        let memory = CallMemory::new(usize::MAX);
        memory.take(usize::MAX).unwrap();
        assert!(memory.take(1).is_err());
    }
}
