//! The queue's keys. Every one but the expiry index, which no caller can read, starts with the workspace.

use cofferdam_domain::{ConnectionName, CorrelationId, DeliveryId, Digest, Event, EventId, Timestamp, WorkspaceName};
use cofferdam_store::{Key, KeyReader, Keyspace, NotThisKey};

use crate::standing::Standing;

/// Behind the event's id in the key of a sealed body.
const SEALED: u8 = 1;

pub(crate) fn in_workspace(space: Keyspace, workspace: &WorkspaceName) -> Key {
    Key::of(space).text(workspace.as_str())
}

pub(crate) fn event(workspace: &WorkspaceName, id: EventId) -> Key {
    in_workspace(Keyspace::Event, workspace).bytes(id.as_bytes())
}

pub(crate) fn body(workspace: &WorkspaceName, id: EventId) -> Key {
    in_workspace(Keyspace::Body, workspace).bytes(id.as_bytes())
}

/// A body that is sealed lies in the same place behind one byte more: which it is can be read off the key alone.
pub(crate) fn sealed_body(workspace: &WorkspaceName, id: EventId) -> Key {
    body(workspace, id).bytes(&[SEALED])
}

/// Every body of the workspace whose event was minted at `time` or later comes after it, and every other one before.
pub(crate) fn bodies_from(workspace: &WorkspaceName, time: Timestamp) -> Key {
    let [_, _, minted_at @ ..] = time.as_millis().to_be_bytes();
    in_workspace(Keyspace::Body, workspace).bytes(&minted_at)
}

pub(crate) fn delivery(workspace: &WorkspaceName, id: DeliveryId) -> Key {
    in_workspace(Keyspace::Delivery, workspace).bytes(id.as_bytes())
}

pub(crate) fn correlated(workspace: &WorkspaceName, correlation: &CorrelationId) -> Key {
    in_workspace(Keyspace::Correlation, workspace).text(correlation.as_str())
}

pub(crate) fn fan_out(workspace: &WorkspaceName, event: EventId) -> Key {
    in_workspace(Keyspace::FanOut, workspace).bytes(event.as_bytes())
}

pub(crate) fn attempts(workspace: &WorkspaceName, delivery: DeliveryId) -> Key {
    in_workspace(Keyspace::Attempt, workspace).bytes(delivery.as_bytes())
}

pub(crate) fn attempt(workspace: &WorkspaceName, delivery: DeliveryId, run: u32) -> Key {
    attempts(workspace, delivery).u32(run)
}

pub(crate) fn lane(workspace: &WorkspaceName, connection: &ConnectionName) -> Key {
    in_workspace(Keyspace::Lane, workspace).text(connection.as_str())
}

/// How many deliveries of the lane were delivered up to a time.
pub(crate) fn tally(workspace: &WorkspaceName, connection: &ConnectionName) -> Key {
    in_workspace(Keyspace::Tally, workspace).text(connection.as_str())
}

/// The parts of what a connection keeps: see `kept.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum KeptPart {
    StateHead = b's',
    StateContent = b'd',
    Cursor = b'c',
    Schedule = b'p',
}

impl KeptPart {
    pub(crate) const ALL: [Self; 4] = [Self::StateHead, Self::StateContent, Self::Cursor, Self::Schedule];
}

pub(crate) fn kept(workspace: &WorkspaceName, connection: &ConnectionName, part: KeptPart) -> Key {
    in_workspace(Keyspace::ConnectorState, workspace)
        .text(connection.as_str())
        .bytes(&[part as u8])
}

/// The workspace and connection of a tally key.
pub(crate) fn read_tally(key: &[u8]) -> Result<(WorkspaceName, ConnectionName), NotThisKey> {
    let mut reader = KeyReader::of(Keyspace::Tally, key)?;
    let lane = (name(&reader.text()?)?, name(&reader.text()?)?);
    reader.end()?;
    Ok(lane)
}

/// The workspace of a key, and the identifier that follows it; what comes behind that is not looked at.
pub(crate) fn owner_and_id(space: Keyspace, key: &[u8]) -> Result<(WorkspaceName, [u8; 16]), NotThisKey> {
    let mut reader = KeyReader::of(space, key)?;
    Ok((name(&reader.text()?)?, reader.bytes()?))
}

/// Dead letters of all connections of a workspace, by time.
pub(crate) fn dead(workspace: &WorkspaceName, at: Timestamp, delivery: DeliveryId) -> Key {
    in_workspace(Keyspace::Dead, workspace)
        .u64(at.as_millis())
        .bytes(delivery.as_bytes())
}

/// No dead letter of the workspace that died at `time` or later comes before it, and none that died earlier after it.
pub(crate) fn dead_from(workspace: &WorkspaceName, time: Timestamp) -> Key {
    in_workspace(Keyspace::Dead, workspace).u64(time.as_millis())
}

pub(crate) fn redrive(workspace: &WorkspaceName, id: u64) -> Key {
    in_workspace(Keyspace::Redrive, workspace).u64(id)
}

pub(crate) fn redrive_ids(workspace: &WorkspaceName, id: u64) -> Key {
    in_workspace(Keyspace::RedriveIds, workspace).u64(id)
}

/// The hash keeps the key short, and a producer's own id out of it, whatever the producer sends.
pub(crate) fn dedupe(event: &Event, key: &str) -> (Key, [u8; 32]) {
    let scope = event.origin.dedupe_scope();
    let hash = *Digest::of(format!("{}\n{scope}{key}", scope.len()).as_bytes()).as_bytes();
    (dedupe_of_hash(event.workspace.as_str().as_bytes(), &hash), hash)
}

