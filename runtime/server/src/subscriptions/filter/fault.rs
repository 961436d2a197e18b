//! What is wrong with a filter, for the person who wrote it. No text here holds a value of an event.

use cel::{ExecutionError, ParseErrors};
use cofferdam_domain::limits::one_line;

/// Longest text of a fault, in bytes.
const FAULT_BYTES_MAX: usize = 300;

/// Most parse errors that are told of one filter.
const TOLD_MAX: usize = 3;

/// A filter that cannot be compiled: where, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct FilterFault {
    problem: String,
}

impl FilterFault {
    /// A fault of the whole expression.
    pub(super) fn whole(problem: impl Into<String>) -> Self {
        Self {
            problem: one_line(&problem.into(), FAULT_BYTES_MAX),
        }
    }

    /// A fault at a place of it, both counted from 1.
    pub(super) fn at((line, column): (usize, usize), problem: &str) -> Self {
        Self::whole(format!("{line}:{column}: {problem}"))
    }

    /// What the parser found.
    pub(super) fn of_parser(errors: &ParseErrors) -> Self {
        let told: Vec<String> = errors
            .errors
            .iter()
            .take(TOLD_MAX)
            .map(|error| format!("{}:{}: {}", error.pos.0, error.pos.1, error.msg))
            .collect();
        Self::whole(if told.is_empty() {
            "it cannot be parsed".to_owned()
        } else {
            told.join("; ")
        })
    }
}

/// What an evaluation failed of. Names of keys and types are told, values are not: they are the event's.
pub(super) fn told(error: &ExecutionError) -> String {
    let text = match error {
        ExecutionError::NoSuchKey(key) => format!("no key {key}; has() asks whether one is there"),
        ExecutionError::NoSuchOverload(overload) => overload.to_string(),
        ExecutionError::UndeclaredReference(name) => format!("no variable or function {name}"),
        ExecutionError::IndexOutOfBounds(_) => "an index is out of bounds; size() tells how many there are".to_owned(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "a division by zero".to_owned(),
        ExecutionError::Overflow(operator, ..) => format!("{operator} overflows"),
        ExecutionError::ValuesNotComparable(..) => "two values cannot be compared".to_owned(),
        ExecutionError::FunctionError { function, .. } => format!("{function}() fails on its arguments"),
        // The others, those of later versions among them, may hold values.
        _ => "a value is not of the type that the expression needs".to_owned(),
    };
    one_line(&text, FAULT_BYTES_MAX)
}
