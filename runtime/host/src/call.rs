//! One call into a guest: a fresh store and instance under a wall deadline, a CPU budget and a memory limit.
//!
//! Whatever the guest does ends in a value. The instance is gone when the call is over, so no state survives it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_domain::attempt::{LogLine, Usage};
use cofferdam_domain::{Fault, FaultKind};
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Store, UpdateDeadline};

use crate::engine::Engine;
use crate::environment::Environment;
use crate::fault::fault;
use crate::imports::Guest;
use crate::limits::{CallLimits, HANDLES_MAX, HOSTCALL_BYTES_MAX};
use crate::memory::CallMemory;
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
