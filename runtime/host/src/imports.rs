//! The host's side of the contract: one file per import. All a guest can reach is here.

mod credentials;
mod http;
mod log;
mod settings;
mod state;

use std::sync::Arc;

use cofferdam_domain::attempt::LogLine;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings;
use crate::environment::Environment;
use crate::limits::MemoryWatch;

/// What a store holds: one call's view of the world.
pub(crate) struct Guest {
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) memory: MemoryWatch,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) logs_dropped: u32,
}

impl Guest {
    pub(crate) fn new(environment: Arc<dyn Environment>, memory_bytes: usize) -> Self {
        Self {
            environment,
            memory: MemoryWatch::new(memory_bytes),
            logs: Vec::new(),
            logs_dropped: 0,
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
    bindings::types::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}
