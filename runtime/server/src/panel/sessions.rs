//! Who is signed in to the panel.
//!
//! Sessions are kept in memory: a restart signs everybody out. A session is known here by the hash of its id, so that
//! neither a look-up's timing nor a look at the table gives an id away. It ends by itself when it is idle or old, and the
//! number of sessions is bounded: one too many ends the one that was opened first.
//!
//! A session keeps the role that the token had when it was opened.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofferdam_domain::{Digest, Timestamp};
use rand::CryptoRng;
use subtle::ConstantTimeEq;

use super::throttle::Throttle;
use crate::tokens::{Principal, Role};

/// Most sessions at once.
pub(super) const SESSIONS_MAX: usize = 1_024;

/// A session that nobody uses ends after this.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(2 * 3600);

/// A session ends after this, used or not.
pub(super) const AGE_MAX: Duration = Duration::from_secs(12 * 3600);

/// Every session, and the brake on those who guess tokens.
#[derive(Default)]
pub struct Sessions {
    open: Mutex<HashMap<Digest, Session>>,
    pub(super) throttle: Throttle,
}

/// A person who is signed in.
#[derive(Clone)]
pub(super) struct Session {
    /// Whose token it was.
    pub(super) principal: Arc<Principal>,
    /// Every form of the session carries it: a page of somebody else cannot know it.
    pub(super) form_token: String,
    opened_at: Timestamp,
    used_at: Timestamp,
}

impl Sessions {
    /// Opens a session; the answer is its id, which only the browser keeps.
    pub(super) fn open(&self, principal: Arc<Principal>, now: Timestamp, rng: &mut impl CryptoRng) -> String {
        let id = unguessable(rng);
        let session = Session {
            principal,
            form_token: unguessable(rng),
            opened_at: now,
            used_at: now,
        };
        let mut open = self.lock();
        if open.len() >= SESSIONS_MAX {
            open.retain(|_, session| session.is_alive(now));
        }
        while open.len() >= SESSIONS_MAX {
            let Some(first) = open
                .iter()
                .min_by_key(|(_, session)| session.opened_at)
                .map(|(key, _)| *key)
            else {
                break;
            };
            open.remove(&first);
        }
        open.insert(key(&id), session);
        id
    }

    /// The session with this id, now used once more.
    pub(super) fn find(&self, id: &str, now: Timestamp) -> Option<Session> {
        let key = key(id);
        let mut open = self.lock();
        let session = open.get_mut(&key)?;
        if !session.is_alive(now) {
            open.remove(&key);
            return None;
        }
        session.used_at = session.used_at.max(now);
        Some(session.clone())
    }

    /// Ends the session with this id.
    pub(super) fn close(&self, id: &str) {
        self.lock().remove(&key(id));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Whether a form is this session's own; takes as long for a near miss as for a wild guess.
    pub(super) fn owns_form(&self, form_token: &str) -> bool {
        self.form_token.as_bytes().ct_eq(form_token.as_bytes()).into()
    }

    /// Whether it may change things.
    pub(super) fn may_change(&self) -> bool {
        match self.principal.role {
            Role::Admin => true,
            Role::Viewer | Role::Ingest => false,
        }
    }

    fn is_alive(&self, now: Timestamp) -> bool {
        now.since(self.opened_at) < AGE_MAX && now.since(self.used_at) < IDLE_MAX
    }
}

fn key(id: &str) -> Digest {
    Digest::of(id.as_bytes())
}

/// 256 random bits as text.
pub(super) fn unguessable(rng: &mut impl CryptoRng) -> String {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}

#[cfg(test)]
mod tests;
