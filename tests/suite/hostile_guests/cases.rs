//! A case: what a guest is told to do or is made to do, under which limits, and exactly what must come of every call.

mod allocator;
mod computing;
mod counted;
mod handles;
mod host;
mod memory;
mod remains;
mod returns;
mod sources;
mod start;
mod wasi;

use cofferdam_domain::FailureClass;
use serde_json::{Value, json};

use super::guests::Guest;

/// Processor time of one call, in milliseconds: what everybody has by default.
const CPU_MS: u32 = 2_000;

/// The same for cases that use it up: the sooner, the more of them there are.
const LITTLE_CPU_MS: u32 = 20;

/// Memory of one call where a case does not say otherwise.
pub(super) const MEMORY_BYTES: u32 = 16 * 1024 * 1024;

/// Wall time of one call where a case does not say otherwise, in milliseconds. A lane's calls compute by turns, so that the last
/// of them needs many times its own processor time.
const DEADLINE_MS: u32 = 60_000;

/// What stands in an act for the base URL of the upstream `target`.
pub(super) const TARGET: &str = "http://target.invalid";

/// One of them.
#[derive(Clone)]
pub(crate) struct Case {
    /// Also its connection's name, and that of its connector unless that is one of the probes.
    pub(crate) name: String,
    pub(crate) guest: Guest,
    /// The event's data.
    pub(crate) act: Value,
    pub(crate) limits: Limits,
    pub(crate) expected: Expected,
}

/// The connection's policy, as far as it differs from what everybody has.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) cpu_ms: u32,
    pub(crate) deadline_ms: u32,
    pub(crate) memory_bytes: u32,
    /// Further lines of the table `[policy]`.
    pub(crate) more: &'static str,
}

/// What must come of every call.
#[derive(Clone, Copy)]
pub(crate) enum Expected {
    /// This class and code, in a sentence that says all of these.
    Failed {
        class: FailureClass,
        code: &'static str,
        says: &'static [&'static str],
    },
    /// A receipt whose summary says this, if anything.
    Delivered { summary: Option<&'static str> },
    /// An end, whatever it is: what is done is random.
    Ended,
}

/// Every case, theme by theme.
pub(crate) fn all() -> Vec<Case> {
    let themes = [
        computing::cases(),
        memory::cases(),
        counted::cases(),
        start::cases(),
        returns::cases(),
        sources::cases(),
        allocator::cases(),
        host::cases(),
        handles::cases(),
        wasi::cases(),
        remains::cases(),
    ];
    themes.into_iter().flatten().collect()
}

impl Case {
    fn new(name: &str, guest: Guest, act: Value) -> Self {
        Self {
            name: name.to_owned(),
            guest,
            act,
            limits: Limits {
                cpu_ms: CPU_MS,
                deadline_ms: DEADLINE_MS,
                memory_bytes: MEMORY_BYTES,
                more: "",
            },
            expected: Expected::Delivered { summary: None },
        }
    }

    /// The connector of the contract does as it is told.
    fn probe(name: &str, act: Value) -> Self {
        Self::new(name, Guest::Probe, act)
    }

    /// The connector that goes through WASI does as it is told.
    fn wasi_probe(name: &str, act: Value) -> Self {
        Self::new(name, Guest::WasiProbe, act)
    }

    /// A connector of its own around this body.
    fn written(name: &str, body: impl Into<String>) -> Self {
        Self::new(name, Guest::Written(body.into()), json!({}))
    }

    /// A connector of its own, as it is, of which nothing is known.
    pub(super) fn unknown(name: &str, component: Vec<u8>) -> Self {
        Self {
            expected: Expected::Ended,
            ..Self::new(name, Guest::Made(component), json!({}))
        }
        .with(|limits| limits.cpu_ms = LITTLE_CPU_MS)
    }

    fn with(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Must be the connector's fault, of this code.
    fn faults(self, code: &'static str, says: &'static [&'static str]) -> Self {
        self.fails(FailureClass::ConnectorFault, code, says)
    }

    /// Must use up its processor time.
    fn computes_on(self) -> Self {
        self.with(|limits| limits.cpu_ms = LITTLE_CPU_MS)
            .faults("cpu", &["20 ms are allowed"])
    }

    fn fails(self, class: FailureClass, code: &'static str, says: &'static [&'static str]) -> Self {
        Self {
            expected: Expected::Failed { class, code, says },
            ..self
        }
    }

    fn delivers(self, summary: Option<&'static str>) -> Self {
        Self {
            expected: Expected::Delivered { summary },
            ..self
        }
    }
}
