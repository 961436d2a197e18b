//! The host's side of the contract: one file per import. All a guest can reach is here and in [`wasi`](crate::wasi).

mod credentials;
mod http;
mod log;
mod settings;
mod state;

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::{HasSelf, Linker};

use crate::bindings;
use crate::environment::{Environment, Nothing};
use crate::host_calls::{HostCalls, HostCallsExceeded};
use crate::limits::{CallLimits, MemoryWatch};
use crate::logbook::LogBook;
use crate::memory::{CallMemory, Held, MemoryExceeded};
use crate::meter::Meter;
use crate::output::{self, Output};
use crate::wasi::{self, Left, Wasi};

/// What a store holds: one call's view of the world.
pub(crate) struct Guest {
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) watch: MemoryWatch,
    pub(crate) logs: LogBook,
    pub(crate) calls: HostCalls,
    limits: CallLimits,
    memory: CallMemory,
    /// The answer that the guest was given last, until it has copied it.
    answer: Option<Held>,
    /// What of the memory is the view of the state.
    state_bytes: usize,
    meter: Meter,
    /// When its instance was made: the zero of the monotonic clock, which never goes back in one instance's life.
    born: Instant,
    wasi: Option<Box<Wasi>>,
}

impl Guest {
    pub(crate) fn new(environment: Arc<dyn Environment>, limits: CallLimits, memory: CallMemory, meter: Meter) -> Self {
        Self {
            born: meter.born(),
            environment,
            watch: MemoryWatch::new(memory.clone(), &limits),
            logs: LogBook::new(limits.log_lines, limits.log_bytes),
            calls: HostCalls::new(limits.host_calls),
            limits,
            memory,
            answer: None,
            state_bytes: 0,
            meter,
            wasi: None,
        }
    }

    /// For an instance that has served before, with what it has grown to since. If that is more than this call may use,
    /// nothing has changed.
    pub(crate) fn carry_on(&mut self, before: &Self) -> Result<(), MemoryExceeded> {
        self.watch.carry_on(&before.watch)?;
        self.born = before.born;
        Ok(())
    }

    /// For an instance between two calls: it reaches nothing, and holds nothing of the call that has ended.
    pub(crate) fn at_rest(&self) -> Self {
        let mut at_rest = Self::new(
            Arc::new(Nothing),
            self.limits,
            CallMemory::new(usize::MAX),
            Meter::new(),
        );
        let fits = at_rest.carry_on(self);
        debug_assert!(fits.is_ok(), "there is no limit");
        at_rest
    }

    /// Counts a call of the host. Whoever calls it has taken what it was given before.
    pub(crate) fn entered(&mut self) -> Result<(), HostCallsExceeded> {
        self.answer = None;
        self.calls.count()
    }

    /// The count of host calls, and WASI's state, made now if this is its first use.
    pub(crate) fn wasi(&mut self) -> (&mut HostCalls, &mut Wasi) {
        self.answer = None;
        let wasi = self.wasi.get_or_insert_with(|| {
            let environment = Arc::clone(&self.environment);
            let wasi = Wasi::new(
                environment,
                &self.logs,
                self.memory.clone(),
                self.meter.clone(),
                self.born,
            );
            Box::new(wasi)
        });
        (&mut self.calls, wasi)
    }

    /// What the guest is handed is the host's to hold until the call has ended.
    pub(crate) fn hand_over(&self, bytes: usize) -> wasmtime::Result<()> {
        Ok(self.memory.take(bytes)?)
    }

    /// Takes what the guest returned, if it is within the limits. The host holds it beside the guest's memory.
    pub(crate) fn returned<T: Output>(&self, output: T) -> wasmtime::Result<T> {
        self.memory.take(output::checked(&output, &self.limits)?)?;
        Ok(output)
    }

    /// Ends what the call left going on; returns when it has ended.
    pub(crate) async fn end(&mut self) -> Left {
        self.answer = None;
        match self.wasi.take() {
            Some(wasi) => wasi.end().await,
            None => Left::Nothing,
        }
    }
}

/// The shared types have no functions of their own.
impl bindings::types::Host for Guest {}

pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    bindings::http::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    bindings::settings::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    bindings::credentials::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    bindings::state::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    bindings::log::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    bindings::types::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    wasi::add_to_linker(linker)
}
