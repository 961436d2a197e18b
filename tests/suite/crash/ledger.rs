//! What producers asked for and were told, kept outside of the server that dies.

use cofferdam_domain::EventId;

use super::lane::Lane;

/// An event that a producer sent. Its own id is also the correlation id that it asked for.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// Unique over the whole run.
    pub(crate) id: String,
    /// Its type after `test.`, and thereby to whom it is owed.
    pub(crate) kind: &'static str,
    /// What the server answered.
    pub(crate) answer: Answer,
}

/// What a producer was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 202, with this id of the server's.
    Acknowledged(EventId),
    /// 202, and the connection broke before the id came.
    AcknowledgedOnly,
    /// The connection broke before the answer: it may or may not be there.
    Nothing,
    /// The server said that it does not take it: it is not there.
    Refused(u16),
}

impl Sent {
    /// Whether it must be there.
    pub(crate) fn is_acknowledged(&self) -> bool {
        matches!(self.answer, Answer::Acknowledged(_) | Answer::AcknowledgedOnly)
    }

    /// To whom it is owed.
    pub(crate) fn owed(&self) -> Vec<Lane> {
        match Lane::named(self.kind) {
            Some(lane) => vec![lane],
            None => Lane::ALL.to_vec(),
        }
    }
}
