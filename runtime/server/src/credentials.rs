//! What becomes of credentials by time alone: expiries are told ahead of, values whose overlap is over are forgotten, and a
//! lane that waits for a credential which has changed goes on.
//!
//! A task of its own looks at all of them at the start, whenever one has changed, and when something is due. That also makes
//! good what a crash has cut off between a change and the release of the lane that waited for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::{Connection, CredentialName, Exchange, FailureClass, LaneState, Timestamp, UpstreamName};
use cofferdam_queue::{Queue, QueueError};
use cofferdam_vault::{CredentialInfo, FactKind, News, Overlaps, Ticked, Vault, VaultError};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::{jumped_within, now, steady};
use crate::metrics::{CredentialLabels, Metrics};
use crate::problem::chain;

/// The longest time between two looks: the clock may be set, or a look may have failed.
const PERIOD: Duration = Duration::from_secs(60);

/// The shortest time between two looks: many changes at once are one.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two walks through facts that may be too old.
const TRIM_PERIOD: Duration = Duration::from_secs(3600);

/// Steps of trimming each time.
const TRIMS_MAX: usize = 256;

/// So long after the clock was set ahead no value is forgotten: somebody may set it back.
const DOUBTFUL_CLOCK: Duration = Duration::from_secs(24 * 3600);

/// Keeps watch until the server stops.
pub(crate) async fn keep(app: App, stop: CancellationToken) {
    let mut watch = Watch::begin(Arc::clone(&app.vault), now, overlaps, stop);
    let mut shown = BTreeSet::new();
    let mut damaged = 0;
    loop {
        match watch.look().await {
            Ok(ticked) => {
                ticked.facts.iter().for_each(log);
                show_expiries(&app.metrics, &ticked.expiries, &mut shown);
                if ticked.damaged > damaged {
                    tracing::error!(
                        credentials = ticked.damaged,
                        "credentials do not unseal; they must be set again"
                    );
                }
                damaged = ticked.damaged;
            }
            Err(error) => tracing::error!(error = chain(&error), "credentials could not be looked at"),
        }
        release_lanes(&app).await;
        if watch.wait().await == Next::End {
            return;
        }
    }
}

fn overlaps() -> Overlaps {
    if jumped_within(DOUBTFUL_CLOCK) {
        Overlaps::Keep
    } else {
        Overlaps::End
    }
}

/// What follows a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Look,
    End,
}

/// Looks at all credentials, and knows when to look again.
struct Watch<C, O> {
    vault: Arc<Vault>,
    clock: C,
    overlaps: O,
    stop: CancellationToken,
    changes: watch::Receiver<u64>,
    next_at: Option<Timestamp>,
    trim_at: Instant,
}

impl<C: Fn() -> Timestamp, O: Fn() -> Overlaps> Watch<C, O> {
    fn begin(vault: Arc<Vault>, clock: C, overlaps: O, stop: CancellationToken) -> Self {
        Self {
            changes: vault.changed(),
            vault,
            clock,
            overlaps,
            stop,
            next_at: None,
            trim_at: Instant::now(),
        }
    }

    /// Does what is due.
    async fn look(&mut self) -> Result<Ticked, VaultError> {
        self.changes.mark_unchanged();
        let (now, overlaps) = ((self.clock)(), (self.overlaps)());
        let ticked = self.vault.tick(now, overlaps).await;
        self.next_at = ticked.as_ref().map_or(None, |ticked| ticked.next_at);
        if Instant::now() >= self.trim_at {
            trim(&self.vault, now).await;
            self.trim_at = Instant::now() + TRIM_PERIOD;
        }
        ticked
    }

    /// Until something is due, a credential has changed, or the server stops.
    async fn wait(&mut self) -> Next {
        let now = (self.clock)();
        let due_in = self.next_at.map_or(PERIOD, |at| at.since(now)).min(PERIOD);
        // A change that was not waited for to its end is looked at all the same: every look sees all there is.
        let changed = async {
            let _ended = self.changes.changed().await;
            tokio::time::sleep(PAUSE).await;
        };
        tokio::select! {
            () = self.stop.cancelled() => Next::End,
            () = tokio::time::sleep(due_in) => Next::Look,
            () = changed => Next::Look,
        }
    }
}

/// Removes facts that are too old, in small steps.
async fn trim(vault: &Vault, now: Timestamp) {
    for _ in 0..TRIMS_MAX {
        match vault.trim_facts(now).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::error!(error = chain(&error), "old facts of credentials could not be removed");
                return;
            }
        }
    }
}

