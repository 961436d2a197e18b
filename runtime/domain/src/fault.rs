//! How a connector can break the contract: every kind of it with the code that records, metrics and runbooks go by.
//!
//! A fault is the connector's own trouble. What it asks for and does not get is a refusal instead, a value that it can act on.

use std::fmt;

/// One breach of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which limit or rule.
    pub kind: FaultKind,
    /// What happened: with the number that was used or asked for, and the limit, where there is one.
    pub message: String,
}

/// Each kind of connector fault has a stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// It trapped, panicked, exited, or did with the host what a connector may not.
    Trap,
    /// It recursed deeper than its stack.
    Stack,
    /// It used more processor time than it may.
    Cpu,
    /// It did not end by its deadline.
    Deadline,
    /// It needed more memory than it may have, what the host holds for it included.
    Memory,
    /// It made its tables larger than they may be.
    TableElements,
    /// It is made of more instances, memories or tables than it may be.
    Instances,
    /// It held more handles or resources at once than it may.
    Handles,
    /// It called the host more often than it may.
    HostCalls,
    /// It moved more bytes to the host at once than it may.
    HostCallBytes,
    /// It wrote more log lines than it may.
    LogLines,
    /// It wrote more bytes of log than it may.
    LogBytes,
    /// It returned more bytes than it may.
    OutputBytes,
    /// It returned more event drafts than it may.
    Drafts,
    /// What it returned breaks its type, or a bound of one of its fields.
    BadReturn,
    /// It is not loaded, or lacks the export that is needed.
    NotRunnable,
}

impl FaultKind {
    /// Every kind, for documentation.
    pub const ALL: [Self; 16] = [
        Self::Trap,
        Self::Stack,
        Self::Cpu,
        Self::Deadline,
        Self::Memory,
        Self::TableElements,
        Self::Instances,
        Self::Handles,
        Self::HostCalls,
        Self::HostCallBytes,
        Self::LogLines,
        Self::LogBytes,
        Self::OutputBytes,
        Self::Drafts,
        Self::BadReturn,
        Self::NotRunnable,
    ];

    /// The failure code in records.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Stack => "stack",
            Self::Cpu => "cpu",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::TableElements => "table-elements",
            Self::Instances => "instances",
            Self::Handles => "handles",
            Self::HostCalls => "host-calls",
            Self::HostCallBytes => "host-call-bytes",
            Self::LogLines => "log-lines",
            Self::LogBytes => "log-bytes",
            Self::OutputBytes => "output-bytes",
            Self::Drafts => "drafts",
            Self::BadReturn => "bad-return",
            Self::NotRunnable => "not-runnable",
        }
    }

    /// What has happened, in one sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Trap => {
                "The connector trapped, panicked, exited instead of returning, or did with the host what a connector may not."
            }
            Self::Stack => "The connector recursed deeper than its stack.",
            Self::Cpu => "The connector used more processor time than one call may.",
            Self::Deadline => "The connector did not end by its deadline.",
            Self::Memory => {
                "The connector needed more memory than one call may have; what the host holds for the call counts too."
            }
            Self::TableElements => "The connector made its tables larger than one call may.",
            Self::Instances => "The connector is made of more instances, memories or tables than one call may have.",
            Self::Handles => "The connector held more handles or resources at once than one call may.",
            Self::HostCalls => "The connector called the host more often than one call may.",
            Self::HostCallBytes => "The connector moved more bytes to the host in one crossing than it may.",
            Self::LogLines => "The connector wrote more log lines than one call may, those that are not kept included.",
            Self::LogBytes => "The connector wrote more bytes of log than one call may, what is not kept included.",
            Self::OutputBytes => "The connector returned more bytes than one call may.",
            Self::Drafts => "The connector returned more event drafts than one call may.",
            Self::BadReturn => "What the connector returned breaks its type, or a bound of one of its fields.",
            Self::NotRunnable => "The connector is not loaded, or lacks the export that is needed.",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_kind_has_a_code_and_a_sentence_of_its_own() {
        let codes: BTreeSet<_> = FaultKind::ALL.map(FaultKind::code).into();
        let meanings: BTreeSet<_> = FaultKind::ALL.map(FaultKind::meaning).into();
        assert_eq!(
            (codes.len(), meanings.len()),
            (FaultKind::ALL.len(), FaultKind::ALL.len())
        );
        let is_plain = |code: &str| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        assert!(codes.iter().all(|code| is_plain(code)), "{codes:?}");
        assert!(meanings.iter().all(|meaning| meaning.ends_with('.')));
    }
}
