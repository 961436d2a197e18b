//! From what ended a call to the fault that it is: the limit that was exceeded, or the rule that was broken.
//!
//! What wasmtime counts itself it tells in words only; those words are matched here and nowhere else, and
//! `tests/it/limits.rs` holds them against a guest for each.

use cofferdam_domain::limits::{MESSAGE_BYTES_MAX, one_line};
use cofferdam_domain::{Fault, FaultKind};
use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

use crate::engine::GUEST_STACK;
use crate::limits::{CallLimits, MEMORIES_MAX, TABLES_MAX, TableExceeded};
use crate::logbook::LogBook;
use crate::memory::MemoryExceeded;
use crate::meter::CpuExceeded;
use crate::output::{DraftsExceeded, OutputExceeded};
use crate::wasi::{Misused, RESOURCES_MAX};

/// wasmtime's words for a crossing that moves more than [`wasmtime::Store::set_hostcall_fuel`] allows.
const FUEL_EXHAUSTED: &str = "too much data is being copied between the host and the guest";

/// wasmtime's words for more handles than [`wasmtime::Store::set_max_component_handles`] allows.
const HANDLES_EXCEEDED: &str = "store handle limit exceeded";

/// wasmtime's words for more of something than [`wasmtime::ResourceLimiter`] allows, before and after what it is.
const COUNT_EXCEEDED: (&str, &str) = ("resource limit exceeded: ", " count too high at ");

/// wasmtime's words for a handle that there is not, or that is something else.
const BAD_HANDLES: [&str; 7] = [
    "unknown handle index",
    "used with the wrong type",
    "borrow handles still remain at the end of the call",
    "cannot lift own resource from a borrow",
    "is not a resource",
    "is not an own resource",
    "cannot remove owned resource while borrowed",
];

/// Marks a value that a guest returned and that breaks a bound of the contract.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadReturn(pub(crate) String);

/// Names the limit that was exceeded, or the trap with the guest's last words: a panic is written to its log first. The
/// backtrace is left out: a stripped guest has no names in it.
pub(crate) fn fault(error: &wasmtime::Error, limits: &CallLimits, logs: &LogBook) -> Fault {
    if let Some(fault) = exceeded(error, limits) {
        return fault;
    }
    let (kind, said) = broken(error);
    let message = match logs.last_words() {
        Some(last_words) => format!("{said}; the connector's last words: {last_words}"),
        None => said,
    };
    Fault {
        kind,
        message: one_line(&message, MESSAGE_BYTES_MAX),
    }
}

/// The limit, or the bound of the contract, if it is one.
fn exceeded(error: &wasmtime::Error, limits: &CallLimits) -> Option<Fault> {
    let fault = |kind, message: String| Some(Fault { kind, message });
    if let Some(error) = error.downcast_ref::<CpuExceeded>() {
        return fault(FaultKind::Cpu, error.to_string());
    }
    if let Some(error) = error.downcast_ref::<MemoryExceeded>() {
        return fault(FaultKind::Memory, error.to_string());
    }
    if let Some(error) = error.downcast_ref::<TableExceeded>() {
        return fault(FaultKind::TableElements, error.to_string());
    }
    if let Some(error) = error.downcast_ref::<OutputExceeded>() {
        return fault(FaultKind::OutputBytes, error.to_string());
    }
    if let Some(error) = error.downcast_ref::<DraftsExceeded>() {
        return fault(FaultKind::Drafts, error.to_string());
    }
    if let Some(error) = error.downcast_ref::<BadReturn>() {
        return fault(FaultKind::BadReturn, one_line(&error.to_string(), MESSAGE_BYTES_MAX));
    }
    if let Some(Trap::StackOverflow) = error.downcast_ref() {
        return fault(
            FaultKind::Stack,
            format!("used more than {GUEST_STACK} bytes of stack, which are what there is"),
        );
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return fault(
            FaultKind::Handles,
            format!("held more than {RESOURCES_MAX} WASI resources at once"),
        );
    }
    let said = error.root_cause().to_string();
    if said.starts_with(FUEL_EXHAUSTED) {
        return fault(
            FaultKind::HostCallBytes,
            format!("moved more than {} bytes to the host at once", limits.host_call_bytes),
        );
    }
    if said.ends_with(HANDLES_EXCEEDED) {
        return fault(
            FaultKind::Handles,
            format!("held more than {} handles at once", limits.handles),
        );
    }
    let (what, count) = said.strip_prefix(COUNT_EXCEEDED.0)?.split_once(COUNT_EXCEEDED.1)?;
    let (what, max) = match what {
        "memory" => ("memories", MEMORIES_MAX as usize),
        "table" => ("tables", TABLES_MAX as usize),
        _ => ("instances", limits.instances),
    };
    fault(
        FaultKind::Instances,
        format!("is made of {count} {what} or more; {max} are allowed"),
    )
}

