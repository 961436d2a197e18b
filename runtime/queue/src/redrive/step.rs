//! One step of a redrive: some letters looked at, some changed, and the progress kept, all in one batch.

use std::collections::HashMap;

use cofferdam_domain::{ConnectionName, Delivery, DeliveryId, InterventionKind, Timestamp, WorkspaceName};

use super::record::{Redrive, RedriveId, RedriveKind, RedriveScope, RedriveState};
use crate::dead_letters::{DeadFilter, Order, died};
use crate::error::QueueError;
use crate::keys;
use crate::record as stored;
use crate::replay::make_discarded;
use crate::step::{Found, STEP_TRIES, Step, Stepped};
use crate::store_queue::StoreQueue;

/// Most letters that one step changes: a batch that others hardly wait for.
pub const REDRIVE_CHANGES_PER_STEP_MAX: usize = 128;

/// Most letters that one step looks at.
const EXAMINED_PER_STEP_MAX: usize = 512;

/// What a lane has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Its connection no longer exists.
    Gone,
    /// So many deliveries more.
    For(u64),
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedriveStep {
    /// As it is now.
    pub redrive: Redrive,
    /// Letters that this step changed.
    pub changed: usize,
}

/// What is to be done about one letter.
enum Judged {
    /// The filter does not take it.
    Passed,
    /// It is changed.
    Change(Box<Found>),
    /// It is left alone, and this is counted.
    Skip(fn(&mut Redrive)),
    /// Its record cannot be read.
    Unreadable(String),
    /// Its lane has no room: the redrive waits here.
    Full(ConnectionName),
}

/// A letter that comes next; it is read when its turn has come.
enum Candidate {
    /// It was named.
    Named(DeliveryId),
    /// An entry of the index of dead letters.
    Entry((Vec<u8>, Vec<u8>)),
}

/// What comes next, and by which filter.
struct Candidates {
    filter: DeadFilter,
    next: Vec<Candidate>,
}

impl StoreQueue {
    /// Takes a redrive further: changes up to `changes_max` letters and [`REDRIVE_CHANGES_PER_STEP_MAX`], and looks at a
    /// bounded number of them. A replay asks `room` for each letter's lane, and waits where there is none; letters whose
    /// connection is gone are skipped. None if there is no such redrive. One that is over is handed back as it is.
    ///
    /// # Errors
    /// When the store fails: the redrive is then as it was, and can be taken further later.
    pub async fn step_redrive(
        &self,
        workspace: &WorkspaceName,
        id: RedriveId,
        now: Timestamp,
        changes_max: usize,
        room: impl Fn(&ConnectionName) -> Room + Send,
    ) -> Result<Option<RedriveStep>, QueueError> {
        let changes_max = changes_max.min(REDRIVE_CHANGES_PER_STEP_MAX);
        for _ in 0..STEP_TRIES {
            let Some((before, raw)) = self.found_redrive(workspace, id)? else {
                return Ok(None);
            };
            if before.state != RedriveState::Running || changes_max == 0 {
                return Ok(Some(RedriveStep {
                    redrive: before,
                    changed: 0,
                }));
            }
            let mut redrive = before.clone();
            let mut step = Step::default();
            let changed = self.plan_redrive(&mut redrive, &mut step, now, changes_max, &room)?;
            if redrive == before || self.keep_redrive(step, &redrive, raw).await? == Stepped::Done {
                return Ok(Some(RedriveStep { redrive, changed }));
            }
        }
        Err(QueueError::Contended("take a redrive further"))
    }

