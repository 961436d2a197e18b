//! Consents that people were sent to an authorization server for, from the start to what became of them.
//!
//! A consent is known by its `state`: 256 random bits that go out with the person and come back with the code (RFC 6749
//! section 10.12), kept here as a hash. It is good once and for ten minutes, and belongs to one upstream as it was set up
//! when the consent began, and to the admin who began it. They are kept in memory: after a restart a person begins again.
//!
//! What a state proves is that an admin of this workspace began the consent. Who holds the URL that a person is sent to may
//! consent with an account of their own: begun in the panel, it is tied to that browser by a cookie as well; begun on the
//! command line, the URL is as good as the right to consent, for ten minutes. A code that was issued for another request
//! is refused by the authorization server, since the verifier (PKCE) is not its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofferdam_domain::{ConnectionName, Digest, Timestamp, UpstreamName, WorkspaceName};
use cofferdam_egress::TokenSource;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::tokens::Principal;

/// How long a person has.
pub(crate) const CONSENT_MAX: Duration = Duration::from_secs(600);

/// Most consents of one workspace that are remembered; one more makes room by the oldest.
const PER_WORKSPACE_MAX: usize = 64;

/// Most in all.
const CONSENTS_MAX: usize = 4096;

/// Consents, under way and ended.
#[derive(Default)]
pub(crate) struct Consents(Mutex<HashMap<Digest, Entry>>);

struct Entry {
    workspace: WorkspaceName,
    connection: ConnectionName,
    upstream: UpstreamName,
    by: String,
    began_at: Timestamp,
    phase: Phase,
}

enum Phase {
    Waiting(Box<Waiting>),
    Exchanging,
    Given,
    Failed(String),
}

/// A consent that a person was sent away for.
pub(crate) struct Waiting {
    /// Who began it.
    pub(crate) by: Arc<Principal>,
    /// The connection's revision then.
    pub(crate) revision: u64,
    /// What the tokens are for.
    pub(crate) source: TokenSource,
    /// Proves that the code is ours.
    pub(crate) verifier: Zeroizing<String>,
    /// Must be repeated with the code.
    pub(crate) redirect_uri: Arc<str>,
    /// The browser that began it, by the hash of its cookie; none if it was begun elsewhere.
    pub(crate) browser: Option<Digest>,
}

/// A consent, by everything but its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentView {
    /// Names it; worth nothing as a state.
    pub id: String,
    /// What became of it.
    pub state: ConsentState,
    /// Who began it.
    pub by: String,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What became of a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsentState {
    /// The person has not come back.
    Pending,
    /// There are tokens.
    Given,
    /// There are none.
    Failed,
    /// The person was away too long.
    Expired,
}

/// Why a state that came back is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// It is none of ours, or was used, or is older than we remember.
    Unknown,
    /// It is too old.
    Expired,
    /// Another browser began it. It can still be used there.
    OtherBrowser,
}

