//! Runs redrives: takes each that runs further, a little at a time, at its own rate, until the server stops. After a restart
//! they go on where their last durable step has left them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cofferdam_domain::{ConnectionName, WorkspaceName};
use cofferdam_queue::{Redrive, RedriveId, RedriveState, Room};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::steady;
use crate::ingest::room;
use crate::problem::chain;

/// How often redrives are taken further.
const TURN: Duration = Duration::from_millis(100);

/// Without a signal, how often it is looked whether one runs.
const POLL: Duration = Duration::from_secs(30);

/// How long one waits when a lane is full, or the store has failed.
const WAIT: Duration = Duration::from_secs(1);

/// Most steps of one redrive in a turn: the others get theirs.
const STEPS_PER_TURN_MAX: usize = 16;

/// What a redrive that was held up may make up for, in time.
const BURST: Duration = Duration::from_millis(250);

/// Tells the runner that a redrive was made.
pub(crate) struct Bell(watch::Sender<u64>);

impl Default for Bell {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Bell {
    /// There is a new one.
    pub(crate) fn ring(&self) {
        self.0.send_modify(|rings| *rings = rings.wrapping_add(1));
    }
}

/// The brake of one redrive: no more letters in a second than its rate, wherever that second begins, but for [`BURST`].
#[derive(Clone, Copy, Debug)]
struct Pace {
    interval: Duration,
    /// The next letter is due then.
    next: Instant,
    /// Nothing is tried before this.
    hold_until: Instant,
}

impl Pace {
    fn new(rate_per_s: u32, now: Instant) -> Self {
        Self {
            interval: Duration::from_secs(1) / rate_per_s.max(1),
            next: now,
            hold_until: now,
        }
    }

    /// Letters that may be changed now.
    fn allowance(&mut self, now: Instant) -> usize {
        if now < self.hold_until {
            return 0;
        }
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        self.next = self.next.max(earliest);
        let Some(late) = now.checked_duration_since(self.next) else {
            return 0;
        };
        usize::try_from(late.as_nanos() / self.interval.as_nanos().max(1))
            .map_or(usize::MAX, |due| due.saturating_add(1))
    }

    fn spend(&mut self, letters: usize) {
        self.next += self.interval * u32::try_from(letters).unwrap_or(u32::MAX);
    }

    fn hold(&mut self, now: Instant) {
        self.hold_until = now + WAIT;
    }
}

type Running = BTreeMap<(WorkspaceName, RedriveId), Pace>;

/// Until the server stops. A step under way is durable or not when this ends, and nothing in between.
pub(crate) async fn keep(app: App, stop: CancellationToken) {
    let mut rung = app.redrives.0.subscribe();
    let mut running = Running::new();
    // What a former process has left is there before anybody rings.
    rung.mark_changed();
    while !stop.is_cancelled() {
        if rung.has_changed().unwrap_or(false) {
            rung.mark_unchanged();
            match app.queue.running_redrives() {
                Ok(redrives) => running = merged(&running, &redrives, Instant::now()),
                Err(error) => {
                    tracing::error!(error = chain(&error), "redrives cannot be read");
                    rung.mark_changed();
                }
            }
        }
        let keys: Vec<_> = running.keys().cloned().collect();
        for key in keys {
            if let Some(pace) = running.get_mut(&key)
                && !turn(&app, &key, pace).await
            {
                running.remove(&key);
            }
        }
        let idle = running.is_empty() && !rung.has_changed().unwrap_or(false);
        // Cancel-safe, all of them.
        tokio::select! {
            () = stop.cancelled() => {}
            _ = rung.changed(), if idle => rung.mark_changed(),
            () = tokio::time::sleep(POLL), if idle => rung.mark_changed(),
            () = tokio::time::sleep(TURN), if !idle => {}
        }
    }
}

/// Those that run now, each with the pace that it had.
fn merged(known: &Running, redrives: &[Redrive], now: Instant) -> Running {
    let paced = redrives.iter().map(|redrive| {
        let key = (redrive.workspace.clone(), redrive.id);
        let pace = known.get(&key).copied();
        (key, pace.unwrap_or_else(|| Pace::new(redrive.rate_per_s, now)))
    });
    paced.collect()
}

/// Takes one further as far as it may go now. Answers whether it still runs.
async fn turn(app: &App, (workspace, id): &(WorkspaceName, RedriveId), pace: &mut Pace) -> bool {
    for _ in 0..STEPS_PER_TURN_MAX {
        let allowed = pace.allowance(Instant::now());
        if allowed == 0 {
            return true;
        }
        let room = |connection: &ConnectionName| lane_room(app, workspace, connection);
        let step = match app.queue.step_redrive(workspace, *id, steady(), allowed, room).await {
            Ok(Some(step)) => step,
            Ok(None) => return false,
            Err(error) => {
                tracing::error!(%workspace, redrive = %id, error = chain(&error), "a redrive cannot go on now");
                pace.hold(Instant::now());
                return true;
            }
        };
        pace.spend(step.changed);
        let redrive = step.redrive;
        match redrive.state {
            RedriveState::Running => {}
            RedriveState::Done | RedriveState::Cancelled | RedriveState::Failed => {
                tracing::info!(
                    %workspace, redrive = %id, state = redrive.state.as_str(), changed = redrive.changed,
                    skipped = redrive.skipped.total(), failed = redrive.failed, by = redrive.by, "redrive ended"
                );
                return false;
            }
        }
        if redrive.waiting.is_some() {
            pace.hold(Instant::now());
            return true;
        }
    }
    true
}

/// What a lane has room for, by the marks that producers at the API's door meet.
fn lane_room(app: &App, workspace: &WorkspaceName, connection: &ConnectionName) -> Room {
    match app.connections.get(workspace, connection) {
        None => Room::Gone,
        Some(connection) => Room::For(room(app, &connection)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_sees_more_than_the_rate_and_a_burst_and_no_time_is_lost() {
        let start = Instant::now();
        for rate in [1, 3, 50, 10_000] {
            let mut pace = Pace::new(rate, start);
            let (mut done, mut first_second) = (0, 0);
            for turns in 0..100_u32 {
                let allowed = pace.allowance(start + TURN * turns);
                pace.spend(allowed);
                done += allowed;
                if turns < 10 {
                    first_second = done;
                }
            }
            let rate = rate as usize;
            assert!(first_second <= rate + 1, "{rate}: {first_second}");
            assert!((rate * 9..=rate * 10 + 1).contains(&done), "{rate}: {done}");
        }
    }

    #[test]
    fn what_was_held_up_makes_up_for_a_burst_and_no_more() {
        let start = Instant::now();
        let mut pace = Pace::new(100, start);
        pace.hold(start);
        assert_eq!(pace.allowance(start + Duration::from_millis(999)), 0);
        assert_eq!(pace.allowance(start + Duration::from_secs(3600)), 26);
    }
}