fn dedupe_of_hash(workspace: &[u8], hash: &[u8; 32]) -> Key {
    Key::of(Keyspace::Dedupe).text(workspace).bytes(hash)
}

pub(crate) fn dedupe_expiry(expires_at: Timestamp, workspace: &WorkspaceName, hash: &[u8; 32]) -> Key {
    expiries_from(expires_at).text(workspace.as_str()).bytes(hash)
}

pub(crate) fn expiries_from(time: Timestamp) -> Key {
    Key::of(Keyspace::DedupeExpiry).u64(time.as_millis())
}

/// The dedupe key that an expiry key is about.
pub(crate) fn dedupe_of_expiry(expiry: &[u8]) -> Result<Key, NotThisKey> {
    let mut reader = KeyReader::of(Keyspace::DedupeExpiry, expiry)?;
    reader.u64()?;
    let key = dedupe_of_hash(&reader.text()?, &reader.bytes()?);
    reader.end()?;
    Ok(key)
}

/// The indexes by lane and time: what is due (for its values see `step.rs`), what is leased, what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneIndex {
    Due,
    Lease,
    Delivered,
}

/// One entry of a lane index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LaneEntry {
    pub(crate) workspace: WorkspaceName,
    pub(crate) connection: ConnectionName,
    pub(crate) at: Timestamp,
    pub(crate) delivery: DeliveryId,
}

impl LaneIndex {
    pub(crate) const fn space(self) -> Keyspace {
        match self {
            Self::Due => Keyspace::Due,
            Self::Lease => Keyspace::Lease,
            Self::Delivered => Keyspace::Delivered,
        }
    }

    /// Where the deliveries that it lists stand.
    pub(crate) const fn standing(self) -> Standing {
        match self {
            Self::Due => Standing::Pending,
            Self::Lease => Standing::InFlight,
            Self::Delivered => Standing::Delivered,
        }
    }

    /// All entries of a lane.
    pub(crate) fn of(self, workspace: &WorkspaceName, connection: &ConnectionName) -> Key {
        in_workspace(self.space(), workspace).text(connection.as_str())
    }

    /// The first key of a lane that is later than `time`.
    pub(crate) fn past(self, workspace: &WorkspaceName, connection: &ConnectionName, time: Timestamp) -> Key {
        self.of(workspace, connection).u64(time.as_millis().saturating_add(1))
    }

    pub(crate) fn read(self, key: &[u8]) -> Result<LaneEntry, NotThisKey> {
        let mut reader = KeyReader::of(self.space(), key)?;
        let entry = LaneEntry {
            workspace: name(&reader.text()?)?,
            connection: name(&reader.text()?)?,
            at: Timestamp::from_millis(reader.u64()?),
            delivery: DeliveryId::from_bytes(reader.bytes()?),
        };
        reader.end()?;
        Ok(entry)
    }
}

impl LaneEntry {
    pub(crate) fn key(&self, index: LaneIndex) -> Key {
        index
            .of(&self.workspace, &self.connection)
            .u64(self.at.as_millis())
            .bytes(self.delivery.as_bytes())
    }
}

/// All undone deliveries of a lane that have an order, by key and place.
pub(crate) fn ordered(workspace: &WorkspaceName, connection: &ConnectionName) -> Key {
    in_workspace(Keyspace::Order, workspace).text(connection.as_str())
}

/// The same, of one order key.
pub(crate) fn ordered_by(workspace: &WorkspaceName, connection: &ConnectionName, order_key: &str) -> Key {
    ordered(workspace, connection).text(order_key)
}

pub(crate) fn turn(workspace: &WorkspaceName, connection: &ConnectionName, order_key: &str) -> Key {
    in_workspace(Keyspace::Turn, workspace)
        .text(connection.as_str())
        .text(order_key)
}

/// One entry of the order index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderEntry {
    pub(crate) workspace: WorkspaceName,
    pub(crate) connection: ConnectionName,
    pub(crate) order_key: String,
    pub(crate) place: u64,
    pub(crate) delivery: DeliveryId,
}

impl OrderEntry {
    pub(crate) fn key(&self) -> Key {
        ordered_by(&self.workspace, &self.connection, &self.order_key)
            .u64(self.place)
            .bytes(self.delivery.as_bytes())
    }

    pub(crate) fn read(key: &[u8]) -> Result<Self, NotThisKey> {
        let mut reader = KeyReader::of(Keyspace::Order, key)?;
        let entry = Self {
            workspace: name(&reader.text()?)?,
            connection: name(&reader.text()?)?,
            order_key: name(&reader.text()?)?,
            place: reader.u64()?,
            delivery: DeliveryId::from_bytes(reader.bytes()?),
        };
        reader.end()?;
        Ok(entry)
    }
}

/// Reads a connection's name as the dead index holds it.
pub(crate) fn name<T: std::str::FromStr>(raw: &[u8]) -> Result<T, NotThisKey> {
    std::str::from_utf8(raw)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(NotThisKey)
}

/// The workspace, time and delivery of a dead index key.
pub(crate) fn read_dead(key: &[u8]) -> Result<(WorkspaceName, Timestamp, DeliveryId), NotThisKey> {
    let mut reader = KeyReader::of(Keyspace::Dead, key)?;
    let workspace = name(&reader.text()?)?;
    let at = Timestamp::from_millis(reader.u64()?);
    let delivery = DeliveryId::from_bytes(reader.bytes()?);
    reader.end()?;
    Ok((workspace, at, delivery))
}

/// The identifier that an index key ends in.
pub(crate) fn last_id(key: &[u8]) -> Result<[u8; 16], NotThisKey> {
    key.last_chunk().copied().ok_or(NotThisKey)
}
