//! What a redrive remembers of itself: what was asked for, by whom, and how far it has come.

use std::fmt;
use std::str::FromStr;

use cofferdam_domain::{DeliveryId, Timestamp, WorkspaceName};
use serde::{Deserialize, Serialize};

use crate::dead_letters::{DeadCursor, DeadFilter};

/// A redrive's number: 1 for the first of a workspace, and rising.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RedriveId(pub(crate) u64);

impl fmt::Display for RedriveId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for RedriveId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// What is done to each letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RedriveKind {
    /// A new series of attempts begins, under the same idempotency key and correlation id.
    Replay,
    /// It is given up.
    Discard,
}

impl RedriveKind {
    /// The name in the API and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
        }
    }
}

/// Where a redrive stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RedriveState {
    /// It goes on, or waits for room.
    Running,
    /// It has come to its end.
    Done,
    /// A person ended it.
    Cancelled,
    /// It cannot go on: what it needs is missing from the store.
    Failed,
}

impl RedriveState {
    /// The name in the API and the panel.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// Which letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum RedriveScope {
    /// Those that match.
    Filter {
        /// What they have in common.
        filter: DeadFilter,
    },
    /// Those that were named.
    Ids {
        /// How many.
        count: usize,
    },
}

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedriveOrder {
    /// What to do.
    pub what: RedriveKind,
    /// To which; not looked at when letters are named.
    pub filter: DeadFilter,
    /// To these and no others.
    pub ids: Option<Vec<DeliveryId>>,
    /// The name of the token or session.
    pub by: String,
    /// The brake, in letters a second.
    pub rate_per_s: u32,
}

/// Letters that were left alone, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Skipped {
    /// Their connection no longer exists.
    pub connection_gone: u64,
    /// They are no dead letters, or no longer.
    pub not_dead: u64,
    /// They were replayed, and died again, after the redrive was made.
    pub died_since: u64,
    /// There is no such delivery in the workspace.
    pub not_found: u64,
}

impl Skipped {
    /// For whatever reason.
    pub const fn total(self) -> u64 {
        self.connection_gone + self.not_dead + self.died_since + self.not_found
    }
}

/// A job that replays or discards many dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redrive {
    /// Its number in the workspace.
    pub id: RedriveId,
    /// The tenant.
    pub workspace: WorkspaceName,
    /// What is done to each letter.
    pub what: RedriveKind,
    /// To which.
    pub scope: RedriveScope,
    /// The name of the token or session that asked for it; each letter that it changes carries it too.
    pub by: String,
    /// Letters that died later are none of its business.
    pub created_at: Timestamp,
    /// The brake, in letters a second.
    pub rate_per_s: u32,
    /// Where it stands.
    pub state: RedriveState,
    /// What it waits for, for people; none while it moves.
    #[serde(default)]
    pub waiting: Option<String>,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// The name of the token or session that cancelled it.
    #[serde(default)]
    pub cancelled_by: Option<String>,
    /// Letters that were looked at.
    pub examined: u64,
    /// Letters that were replayed or discarded.
    pub changed: u64,
    /// Letters that it would have changed, and left alone.
    #[serde(default)]
    pub skipped: Skipped,
    /// Letters whose record cannot be read; they are left alone.
    #[serde(default)]
    pub failed: u64,
    /// The latest trouble, for people.
    #[serde(default)]
    pub last_error: Option<String>,
    /// How far it has come among all dead letters.
    #[serde(default)]
    pub cursor: Option<DeadCursor>,
    /// How many of the named letters it is through with.
    #[serde(default)]
    pub ids_done: usize,
}

impl Redrive {
    pub(super) fn new(
        id: RedriveId,
        workspace: WorkspaceName,
        order: &RedriveOrder,
        ids: Option<usize>,
        now: Timestamp,
    ) -> Self {
        let scope = match ids {
            Some(count) => RedriveScope::Ids { count },
            None => RedriveScope::Filter {
                filter: order.filter.clone(),
            },
        };
        Self {
            id,
            workspace,
            what: order.what,
            scope,
            by: order.by.clone(),
            created_at: now,
            rate_per_s: order.rate_per_s,
            state: RedriveState::Running,
            waiting: None,
            ended_at: None,
            cancelled_by: None,
            examined: 0,
            changed: 0,
            skipped: Skipped::default(),
            failed: 0,
            last_error: None,
            cursor: None,
            ids_done: 0,
        }
    }

    pub(super) fn end(&mut self, state: RedriveState, now: Timestamp) {
        self.state = state;
        self.waiting = None;
        self.ended_at = Some(now.max(self.created_at));
    }
}
