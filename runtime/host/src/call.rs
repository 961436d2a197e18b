//! One call into a guest: a fresh store and instance under a wall deadline, a CPU budget and a memory limit.
//!
//! Whatever the guest does ends in a value. The instance is gone when the call is over, so no state survives it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_domain::attempt::{LogLine, Usage};
use cofferdam_domain::limits::{MESSAGE_BYTES_MAX, one_line};
use cofferdam_domain::{Fault, FaultKind};
use wasmtime::component::{Instance, InstancePre, ResourceTableError};
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::engine::Engine;
use crate::environment::Environment;
use crate::imports::Guest;
use crate::limits::{CallLimits, HANDLES_MAX, HOSTCALL_BYTES_MAX, TableExceeded};
use crate::logbook::LogBook;
use crate::memory::{CallMemory, MemoryExceeded};
use crate::meter::{CpuExceeded, Meter};
use crate::slots::Slot;
use crate::wasi::{Misused, RESOURCES_MAX};

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
    let memory = CallMemory::new(limits.memory_bytes.min(engine.memory_bytes_max));
    let meter = Meter::new();
    let guest = Guest::new(environment, memory.clone(), meter.clone());
    let mut store = Store::new(&engine.wasmtime, guest);
    store.limiter(|guest| &mut guest.watch);
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    store.set_max_component_handles(HANDLES_MAX);
    watch_cpu(&mut store, meter.clone(), limits.cpu);

    let work = async {
        let instance = component.instantiate_async(&mut store).await?;
        body(&mut store, instance).await
    };
    let ended = tokio::time::timeout(limits.deadline, meter.metered(work)).await;
    let mut guest = store.into_data();
    guest.end().await;
    let result = match (memory.exceeded(), ended) {
        (Some(exceeded), _) => Err(Fault {
            kind: FaultKind::Memory,
            message: exceeded.to_string(),
        }),
        (None, Ok(Ok(value))) => Ok(value),
        (None, Ok(Err(error))) => Err(fault(&error, &guest.logs)),
        (None, Err(_elapsed)) => Err(Fault {
            kind: FaultKind::Deadline,
            message: format!("did not end within {} ms", limits.deadline.as_millis()),
        }),
    };
    let logs = guest.logs.take();
    CallReport {
        result,
        usage: Usage {
            wall_us: micros(began.elapsed()),
            memory_bytes: memory.peak_bytes(),
        },
        logs: logs.kept,
        logs_dropped: logs.dropped,
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
fn fault(error: &wasmtime::Error, logs: &LogBook) -> Fault {
    let exceeded = |kind, error: &dyn std::error::Error| Fault {
        kind,
        message: error.to_string(),
    };
    if let Some(error) = error.downcast_ref::<CpuExceeded>() {
        return exceeded(FaultKind::Cpu, error);
    }
    if let Some(error) = error.downcast_ref::<MemoryExceeded>() {
        return exceeded(FaultKind::Memory, error);
    }
    if let Some(error) = error.downcast_ref::<TableExceeded>() {
        return exceeded(FaultKind::Memory, error);
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return Fault {
            kind: FaultKind::Memory,
            message: format!("held more than {RESOURCES_MAX} WASI resources at once"),
        };
    }
    if let Some(error) = error.downcast_ref::<BadReturn>() {
        return exceeded(FaultKind::BadReturn, error);
    }
    let (kind, said) = if let Some(trap) = error.downcast_ref::<Trap>() {
        (FaultKind::Trap, trap.to_string())
    } else if let Some(misused) = error.downcast_ref::<Misused>() {
        (FaultKind::Trap, misused.to_string())
    } else {
        (FaultKind::BadReturn, format!("{error:#}"))
    };
    let message = match logs.last_words() {
        Some(last_words) => format!("{said}; the connector's last words: {last_words}"),
        None => said,
    };
    Fault {
        kind,
        message: one_line(&message, MESSAGE_BYTES_MAX),
    }
}
