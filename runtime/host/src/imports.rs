//! The host's side of the contract: one file per import. All a guest can reach is here and in [`wasi`](crate::wasi).

mod credentials;
mod http;
mod log;
mod settings;
mod state;

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};

use crate::bindings;
use crate::environment::Environment;
use crate::limits::MemoryWatch;
use crate::logbook::LogBook;
use crate::memory::CallMemory;
use crate::meter::Meter;
use crate::wasi::{self, Wasi};

/// What a store holds: one call's view of the world.
pub(crate) struct Guest {
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) watch: MemoryWatch,
    pub(crate) logs: LogBook,
    memory: CallMemory,
    /// What of the memory is the view of the state.
    state_bytes: usize,
    meter: Meter,
    wasi: Option<Box<Wasi>>,
}

impl Guest {
    pub(crate) fn new(environment: Arc<dyn Environment>, memory: CallMemory, meter: Meter) -> Self {
        Self {
            environment,
            watch: MemoryWatch::new(memory.clone()),
            logs: LogBook::default(),
            memory,
            state_bytes: 0,
            meter,
            wasi: None,
        }
    }

    /// WASI's state, made now if this is its first use.
    pub(crate) fn wasi(&mut self) -> &mut Wasi {
        self.wasi.get_or_insert_with(|| {
            let environment = Arc::clone(&self.environment);
            let wasi = Wasi::new(environment, &self.logs, self.memory.clone(), self.meter.clone());
            Box::new(wasi)
        })
    }

    /// Ends what the call left going on; returns when it has ended.
    pub(crate) async fn end(&mut self) {
        if let Some(wasi) = self.wasi.take() {
            wasi.end().await;
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