fn log(fact: &cofferdam_vault::Fact) {
    let (connection, credential, version) = (&fact.connection, &fact.credential, fact.version);
    let (workspace, detail) = (&fact.workspace, fact.detail.as_deref().unwrap_or_default());
    match fact.kind {
        FactKind::Expiring | FactKind::Expired => {
            tracing::warn!(%workspace, %connection, %credential, version, detail, "credential {}", fact.kind.as_str());
        }
        FactKind::OverlapEnded => {
            tracing::info!(%workspace, %connection, %credential, version, "a value that was replaced is not accepted any more");
        }
        // No tick tells of these; whoever does has logged them.
        FactKind::Set
        | FactKind::Rotated
        | FactKind::Removed
        | FactKind::Refreshed
        | FactKind::RefreshFailed
        | FactKind::ConsentNeeded
        | FactKind::Reflected => {}
    }
}

/// One series for each credential whose expiry is known, and none for any other.
fn show_expiries(metrics: &Metrics, expiries: &[CredentialInfo], shown: &mut BTreeSet<CredentialLabels>) {
    let mut present = BTreeSet::new();
    for credential in expiries {
        let Some(expires_at) = credential.expires_at else {
            continue;
        };
        let labels = CredentialLabels::of(credential);
        let seconds = i64::try_from(expires_at.as_millis() / 1000).unwrap_or(i64::MAX);
        metrics.credential_expiry.get_or_create(&labels).set(seconds);
        present.insert(labels);
    }
    for gone in shown.difference(&present) {
        metrics.credential_expiry.remove(gone);
    }
    *shown = present;
}

/// Releases each lane that was parked for its credentials before one of them changed.
async fn release_lanes(app: &App) {
    for connection in app.connections.all() {
        if let Err(error) = release_lane(app, &connection).await {
            let connection = &connection.spec.name;
            tracing::error!(%connection, error = chain(&error), "whether a lane waits for its credential could not be told");
        }
    }
}

/// Why a lane could not be looked at.
#[derive(Debug, thiserror::Error)]
enum LaneError {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

async fn release_lane(app: &App, connection: &Connection) -> Result<(), LaneError> {
    let (workspace, name) = (&connection.workspace, &connection.spec.name);
    let lane = app.queue.lane_state(workspace, name).await?;
    let Some(parked_at) = parked_for_auth(&lane) else {
        return Ok(());
    };
    let credentials = app.vault.list(workspace, Some(name))?;
    if let Some(credential) = changed_since(&credentials, parked_at) {
        app.queue.release_lane(workspace, name, steady()).await?;
        tracing::info!(connection = %name, %credential, "lane released: its credential has changed");
    }
    Ok(())
}

fn parked_for_auth(lane: &LaneState) -> Option<Timestamp> {
    let parked = lane.parked.as_ref()?;
    (parked.class == FailureClass::Auth).then_some(parked.since)
}

/// A credential that a person has changed since then. One that the host has refreshed says nothing about a lane that was
/// parked although the host refreshes it.
fn changed_since(credentials: &[CredentialInfo], since: Timestamp) -> Option<&CredentialName> {
    let changed = |credential: &&CredentialInfo| credential.updated_at >= since && !credential.refreshed;
    credentials.iter().find(changed).map(|credential| &credential.name)
}

/// The upstreams of this trail that answered with the credential in their answer, each once.
pub(crate) fn reflecting(trail: &[Exchange]) -> BTreeSet<UpstreamName> {
    let reflecting = trail.iter().filter(|exchange| exchange.credential_reflected);
    reflecting.map(|exchange| exchange.upstream.clone()).collect()
}

/// Writes down that these upstreams reflect their credential. What is said once an hour is enough: the count goes on.
pub(crate) async fn tell_reflected(app: &App, connection: &Connection, upstreams: BTreeSet<UpstreamName>) {
    let (workspace, name) = (&connection.workspace, &connection.spec.name);
    for upstream in upstreams {
        let grant = connection.spec.upstreams.get(&upstream);
        let Some(credential) =
            grant.and_then(|grant| grant.credential.as_ref().or(grant.tls.client_certificate.as_ref()))
        else {
            continue;
        };
        let detail = format!("the upstream {upstream} sent it back; it was taken out of the answer");
        let news = News {
            detail: Some(&detail),
            ..News::of(FactKind::Reflected)
        };
        match app.vault.record(workspace, name, credential, news, now()).await {
            Ok(Some(_)) => {
                tracing::warn!(%credential, %upstream, "an upstream reflects the credential that it is sent");
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%credential, error = chain(&error), "that a credential was reflected could not be written down");
            }
        }
    }
}

#[cfg(test)]
mod tests;
