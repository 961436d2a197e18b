//! Who is signed in to the panel.
//!
//! Sessions are kept in memory: a restart signs everybody out. A session is known here by the hash of its id, so that
//! neither a look-up's timing nor a look at the table gives an id away. It ends by itself when it is idle or old, and the
//! number of sessions is bounded, for each token and in all: one too many ends the one that was opened first.
//!
//! A session is as good as its token, which is looked up at every use: a token that is revoked ends its sessions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofferdam_domain::{Digest, Timestamp};
use rand::CryptoRng;
use subtle::ConstantTimeEq;

use super::throttle::Throttle;
use crate::tokens::{Principal, Role, TokenHash};

/// Most sessions at once.
pub(super) const SESSIONS_MAX: usize = 1_024;

/// Most sessions at once of one token, so that no holder of a token, whatever its role, can sign everybody else out.
pub(super) const SESSIONS_PER_TOKEN_MAX: usize = 16;

/// A session that nobody uses ends after this.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(2 * 3600);

/// A session ends after this, used or not.
pub(super) const AGE_MAX: Duration = Duration::from_secs(12 * 3600);

type Open = HashMap<Digest, Kept>;

/// Every session, and the brake on those who guess tokens.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<Open>,
    pub(super) throttle: Throttle,
}

/// A person who is signed in, for one request.
pub(super) struct Session {
    /// Whom the token speaks for now.
    pub(super) principal: Arc<Principal>,
    /// Every form of the session carries it: a page of somebody else cannot know it.
    pub(super) form_token: String,
}

/// A session between requests.
struct Kept {
    token: TokenHash,
    form_token: String,
    opened_at: Timestamp,
    used_at: Timestamp,
}

impl Sessions {
    /// Opens a session of this token; the answer is its id, which only the browser keeps.
    pub(super) fn open(&self, token: TokenHash, now: Timestamp, rng: &mut impl CryptoRng) -> String {
        let id = unguessable(rng);
        let kept = Kept {
            token,
            form_token: unguessable(rng),
            opened_at: now,
            used_at: now,
        };
        let mut open = self.lock();
        make_room(&mut open, now, SESSIONS_PER_TOKEN_MAX, |kept| kept.token == token);
        make_room(&mut open, now, SESSIONS_MAX, |_| true);
        open.insert(key(&id), kept);
        id
    }

    /// The session with this id, now used once more; `principal` looks its token up. A session that has ended, or whose token
    /// is no longer known, is none.
    pub(super) fn find(
        &self,
        id: &str,
        now: Timestamp,
        principal: impl FnOnce(TokenHash) -> Option<Arc<Principal>>,
    ) -> Option<Session> {
        let key = key(id);
        let mut open = self.lock();
        let kept = open.get_mut(&key)?;
        let alive = kept.is_alive(now).then_some(kept.token);
        let Some(principal) = alive.and_then(principal) else {
            open.remove(&key);
            return None;
        };
        kept.used_at = kept.used_at.max(now);
        Some(Session {
            principal,
            form_token: kept.form_token.clone(),
        })
    }

    /// Ends the session with this id.
    pub(super) fn close(&self, id: &str) {
        self.lock().remove(&key(id));
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
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
}

impl Kept {
    fn is_alive(&self, now: Timestamp) -> bool {
        now.since(self.opened_at) < AGE_MAX && now.since(self.used_at) < IDLE_MAX
    }
}

/// Ends sessions of this kind until there is room for one more: first those that have ended by themselves, then those that
/// were opened first.
fn make_room(open: &mut Open, now: Timestamp, sessions_max: usize, of_kind: impl Fn(&Kept) -> bool) {
    let count = |open: &Open| open.values().filter(|kept| of_kind(kept)).count();
    if count(open) >= sessions_max {
        open.retain(|_, kept| kept.is_alive(now));
    }
    while count(open) >= sessions_max {
        let of_kind = open.iter().filter(|(_, kept)| of_kind(kept));
        let Some(first) = of_kind.min_by_key(|(_, kept)| kept.opened_at).map(|(key, _)| *key) else {
            break;
        };
        open.remove(&first);
    }
}

fn key(id: &str) -> Digest {
    Digest::of(id.as_bytes())
}

/// 256 random bits as text.
pub(crate) fn unguessable(rng: &mut impl CryptoRng) -> String {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}

#[cfg(test)]
mod tests;
