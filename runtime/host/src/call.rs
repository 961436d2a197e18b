//! One call into a guest: a fresh store and instance under a wall deadline, a CPU budget and a memory limit.
//!
//! Whatever the guest does ends in a value. The instance is gone when the call is over, so no state survives it, unless its
//! connection asked for [instances to be kept](crate::keep); then what is of the call is made anew for each. Where the call
//! runs, on the executor or on the [compute threads](crate::compute), makes no difference to what it comes to.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_domain::attempt::{LogLine, Usage};
use cofferdam_domain::connection::CallLimit;
use cofferdam_domain::{Digest, Fault, FaultKind};
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Store, UpdateDeadline};

use crate::compute::Compute;
use crate::compute::queue::LaneId;
use crate::deadline::within;
use crate::engine::Engine;
use crate::environment::Environment;
use crate::fault::fault;
use crate::imports::Guest;
use crate::keep::{Alive, Keeper, Owner};
use crate::limits::{CallLimits, size};
use crate::logbook::LogExceeded;
use crate::memory::CallMemory;
use crate::meter::{CpuExceeded, Meter};
use crate::slots::Slot;
use crate::wasi::Left;

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

/// What is asked of an instance.
pub(crate) trait Ask: Send + 'static {
    type Returned: Send + 'static;

    fn ask(
        self,
        store: &mut Store<Guest>,
        instance: Instance,
    ) -> impl Future<Output = wasmtime::Result<Self::Returned>> + Send;
}

/// A call, not yet begun. It owns all that it needs, so that it can go on elsewhere than where it began.
pub(crate) struct Call {
    component: InstancePre<Guest>,
    environment: Arc<dyn Environment>,
    limits: CallLimits,
    compute: Arc<Compute>,
    keeper: Arc<Keeper>,
    /// Whose instance it may be, if it may have served before.
    owner: Option<Owner>,
    slot: Slot,
}

impl Call {
    /// In a fresh instance, which the slot is the right to.
    pub(crate) fn new(
        engine: &Engine,
        component: &InstancePre<Guest>,
        environment: Arc<dyn Environment>,
        limits: CallLimits,
        slot: Slot,
    ) -> Self {
        let memory_bytes = limits.memory_bytes.min(size(engine.maximum.of(CallLimit::Memory)));
        Self {
            component: component.clone(),
            environment,
            limits: CallLimits { memory_bytes, ..limits },
            compute: Arc::clone(&engine.compute),
            keeper: Arc::clone(&engine.keeper),
            owner: None,
            slot,
        }
    }

    /// In an instance of this connector that has served before, if the slot allows it and there is one.
    pub(crate) fn reusing(mut self, connector: Digest) -> Self {
        self.owner = (self.slot.reuse.calls_max > 1).then(|| Owner {
            lane: self.slot.weight.lane,
            connector,
            version: self.slot.reuse.version,
        });
        self
    }

    /// Makes the call. Cancel-safe: dropping the future ends the guest.
    pub(crate) async fn run<A: Ask>(self, what: A) -> CallReport<A::Returned> {
        let (compute, weight, meter) = (Arc::clone(&self.compute), Arc::clone(&self.slot.weight), Meter::new());
        let metered = meter.clone();
        compute
            .carry(&weight, &meter, Box::pin(self.whole(what, metered)))
            .await
    }

    /// From the making of the instance to its end.
    async fn whole<A: Ask>(self, what: A, meter: Meter) -> CallReport<A::Returned> {
        let Self {
            component,
            environment,
            limits,
            compute,
            keeper,
            owner,
            slot,
        } = self;
        // Everything below is dropped before the slot, the instance too, should the call be given up.
        let began = meter.born();
        let memory = CallMemory::new(limits.memory_bytes);
        let mut guest = Guest::new(environment, limits, memory.clone(), meter.clone());
        let kept = owner.and_then(|owner| keeper.take(&owner, began));
        // What its memory has grown to counts in this call too; where that is not allowed any more, it is not used.
        let kept = kept.filter(|kept| guest.carry_on(kept.store.data()).is_ok());
        let (mut store, mut instance, served) = match kept {
            Some(kept) => {
                let mut store = kept.store;
                *store.data_mut() = guest;
                (store, Some(kept.instance), kept.calls)
            }
            None => {
                let mut store = Store::new(component.engine(), guest);
                store.limiter(|guest| &mut guest.watch);
                (store, None, 0)
            }
        };
        store.set_hostcall_fuel(limits.host_call_bytes);
        store.set_max_component_handles(limits.handles);
        watch_cpu(&mut store, compute, slot.weight.lane, meter.clone(), limits.cpu);

        let work = async {
            let instance = match instance {
                Some(instance) => instance,
                None => *instance.insert(component.instantiate_async(&mut store).await?),
            };
            what.ask(&mut store, instance).await
        };
        let ended = within(limits.deadline, &meter, work).await;
        let left = store.data_mut().end().await;
        let guest = store.data();
        let result = match (remembered(guest, &memory), ended) {
            (Some(fault), _) => Err(fault),
            (None, Ok(Ok(value))) => Ok(value),
            (None, Ok(Err(error))) => Err(fault(&error, &limits, &guest.logs)),
            (None, Err(elapsed)) => Err(Fault {
                kind: FaultKind::Deadline,
                message: format!("{elapsed}; it was ended after {} ms", began.elapsed().as_millis()),
            }),
        };
        let logs = guest.logs.take();
        let owner = owner.filter(|_| result.is_ok() && left == Left::Nothing && served + 1 < slot.reuse.calls_max);
        if let (Some(owner), Some(instance)) = (owner, instance) {
            let at_rest = guest.at_rest();
            *store.data_mut() = at_rest;
            let calls = served + 1;
            let alive = Alive { store, instance, calls };
            keeper.keep(owner, alive, Instant::now());
        } else {
            drop(store);
        }
        drop(slot);
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
}

/// A limit that was exceeded where nothing could be trapped, or whose trap the guest may have got around.
fn remembered(guest: &Guest, memory: &CallMemory) -> Option<Fault> {
    let fault = |kind, message| Fault { kind, message };
    if let Some(exceeded) = guest.calls.exceeded() {
        return Some(fault(FaultKind::HostCalls, exceeded.to_string()));
    }
    if let Some(exceeded) = guest.logs.exceeded() {
        let kind = match exceeded {
            LogExceeded::Lines { .. } => FaultKind::LogLines,
            LogExceeded::Bytes { .. } => FaultKind::LogBytes,
        };
        return Some(fault(kind, exceeded.to_string()));
    }
    let exceeded = memory.exceeded()?;
    Some(fault(FaultKind::Memory, exceeded.to_string()))
}

/// At a tick a running guest is ended if its budget is used up, or if it has called the host too often and was not trapped for
/// it, and gives way if others should compute.
fn watch_cpu(store: &mut Store<Guest>, compute: Arc<Compute>, lane: LaneId, meter: Meter, max: Duration) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |context| {
        if let Some(exceeded) = context.data().calls.exceeded() {
            return Err(exceeded.into());
        }
        let spent = meter.proven();
        if spent > max {
            return Err(CpuExceeded { spent, max }.into());
        }
        // What only the wall shows is measured where the call goes on when it has given way.
        Ok(if meter.spent() > max || compute.gives_way(lane, &meter) {
            UpdateDeadline::Yield(1)
        } else {
            UpdateDeadline::Continue(1)
        })
    });
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
