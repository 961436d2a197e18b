//! Whose memory an answer takes while it is read.
//!
//! The gate holds an answer as a whole, since it has to be searched for secrets, so a guest that lets many of them come at
//! once would hold memory outside its own. Whoever made the call says how much there may be.

use std::fmt;
use std::sync::Arc;

/// A bound on bytes that several answers share.
pub trait Account: Send + Sync {
    /// Takes so many bytes more, if there are as many.
    fn take(&self, bytes: usize) -> bool;
    /// Gives back what was taken.
    fn give_back(&self, bytes: usize);
}

/// A request's account; none bounds nothing.
#[derive(Clone, Default)]
pub struct AnswerAccount(Option<Arc<dyn Account>>);

impl AnswerAccount {
    /// What is read counts against this one.
    pub fn new(account: Arc<dyn Account>) -> Self {
        Self(Some(account))
    }

    /// Nothing yet.
    pub(crate) fn room(&self) -> Room {
        Room {
            account: self.clone(),
            bytes: 0,
        }
    }
}

impl fmt::Debug for AnswerAccount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_some() { "counted" } else { "not counted" })
    }
}

/// What one answer takes; given back when dropped.
pub(crate) struct Room {
    account: AnswerAccount,
    bytes: usize,
}

impl Room {
    /// Takes what is missing to this size, if there is as much.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let taken = more == 0 || self.account.0.as_ref().is_none_or(|account| account.take(more));
        if taken {
            self.bytes += more;
        }
        taken
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(account) = &self.account.0 {
            account.give_back(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Hundred(AtomicUsize);

    impl Account for Hundred {
        fn take(&self, bytes: usize) -> bool {
            let fits = |used: usize| Some(used + bytes).filter(|used| *used <= 100);
            self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok()
        }

        fn give_back(&self, bytes: usize) {
            self.0.fetch_sub(bytes, Ordering::SeqCst);
        }
    }

    #[test]
    fn answers_share_an_account_and_give_back_what_they_took() {
        let hundred = Arc::new(Hundred(AtomicUsize::new(0)));
        let account = AnswerAccount::new(Arc::clone(&hundred) as _);
        let (mut one, mut other) = (account.room(), account.room());
        assert!(one.grow_to(60) && one.grow_to(50) && other.grow_to(40));
        assert!(!other.grow_to(41));
        drop(one);
        assert!(other.grow_to(100));
        drop(other);
        assert_eq!(hundred.0.load(Ordering::SeqCst), 0);
        assert!(AnswerAccount::default().room().grow_to(usize::MAX));
    }
}
