//! `wasi:clocks`: the time of day, a monotonic clock that begins with the call, and waiting.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::{Entered, Ours, entered};
use crate::environment::Ambience;
use crate::imports::Guest;

/// What is said of both clocks' resolution.
const RESOLUTION: Duration = Duration::from_micros(1);

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wall_clock::add_to_linker::<_, Ours>(linker, entered)?;
    monotonic_clock::add_to_linker::<_, Ours>(linker, entered)
}

impl wall_clock::Host for Entered<'_> {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        let since_epoch = match self.wasi()?.ambience {
            Ambience::Real => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
            Ambience::Frozen => Duration::ZERO,
        };
        Ok(datetime(since_epoch))
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.wasi().map(|_| datetime(RESOLUTION))
    }
}

fn datetime(since_epoch: Duration) -> wall_clock::Datetime {
    wall_clock::Datetime {
        seconds: since_epoch.as_secs(),
        nanoseconds: since_epoch.subsec_nanos(),
    }
}

impl monotonic_clock::Host for Entered<'_> {
    fn now(&mut self) -> wasmtime::Result<monotonic_clock::Instant> {
        let wasi = self.wasi()?;
        Ok(match wasi.ambience {
            Ambience::Real => nanos(wasi.born.elapsed()),
            Ambience::Frozen => 0,
        })
    }

    fn resolution(&mut self) -> wasmtime::Result<monotonic_clock::Duration> {
        self.wasi().map(|_| nanos(RESOLUTION))
    }

    fn subscribe_instant(&mut self, when: monotonic_clock::Instant) -> wasmtime::Result<Resource<DynPollable>> {
        let now = monotonic_clock::Host::now(self)?;
        self.subscribe_duration(when.saturating_sub(now))
    }

    fn subscribe_duration(&mut self, wait: monotonic_clock::Duration) -> wasmtime::Result<Resource<DynPollable>> {
        let wasi = self.wasi()?;
        let alarm = match wasi.ambience {
            Ambience::Real if wait > 0 => match Instant::now().checked_add(Duration::from_nanos(wait)) {
                Some(at) => Alarm::At(at),
                None => Alarm::Never,
            },
            // A clock that stands still would never come to it.
            Ambience::Real | Ambience::Frozen => Alarm::Now { gave_way: false },
        };
        let alarm = wasi.table.push(alarm)?;
        subscribe(&mut wasi.table, alarm)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

enum Alarm {
    /// Gives way to other tasks once, so that a guest that polls in a loop cannot keep what it polls for from happening.
    Now {
        gave_way: bool,
    },
    At(Instant),
    Never,
}

#[async_trait]
impl Pollable for Alarm {
    async fn ready(&mut self) {
        match self {
            Self::Now { gave_way } => {
                if !std::mem::replace(gave_way, true) {
                    tokio::task::yield_now().await;
                }
            }
            Self::At(at) => tokio::time::sleep_until(*at).await,
            Self::Never => std::future::pending().await,
        }
    }
}