/// The rule. What is not known is a value that could not be read.
fn broken(error: &wasmtime::Error) -> (FaultKind, String) {
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let is_value = matches!(
            trap,
            Trap::InvalidChar
                | Trap::InvalidDiscriminant
                | Trap::ListOutOfBounds
                | Trap::StringOutOfBounds
                | Trap::UnalignedPointer
        );
        let kind = if is_value {
            FaultKind::BadReturn
        } else {
            FaultKind::Trap
        };
        return (kind, trap.to_string());
    }
    if let Some(misused) = error.downcast_ref::<Misused>() {
        return (FaultKind::Trap, misused.to_string());
    }
    let cause = error.root_cause().to_string();
    let is_misuse = error.is::<ResourceTableError>() || BAD_HANDLES.iter().any(|words| cause.contains(words));
    let kind = if is_misuse {
        FaultKind::Trap
    } else {
        FaultKind::BadReturn
    };
    (kind, format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: impl Into<wasmtime::Error>, kind: FaultKind, message: &str) {
        let error = error.into();
        let found = fault(&error, &CallLimits::default(), &LogBook::new(1, 1));
        assert_eq!((found.kind, found.message.as_str()), (kind, message), "{error:?}");
    }

    fn told(words: &str) -> wasmtime::Error {
        wasmtime::Error::msg(words.to_owned())
    }

    #[test]
    fn each_limit_of_wasmtimes_own_is_told_by_its_words() {
        check(
            told(
                "too much data is being copied between the host and the guest: fuel allocated for hostcalls has been exhausted",
            ),
            FaultKind::HostCallBytes,
            "moved more than 16777216 bytes to the host at once",
        );
        check(
            told("cannot allocate another handle: store handle limit exceeded").context("in a call"),
            FaultKind::Handles,
            "held more than 10000 handles at once",
        );
        check(
            told("resource limit exceeded: instance count too high at 65"),
            FaultKind::Instances,
            "is made of 65 instances or more; 64 are allowed",
        );
        check(
            told("resource limit exceeded: memory count too high at 3"),
            FaultKind::Instances,
            "is made of 3 memories or more; 2 are allowed",
        );
        check(
            told("resource limit exceeded: table count too high at 9"),
            FaultKind::Instances,
            "is made of 9 tables or more; 8 are allowed",
        );
    }

    #[test]
    fn a_trap_is_one_a_bad_handle_too_and_a_value_that_cannot_be_read_is_a_bad_return() {
        check(
            Trap::UnreachableCodeReached,
            FaultKind::Trap,
            "wasm trap: wasm `unreachable` instruction executed",
        );
        check(
            Trap::StackOverflow,
            FaultKind::Stack,
            "used more than 524288 bytes of stack, which are what there is",
        );
        check(
            told("unknown handle index 7"),
            FaultKind::Trap,
            "unknown handle index 7",
        );
        check(ResourceTableError::NotPresent, FaultKind::Trap, "resource not present");
        check(
            ResourceTableError::Full,
            FaultKind::Handles,
            "held more than 512 WASI resources at once",
        );
        check(
            Trap::InvalidDiscriminant,
            FaultKind::BadReturn,
            "wasm trap: invalid variant discriminant",
        );
        check(
            told("invalid utf-8 sequence of 1 bytes from index 0"),
            FaultKind::BadReturn,
            "invalid utf-8 sequence of 1 bytes from index 0",
        );
    }

    #[test]
    fn last_words_go_with_a_trap_and_not_with_a_limit() {
        let logs = LogBook::new(1, 100);
        logs.write(crate::logbook::LogLevel::Error, "it hurts", &[]).unwrap();
        let said = |error: wasmtime::Error| fault(&error, &CallLimits::default(), &logs).message;
        assert!(said(Trap::UnreachableCodeReached.into()).ends_with("; the connector's last words: it hurts"));
        assert!(!said(Trap::StackOverflow.into()).contains("hurts"));
    }
}