impl Consents {
    /// Remembers a consent under the hash of its state; answers with its id. None when there are too many.
    pub(crate) fn begin(&self, state: &str, waiting: Waiting, now: Timestamp) -> Option<String> {
        let mut consents = self.lock();
        consents.retain(|_, entry| now.since(entry.began_at) < 2 * CONSENT_MAX);
        let workspace = waiting.source.key.workspace.clone();
        let of_workspace = consents.iter().filter(|(_, entry)| entry.workspace == workspace);
        if of_workspace.clone().count() >= PER_WORKSPACE_MAX {
            let oldest = of_workspace.min_by_key(|(_, entry)| entry.began_at);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                consents.remove(&oldest);
            }
        }
        if consents.len() >= CONSENTS_MAX {
            return None;
        }
        let key = Digest::of(state.as_bytes());
        let entry = Entry {
            workspace,
            connection: waiting.source.key.connection.clone(),
            upstream: waiting.source.upstream.clone(),
            by: waiting.by.name.clone(),
            began_at: now,
            phase: Phase::Waiting(Box::new(waiting)),
        };
        consents.insert(key, entry);
        Some(id(&key))
    }

    /// Takes the consent of a state that came back, once. A state that comes with another browser is not used up by it.
    pub(crate) fn take(
        &self,
        state: &str,
        browser: Option<Digest>,
        now: Timestamp,
    ) -> Result<(Digest, Box<Waiting>), NotTaken> {
        // Looked up by its hash: how long that takes says nothing about the states there are.
        let key = Digest::of(state.as_bytes());
        let mut consents = self.lock();
        let entry = consents.get_mut(&key).ok_or(NotTaken::Unknown)?;
        let Phase::Waiting(waiting) = &entry.phase else {
            return Err(NotTaken::Unknown);
        };
        if now.since(entry.began_at) >= CONSENT_MAX {
            return Err(NotTaken::Expired);
        }
        if waiting.browser.is_some() && waiting.browser != browser {
            return Err(NotTaken::OtherBrowser);
        }
        match std::mem::replace(&mut entry.phase, Phase::Exchanging) {
            Phase::Waiting(waiting) => Ok((key, waiting)),
            Phase::Exchanging | Phase::Given | Phase::Failed(_) => Err(NotTaken::Unknown),
        }
    }

    /// What became of it.
    pub(crate) fn ended(&self, key: Digest, ended: Result<(), String>) {
        if let Some(entry) = self.lock().get_mut(&key) {
            entry.phase = match ended {
                Ok(()) => Phase::Given,
                Err(problem) => Phase::Failed(problem),
            };
        }
    }

    /// The latest consent of an upstream, if one is remembered.
    pub(crate) fn latest(&self, source: &TokenSource, now: Timestamp) -> Option<ConsentView> {
        let consents = self.lock();
        let of_source = consents.iter().filter(|(_, entry)| {
            entry.workspace == source.key.workspace
                && entry.connection == source.key.connection
                && entry.upstream == source.upstream
        });
        let (key, entry) = of_source.max_by_key(|(_, entry)| entry.began_at)?;
        let (state, problem) = match &entry.phase {
            Phase::Waiting(_) if now.since(entry.began_at) >= CONSENT_MAX => (ConsentState::Expired, None),
            Phase::Waiting(_) | Phase::Exchanging => (ConsentState::Pending, None),
            Phase::Given => (ConsentState::Given, None),
            Phase::Failed(problem) => (ConsentState::Failed, Some(problem.clone())),
        };
        Some(ConsentView {
            id: id(key),
            state,
            by: entry.by.clone(),
            expires_at: entry.began_at.after(CONSENT_MAX),
            problem,
        })
    }

    /// Forgets those of a connection that is gone.
    pub(crate) fn forget(&self, workspace: &WorkspaceName, connection: &ConnectionName) {
        self.lock()
            .retain(|_, entry| entry.workspace != *workspace || entry.connection != *connection);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name for a consent that is no state: the beginning of its hash.
fn id(key: &Digest) -> String {
    key.short()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Role;

    const T: Timestamp = Timestamp::from_millis(1_000_000);

    fn waiting(workspace: &str, connection: &str, browser: Option<Digest>) -> Waiting {
        let connection: cofferdam_domain::Connection = serde_json::from_value(serde_json::json!({
            "workspace": workspace, "name": connection, "connector": "x", "enabled": true, "revision": 3, "updated_at": T,
            "upstreams": {"api": {"base_url": "https://a.test", "credential": "tokens", "attach": "oauth2", "oauth2": {
                "grant": "authorization-code", "token_url": "https://as.test/t", "authorize_url": "https://as.test/a",
                "client_id": "us"}}},
        }))
        .unwrap();
        Waiting {
            by: Arc::new(Principal {
                name: "anna".to_owned(),
                workspace: connection.workspace.clone(),
                role: Role::Admin,
                created_at: T,
            }),
            revision: 3,
            source: TokenSource::of(&connection, &"api".parse().unwrap(), None).unwrap(),
            verifier: Zeroizing::new("v".to_owned()),
            redirect_uri: "https://panel.test/oauth2/callback".into(),
            browser,
        }
    }

    #[test]
    fn a_state_is_good_once_and_for_ten_minutes() {
        let consents = Consents::default();
        for (state, away, expected) in [
            ("a", Duration::ZERO, None),
            ("b", CONSENT_MAX - Duration::from_millis(1), None),
            ("c", CONSENT_MAX, Some(NotTaken::Expired)),
        ] {
            consents.begin(state, waiting("w", "c", None), T).unwrap();
            let taken = consents.take(state, None, T.after(away)).err();
            assert_eq!(taken, expected, "{state}");
            let again = consents.take(state, None, T.after(away)).err();
            assert_eq!(again, Some(expected.unwrap_or(NotTaken::Unknown)), "{state} again");
        }
        for unknown in ["", "d", "A"] {
            assert_eq!(
                consents.take(unknown, None, T).err(),
                Some(NotTaken::Unknown),
                "{unknown}"
            );
        }
    }

    #[test]
    fn a_consent_begun_in_a_browser_is_ended_in_that_browser() {
        let (ours, other) = (Digest::of(b"ours"), Digest::of(b"other"));
        let consents = Consents::default();
        consents.begin("a", waiting("w", "c", Some(ours)), T).unwrap();
        for browser in [None, Some(other)] {
            assert_eq!(consents.take("a", browser, T).err(), Some(NotTaken::OtherBrowser));
        }
        assert!(consents.take("a", Some(ours), T).is_ok(), "it was not used up");
        consents.begin("b", waiting("w", "c", None), T).unwrap();
        assert!(consents.take("b", Some(other), T).is_ok(), "begun on a command line");
    }

    #[test]
    fn one_more_than_a_workspace_may_have_makes_room_by_its_own_oldest() {
        let consents = Consents::default();
        consents.begin("theirs", waiting("other", "c", None), T).unwrap();
        for nth in 0..=PER_WORKSPACE_MAX as u64 {
            let at = Timestamp::from_millis(T.as_millis() + nth);
            consents.begin(&nth.to_string(), waiting("w", "c", None), at).unwrap();
        }
        assert_eq!(consents.take("0", None, T).err(), Some(NotTaken::Unknown));
        assert!(consents.take("1", None, T).is_ok());
        assert!(consents.take("theirs", None, T).is_ok());
    }

    #[test]
    fn the_latest_consent_says_what_became_of_it() {
        let consents = Consents::default();
        let source = waiting("w", "c", None).source;
        assert_eq!(consents.latest(&source, T), None);
        let id = consents.begin("a", waiting("w", "c", None), T).unwrap();
        let state = |now| {
            consents
                .latest(&source, now)
                .map(|view| (view.id, view.state, view.problem))
        };
        assert_eq!(state(T), Some((id.clone(), ConsentState::Pending, None)));
        assert_eq!(
            state(T.after(CONSENT_MAX)),
            Some((id.clone(), ConsentState::Expired, None))
        );
        let (key, _) = consents.take("a", None, T).unwrap();
        assert_eq!(state(T), Some((id.clone(), ConsentState::Pending, None)));
        consents.ended(key, Err("no".to_owned()));
        assert_eq!(state(T), Some((id, ConsentState::Failed, Some("no".to_owned()))));
        let later = T.after(Duration::from_secs(1));
        consents.begin("b", waiting("w", "c", None), later).unwrap();
        let (key, _) = consents.take("b", None, later).unwrap();
        consents.ended(key, Ok(()));
        assert_eq!(state(later).map(|(_, state, _)| state), Some(ConsentState::Given));
        consents.forget(&source.key.workspace, &source.key.connection);
        assert_eq!(consents.latest(&source, later), None);
        assert!(consents.lock().is_empty());
    }
}
