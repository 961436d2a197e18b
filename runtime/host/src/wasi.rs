//! WASI 0.2 for guests whose language brings it along: clocks, random numbers, streams, standard output into the call's
//! log, and `wasi:http/outgoing-handler` in front of the same gate as `http.send`.
//!
//! Nothing here can open a file or a socket. Of the implementation that comes with wasmtime only what is pure is linked: the
//! table of resources, polling, streams, and the types of `wasi:http`. The rest is below, and what a connector is not given
//! is [`absent`]: it is there, so that a guest built against the whole of WASI can be instantiated, and answers no.
//!
//! A call that uses none of it pays for none of it: the state is made at the first use.

mod absent;
mod cli;
mod clocks;
mod http;
mod random;
mod stdio;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc};
use wasmtime::component::{HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::p2::bindings::io;
use wasmtime_wasi_http::WasiHttpCtx;

use self::http::GateRules;
use self::http::order::Order;
use self::random::Randomness;
use self::stdio::Lines;
use crate::environment::{Ambience, Environment};
use crate::host_calls::HostCallsExceeded;
use crate::imports::Guest;
use crate::logbook::{LogBook, LogLevel};
use crate::memory::CallMemory;
use crate::meter::Meter;

/// The version that is offered. A guest may have been built for any other 0.2: they are compatible.
const VERSION: &str = "0.2.12";

/// Resources of WASI that one call may hold at once: streams, pollables, headers, requests, answers. None is larger than
/// 60 KiB, headers, path and authority together, but for bodies, which are counted by themselves.
pub(crate) const RESOURCES_MAX: usize = 512;

/// Requests of one call that are under way at once; more wait their turn.
const REQUESTS_AT_ONCE_MAX: usize = 8;

/// A guest did with WASI what a connector may not. Carried as a trap.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misused(String);

/// What a call leaves open at its end, which it takes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The guest has closed all that it opened.
    Nothing,
    /// The guest still holds handles of what is gone.
    Resources,
}

/// One call's WASI.
pub(crate) struct Wasi {
    table: ResourceTable,
    http: WasiHttpCtx,
    rules: GateRules,
    environment: Arc<dyn Environment>,
    ambience: Ambience,
    randomness: Randomness,
    /// Zero of the monotonic clock.
    born: Instant,
    stdout: Lines,
    stderr: Lines,
    memory: CallMemory,
    meter: Meter,
    /// Each request under way holds one permit.
    turns: Arc<Semaphore>,
    order: Order,
    /// Held by every request; when all are gone, nothing of this call goes on.
    alive: mpsc::Sender<Gone>,
    all_gone: mpsc::Receiver<Gone>,
}

/// Never sent: what counts is who could.
enum Gone {}

impl Wasi {
    pub(crate) fn new(
        environment: Arc<dyn Environment>,
        logs: &LogBook,
        memory: CallMemory,
        meter: Meter,
        born: Instant,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let ambience = environment.ambience();
        let (alive, all_gone) = mpsc::channel(1);
        Self {
            table,
            http: http::context(),
            rules: GateRules,
            ambience,
            randomness: Randomness::new(ambience),
            environment,
            born,
            stdout: Lines::new(logs.clone(), LogLevel::Info, "stdout"),
            stderr: Lines::new(logs.clone(), LogLevel::Warn, "stderr"),
            memory,
            meter,
            turns: Arc::new(Semaphore::new(REQUESTS_AT_ONCE_MAX)),
            order: Order::new(),
            alive,
            all_gone,
        }
    }

    /// Ends what the guest left going on, and returns when it has ended: behind this nothing of the call leaves any more, and
    /// what the gate recorded is what there was.
    pub(crate) async fn end(self) -> Left {
        let Self {
            table,
            stdout,
            stderr,
            alive,
            mut all_gone,
            ..
        } = self;
        stdout.finish();
        stderr.finish();
        let left = if table.is_empty() {
            Left::Nothing
        } else {
            Left::Resources
        };
        // A request is aborted when its handle goes.
        drop(table);
        drop(alive);
        let none: Option<Gone> = all_gone.recv().await;
        debug_assert!(none.is_none());
        left
    }
}

/// One call of a function that is written here. It has been counted; over the limit there is no [`Wasi`] behind it.
struct Entered<'a>(Result<&'a mut Wasi, HostCallsExceeded>);

/// What such functions are linked with.
struct Ours;

impl HasData for Ours {
    type Data<'a> = Entered<'a>;
}

impl Entered<'_> {
    fn wasi(&mut self) -> wasmtime::Result<&mut Wasi> {
        match &mut self.0 {
            Ok(wasi) => Ok(wasi),
            Err(exceeded) => Err((*exceeded).into()),
        }
    }
}

fn entered(guest: &mut Guest) -> Entered<'_> {
    let (calls, wasi) = guest.wasi();
    Entered(calls.count().map(|()| wasi))
}

/// Links everything of WASI that a guest may import.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    io::error::add_to_linker::<_, HasSelf<ResourceTable>>(linker, table)?;
    io::poll::add_to_linker::<_, HasSelf<ResourceTable>>(linker, table)?;
    io::streams::add_to_linker::<_, HasSelf<ResourceTable>>(linker, table)?;
    clocks::add_to_linker(linker)?;
    random::add_to_linker(linker)?;
    cli::add_to_linker(linker)?;
    http::add_to_linker(linker)?;
    absent::add_to_linker(linker)
}

/// For functions that come with wasmtime.
fn table(guest: &mut Guest) -> &mut ResourceTable {
    let (calls, wasi) = guest.wasi();
    calls.counted(&mut wasi.table)
}

/// The name under which an interface is linked.
fn interface(name: &str) -> String {
    format!("wasi:{name}@{VERSION}")
}
