//! One call into a guest: a fresh store and instance under a wall deadline, a CPU budget and a memory limit.
//!
//! Whatever the guest does ends in a value. The instance is gone when the call is over, so no state survives it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_domain::attempt::{LogLine, Usage};
use cofferdam_domain::limits::{MESSAGE_BYTES_MAX, one_line};
use cofferdam_domain::{Fault, FaultKind};
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::engine::Engine;
use crate::environment::Environment;
use crate::imports::Guest;
use crate::limits::{CallLimits, HOSTCALL_BYTES_MAX, MemoryExceeded, TableExceeded};
use crate::meter::{CpuExceeded, Meter};
use crate::slots::Slot;

/// A call's result with what it left and used.
#[derive(Debug)]
pub struct CallReport<T> {
    /// What the guest returned, or how it broke the contract.
    pub result: Result<T, Fault>,
    /// What it noted.
    pub logs: Vec<LogLine>,
    /// Lines over the limit.
    pub logs_dropped: u32,
    /// What it used.
    pub usage: Usage,
}

impl<T> CallReport<T> {
    /// A call that could not even begin.
    pub(crate) fn not_begun(fault: Fault) -> Self {
        Self {
            result: Err(fault),
            logs: Vec::new(),
            logs_dropped: 0,
            usage: Usage::default(),
        }
    }
}

/// Runs `body` in a fresh instance, which the slot is the right to. Cancel-safe: dropping the future ends the guest.
pub(crate) async fn call<T, F>(
    engine: &Engine,
    component: &InstancePre<Guest>,
    environment: Arc<dyn Environment>,
    limits: CallLimits,
    _slot: Slot,
    body: F,
) -> CallReport<T>
where
    F: AsyncFnOnce(&mut Store<Guest>, Instance) -> wasmtime::Result<T>,
{
    let began = Instant::now();
    let memory_bytes = limits.memory_bytes.min(engine.memory_bytes_max);
    let mut store = Store::new(&engine.wasmtime, Guest::new(environment, memory_bytes));
    store.limiter(|guest| &mut guest.memory);
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    let meter = Meter::new();
    watch_cpu(&mut store, meter.clone(), limits.cpu);

    let work = async {
        let instance = component.instantiate_async(&mut store).await?;
        body(&mut store, instance).await
    };
    let ended = tokio::time::timeout(limits.deadline, meter.metered(work)).await;
    let result = match ended {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(fault(&error, &store.data().logs)),
        Err(_elapsed) => Err(Fault {
            kind: FaultKind::Deadline,
            message: format!("did not end within {} ms", limits.deadline.as_millis()),
        }),
    };
    let guest = store.into_data();
    CallReport {
        result,
        usage: Usage {
            wall_us: micros(began.elapsed()),
            memory_bytes: guest.memory.peak_bytes(),
        },
        logs: guest.logs,
        logs_dropped: guest.logs_dropped,
    }
}

/// Every tick a running guest gives way to its neighbours, and is ended when its budget is used up.
fn watch_cpu(store: &mut Store<Guest>, meter: Meter, max: Duration) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        let spent = meter.spent();
        if spent > max {
            Err(CpuExceeded { spent, max }.into())
        } else {
            Ok(UpdateDeadline::Yield(1))
        }
    });
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Marks a value that a guest returned and that breaks a bound of the contract.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadReturn(pub(crate) String);

/// Names the limit that was exceeded, or the trap with the guest's last words: a panic is written to its log first. The
/// backtrace is left out: a stripped guest has no names in it.
fn fault(error: &wasmtime::Error, logs: &[LogLine]) -> Fault {
    if let Some(exceeded) = error.downcast_ref::<CpuExceeded>() {
        return Fault {
            kind: FaultKind::Cpu,
            message: exceeded.to_string(),
        };
    }
    if let Some(exceeded) = error.downcast_ref::<MemoryExceeded>() {
        return Fault {
            kind: FaultKind::Memory,
            message: exceeded.to_string(),
        };
    }
    if let Some(exceeded) = error.downcast_ref::<TableExceeded>() {
        return Fault {
            kind: FaultKind::Memory,
            message: exceeded.to_string(),
        };
    }
    if let Some(bad) = error.downcast_ref::<BadReturn>() {
        return Fault {
            kind: FaultKind::BadReturn,
            message: bad.to_string(),
        };
    }
    let (kind, said) = match error.downcast_ref::<Trap>() {
        Some(trap) => (FaultKind::Trap, trap.to_string()),
        None => (FaultKind::BadReturn, format!("{error:#}")),
    };
    let message = match logs.last().filter(|line| line.level == "error") {
        Some(last_words) => format!("{said}; the connector's last words: {}", last_words.message),
        None => said,
    };
    Fault {
        kind,
        message: one_line(&message, MESSAGE_BYTES_MAX),
    }
}