    fn plan_redrive(
        &self,
        redrive: &mut Redrive,
        step: &mut Step,
        now: Timestamp,
        changes_max: usize,
        room: &impl Fn(&ConnectionName) -> Room,
    ) -> Result<usize, QueueError> {
        // Not before its making, whatever the clock says: that is how a letter is known that it has replayed already.
        let now = now.max(redrive.created_at);
        let Candidates { filter, next } = match self.candidates(redrive) {
            Err(error) if error.is_damage() => {
                redrive.last_error = Some(format!("what it names cannot be read from the store: {error}"));
                redrive.end(RedriveState::Failed, now);
                return Ok(0);
            }
            other => other?,
        };
        let is_last_part = next.len() < EXAMINED_PER_STEP_MAX;
        let mut taken: HashMap<ConnectionName, u64> = HashMap::new();
        let mut changed = 0;
        redrive.waiting = None;
        for candidate in next {
            if changed == changes_max {
                return Ok(changed);
            }
            let (letter, cursor) = match candidate {
                Candidate::Named(id) => (self.found(&redrive.workspace, id), None),
                Candidate::Entry(entry) => {
                    let listed = self.listed_dead(&redrive.workspace, &filter, &entry)?;
                    (listed.letter, Some(listed.cursor))
                }
            };
            match judge(redrive, letter, &mut taken, room)? {
                Judged::Passed => {}
                Judged::Change(found) => {
                    let mut letter = found.delivery.clone();
                    match redrive.what {
                        RedriveKind::Replay => self.make_pending_again(&mut letter, now, &redrive.by),
                        RedriveKind::Discard => make_discarded(&mut letter, now, &redrive.by),
                    }
                    step.change(&self.lanes, *found, &letter);
                    changed += 1;
                    redrive.changed += 1;
                }
                Judged::Skip(count) => count(redrive),
                Judged::Unreadable(why) => {
                    redrive.failed += 1;
                    redrive.last_error = Some(why);
                }
                Judged::Full(connection) => {
                    redrive.waiting = Some(format!(
                        "the queue of connection {connection} is at its high-water mark; it goes on when there is room"
                    ));
                    return Ok(changed);
                }
            }
            redrive.examined += 1;
            match cursor {
                Some(cursor) => redrive.cursor = Some(cursor),
                None => redrive.ids_done += 1,
            }
        }
        if is_last_part {
            redrive.end(RedriveState::Done, now);
        }
        Ok(changed)
    }

    /// What comes next, at most [`EXAMINED_PER_STEP_MAX`]; less means that nothing comes after it.
    fn candidates(&self, redrive: &Redrive) -> Result<Candidates, QueueError> {
        let workspace = &redrive.workspace;
        match &redrive.scope {
            RedriveScope::Ids { .. } => {
                let raw = self.store.get(keys::redrive_ids(workspace, redrive.id.0))?;
                let ids: Vec<DeliveryId> = stored::decode("list of a redrive", raw.as_deref().unwrap_or_default())?;
                let next = ids.into_iter().skip(redrive.ids_done).take(EXAMINED_PER_STEP_MAX);
                Ok(Candidates {
                    filter: DeadFilter::default(),
                    next: next.map(Candidate::Named).collect(),
                })
            }
            RedriveScope::Filter { filter } => {
                let until = Timestamp::from_millis(redrive.created_at.as_millis().saturating_add(1));
                let filter = DeadFilter {
                    until: Some(filter.until.unwrap_or(until).min(until)),
                    ..filter.clone()
                };
                let next = self.dead_entries(
                    workspace,
                    &filter,
                    Order::OldestFirst,
                    redrive.cursor,
                    EXAMINED_PER_STEP_MAX,
                )?;
                Ok(Candidates {
                    filter,
                    next: next.into_iter().map(Candidate::Entry).collect(),
                })
            }
        }
    }
}

fn judge(
    redrive: &Redrive,
    letter: Result<Option<Found>, QueueError>,
    taken: &mut HashMap<ConnectionName, u64>,
    room: &impl Fn(&ConnectionName) -> Room,
) -> Result<Judged, QueueError> {
    let found = match letter {
        Ok(Some(found)) => found,
        Ok(None) => {
            return Ok(match redrive.scope {
                RedriveScope::Filter { .. } => Judged::Passed,
                RedriveScope::Ids { .. } => Judged::Skip(|redrive| redrive.skipped.not_found += 1),
            });
        }
        Err(error) if error.is_damage() => return Ok(Judged::Unreadable(error.to_string())),
        Err(error) => return Err(error),
    };
    let Some((died_at, _)) = died(&found.delivery) else {
        return Ok(Judged::Skip(|redrive| redrive.skipped.not_dead += 1));
    };
    if died_at > redrive.created_at || was_replayed_since(&found.delivery, redrive.created_at) {
        return Ok(Judged::Skip(|redrive| redrive.skipped.died_since += 1));
    }
    match redrive.what {
        // Giving up needs no lane.
        RedriveKind::Discard => {}
        RedriveKind::Replay => {
            let connection = &found.delivery.connection;
            let before = taken.get(connection).copied().unwrap_or(0);
            match room(connection) {
                Room::Gone => return Ok(Judged::Skip(|redrive| redrive.skipped.connection_gone += 1)),
                Room::For(free) if free <= before => return Ok(Judged::Full(connection.clone())),
                Room::For(_) => {
                    taken.insert(connection.clone(), before + 1);
                }
            }
        }
    }
    Ok(Judged::Change(Box::new(found)))
}

/// Whether somebody has replayed it at or after `time`: a clock that was set back gives what dies again an earlier time.
fn was_replayed_since(delivery: &Delivery, time: Timestamp) -> bool {
    let mut replays = delivery.interventions.iter();
    replays.any(|it| it.what == InterventionKind::Replayed && it.at >= time)
}
