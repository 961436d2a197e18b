//! What a call finds of what its connection keeps, and what it leaves of it: nothing, unless its attempt is delivered.

use cofferdam_domain::classify::Failure;
use cofferdam_domain::limits::{MESSAGE_BYTES_MAX, one_line};
use cofferdam_domain::state::{StateView, Used};
use cofferdam_domain::{Connection, DeliveryKind, FailureClass};
use cofferdam_queue::{CursorChange, KeptChange, KeptVersion, QueueError, StateChange};

use crate::app::App;
use crate::clock::steady;

/// The code of an attempt whose connection's state or cursor cannot be read.
const UNREADABLE: &str = "state-unreadable";

/// The code of an attempt whose connection's state or cursor was changed by somebody else while it ran.
pub(super) const CHANGED: &str = "state-changed";

/// What an attempt began with.
#[derive(Default)]
pub(super) struct Opened {
    /// Handed to the call; none where no state is granted, or this kind of call has none.
    pub(super) view: Option<StateView>,
    state: Option<KeptVersion>,
    /// Handed to a poll.
    pub(super) cursor: Option<String>,
    cursor_version: Option<KeptVersion>,
}

/// Reads what the call may see, or says why it cannot be made.
pub(super) async fn open(app: &App, connection: &Connection, kind: DeliveryKind) -> Result<Opened, Failure> {
    let (workspace, name) = (&connection.workspace, &connection.spec.name);
    let mut opened = Opened::default();
    match kind {
        // The provider's request has no attempt at first, so it has no state at any time.
        DeliveryKind::Receive => return Ok(opened),
        DeliveryKind::Deliver => {}
        DeliveryKind::Poll if connection.spec.poll.is_none() => return Err(not_granted(connection)),
        DeliveryKind::Poll => {
            let read = app.queue.open_cursor(workspace, name, steady()).await;
            let (version, cursor) = read.map_err(|error| unreadable("cursor", "reset-cursor", connection, &error))?;
            opened.cursor = cursor;
            opened.cursor_version = Some(version);
        }
    }
    if let Some(grant) = &connection.spec.state {
        let read = app.queue.open_state(workspace, name, steady()).await;
        let (version, values) = read.map_err(|error| unreadable("state", "state clear", connection, &error))?;
        opened.state = Some(version);
        opened.view = Some(StateView::new(values, grant.bytes_max.min(app.state_bytes_max)));
    }
    Ok(opened)
}

impl Opened {
    /// What becomes durable with the settle if the attempt is delivered.
    pub(super) fn change(&self, view: Option<&StateView>, next_cursor: Option<Option<String>>) -> KeptChange {
        let state = self.state.zip(view).and_then(|(seen, view)| match view.used() {
            Used::Not => None,
            // What was decided by it holds only if nobody has changed it meanwhile.
            Used::Read => Some(StateChange { seen, values: None }),
            Used::Changed => Some(StateChange {
                seen,
                values: Some(view.values().clone()),
            }),
        });
        let cursor = self
            .cursor_version
            .zip(next_cursor)
            .map(|(seen, cursor)| CursorChange { seen, cursor });
        KeptChange {
            state,
            cursor,
            again: None,
        }
    }
}

/// A poll that was made while there was a grant, or is replayed after it was taken away.
fn not_granted(connection: &Connection) -> Failure {
    let name = &connection.spec.name;
    Failure {
        class: FailureClass::Policy,
        code: Some("poll-not-granted".to_owned()),
        message: format!("connection {name} has no [poll] in its file any more, so it is not polled"),
        ambiguous: false,
        retry_after_ms: None,
    }
}

/// A store that is out is waited for; a record that is damaged is for a person to give up. Never is it taken for an empty
/// one: that would be a loss that nobody hears of.
fn unreadable(what: &str, command: &str, connection: &Connection, error: &QueueError) -> Failure {
    let name = &connection.spec.name;
    let message = format!(
        "the {what} of connection {name} cannot be read: {error}; if it stays so, give it up with cofferdam connection \
         {command} {name}"
    );
    Failure {
        class: if error.is_outage() {
            FailureClass::Dependency
        } else {
            FailureClass::Configuration
        },
        code: Some(UNREADABLE.to_owned()),
        message: one_line(&message, MESSAGE_BYTES_MAX),
        ambiguous: false,
        retry_after_ms: None,
    }
}

/// What is said of an attempt whose work cannot be kept.
pub(super) fn changed() -> Failure {
    Failure {
        class: FailureClass::Dependency,
        code: Some(CHANGED.to_owned()),
        message: "the connection's state or cursor was cleared or reset while the attempt ran; nothing of it was kept, and it \
                  is made again"
            .to_owned(),
        ambiguous: true,
        retry_after_ms: None,
    }
}
