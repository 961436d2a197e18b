//! The wasmtime engine: its settings, its epoch ticker, its pool.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use cofferdam_domain::Digest;
use cofferdam_domain::connection::{CallLimit, Maximum};
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::compile::files::CacheFiles;
use crate::compile::{CompileCache, Compiler};
use crate::compute::Compute;
use crate::imports;
use crate::keep::Keeper;
use crate::limits::{MEMORIES_MAX, TABLES_MAX, size};
use crate::slots::incoming::Entrance;
use crate::slots::{INCOMING_SLOTS, LaneSlots, Slots};

/// How often a running guest is looked at. CPU budgets and fairness between guests are as fine as this.
pub(crate) const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Linear memory of a slot that stays resident after a call, so that the next one does not fault it in again. Four times as much
/// makes no call of the examples in JavaScript and Python faster (`cargo xtask bench host`), and an idle server larger.
const MEMORY_KEEP_RESIDENT: usize = 1024 * 1024;

/// The same for tables and async stacks.
const SMALL_KEEP_RESIDENT: usize = 64 * 1024;

/// Slots that are free and still hold what they kept resident, before a slot that never held any is taken. What a server keeps
/// behind a burst of calls is [`MEMORY_KEEP_RESIDENT`] times this, or times the calls that there were at once if those were more.
const WARM_SLOTS: u32 = 32;

/// Stack of a guest call, in bytes. Recursion past it is a trap.
pub(crate) const GUEST_STACK: usize = 512 * 1024;

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Calls that lanes may run at once beyond the one that each lane has; more wait.
    pub calls_max: u32,
    /// Lanes that there may be; each has one call of its own, and so have the incoming requests of its connection.
    pub lanes_max: u32,
    /// Instances that may be kept between calls; see [`Reuse`](crate::Reuse).
    pub kept_max: u32,
    /// The most that any call may be given.
    pub maximum: Maximum,
    /// Where compiled code is kept: readable by the host only.
    pub cache_dir: PathBuf,
    /// What may be kept there, in bytes; what was not used for longest goes first.
    pub cache_bytes: u64,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// Components that are compiled at once; more wait.
    pub compiles_at_once: u32,
}

impl EngineSettings {
    /// Defaults, with the cache in this folder and the compiler in this process.
    pub fn new(cache_dir: PathBuf) -> Self {
        Self {
            calls_max: 128,
            lanes_max: 1024,
            kept_max: 64,
            maximum: Maximum::default(),
            cache_dir,
            cache_bytes: 2 * 1024 * 1024 * 1024,
            compiler: Compiler::InProcess,
            compiles_at_once: 1,
        }
    }

    /// Instances that there may be at once: whoever may have one has a slot in the pool, so that none is ever missing. Each
    /// connection has one for its lane and one for its incoming requests; one more is for descriptors.
    const fn instances_max(&self) -> u32 {
        self.calls_max + 2 * self.lanes_max + self.kept_max + INCOMING_SLOTS + 1
    }
}

/// The engine cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime refuses.
    #[error("the WebAssembly engine cannot be set up: {0:#}")]
    Wasmtime(wasmtime::Error),
    /// The compile cache cannot be used.
    #[error("the compile cache {} cannot be used", path.display())]
    Cache {
        /// Its folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The ticker's thread, or one that guests compute on, cannot be started.
    #[error("the threads that guests run on cannot be started")]
    Threads(#[source] std::io::Error),
}

/// The engine, its linker and its cache: made once per process. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) wasmtime: wasmtime::Engine,
    pub(crate) linker: Arc<Linker<imports::Guest>>,
    pub(crate) cache: Arc<CompileCache>,
    /// As many as the pool can hold: an exhausted pool would be an error, a wait is not.
    pub(crate) slots: Slots,
    /// The way in of descriptors, which wait for each other.
    pub(crate) describing: Entrance,
    pub(crate) compute: Arc<Compute>,
    pub(crate) keeper: Arc<Keeper>,
    /// The most that any call is given; slots of the pool are as large as its memory.
    pub(crate) maximum: Maximum,
    /// Instances that the pool has room for.
    pub(crate) instances_max: u32,
    pooled: bool,
}

impl Engine {
    /// Makes the engine and starts its ticker. Where the address space is too small for the pool, instances are
    /// allocated on demand: slower, and with the same limits.
    pub fn new(settings: &EngineSettings) -> Result<Self, EngineError> {
        let pooled = wasmtime::Engine::new(&config(Some(settings)));
        let (wasmtime, pooled) = match pooled {
            Ok(engine) => (engine, true),
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "no address space for an instance pool; allocating on demand"
                );
                (
                    wasmtime::Engine::new(&config(None)).map_err(EngineError::Wasmtime)?,
                    false,
                )
            }
        };
        let keeper = Arc::new(Keeper::new(settings.kept_max as usize));
        start_ticker(&wasmtime, Arc::downgrade(&keeper)).map_err(EngineError::Threads)?;
        let ticked = wasmtime.weak();
        let tick = move || {
            if let Some(engine) = ticked.upgrade() {
                engine.increment_epoch();
            }
        };
        let compute = Compute::start(tick).map_err(EngineError::Threads)?;
        let mut linker = Linker::new(&wasmtime);
        imports::add_to_linker(&mut linker).map_err(EngineError::Wasmtime)?;
        let files =
            CacheFiles::open(&settings.cache_dir, settings.cache_bytes).map_err(|source| EngineError::Cache {
                path: settings.cache_dir.clone(),
                source,
            })?;
        let cache = CompileCache::new(files, settings.compiler.clone(), &wasmtime, settings.compiles_at_once);
        let slots = Slots::new(settings.calls_max as usize);
        Ok(Self {
            wasmtime,
            linker: Arc::new(linker),
            cache: Arc::new(cache),
            describing: slots.entrance(),
            slots,
            compute: Arc::new(compute),
            keeper,
            maximum: settings.maximum,
            instances_max: settings.instances_max(),
            pooled,
        })
    }

    /// The slots of a new lane. There must be no more lanes than the settings say.
    pub fn lane_slots(&self) -> LaneSlots {
        self.slots.lane()
    }

    /// Whether code for this component lies in the cache, so that it takes milliseconds to load and not perhaps minutes. It
    /// asks the file system.
    pub fn is_compiled(&self, digest: Digest) -> bool {
        self.cache.has(digest)
    }

    /// The way in of a connection's incoming requests: to be kept for as long as there is the connection. There must be no
    /// more than lanes.
    pub fn entrance(&self) -> Entrance {
        self.slots.entrance()
    }

    /// Ends the instances that a lane has kept: its connection has changed, or is off.
    pub fn forget_kept(&self, lane: &LaneSlots) {
        self.keeper.forget(lane.lane());
    }

    /// Ends the instances that were kept for a connection's incoming requests.
    pub fn forget_kept_of(&self, entrance: &Entrance) {
        self.keeper.forget(entrance.lane());
    }

    /// Whether instances come from a pool.
    pub fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// The configuration of an engine that measures the same work without this crate: for benchmarks.
    pub fn bare_config(settings: &EngineSettings) -> Config {
        config(Some(settings))
    }
}

/// An engine that makes machine code and runs none: without a pool, and without a ticker.
pub(crate) fn for_compiling() -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(None))
}

fn config(pool: Option<&EngineSettings>) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(2 * GUEST_STACK)
        // The contract is WASI 0.2 style: nothing in it is concurrent, and the bookkeeping costs a third of a call.
        .concurrency_support(false)
        .wasm_memory64(false)
        .wasm_component_model(true)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16));
    if let Some(settings) = pool {
        let calls = settings.instances_max();
        let most = |limit| settings.maximum.of(limit);
        let instances = u32::try_from(most(CallLimit::Instances)).unwrap_or(u32::MAX);
        let mut slots = PoolingAllocationConfig::new();
        slots
            .total_component_instances(calls)
            .total_core_instances(calls.saturating_mul(instances))
            .max_core_instances_per_component(instances)
            .total_memories(calls.saturating_mul(MEMORIES_MAX))
            .max_memories_per_component(MEMORIES_MAX)
            .max_memories_per_module(MEMORIES_MAX)
            .total_tables(calls.saturating_mul(TABLES_MAX))
            .max_tables_per_component(TABLES_MAX)
            .max_tables_per_module(TABLES_MAX)
            .table_elements(size(most(CallLimit::TableElements)))
            .total_stacks(calls.saturating_mul(2))
            .max_memory_size(size(most(CallLimit::Memory)))
            .max_unused_warm_slots(WARM_SLOTS)
            .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
            .table_keep_resident(SMALL_KEEP_RESIDENT)
            .async_stack_keep_resident(SMALL_KEEP_RESIDENT)
            .pagemap_scan(Enabled::Auto);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(slots));
    }
    config
}

/// One plain thread per engine: a tokio timer would stop ticking exactly when a guest hogs the executor. It ends when the
/// engine is gone. On the way it ends the kept instances that nobody uses, one at a tick.
fn start_ticker(engine: &wasmtime::Engine, keeper: Weak<Keeper>) -> std::io::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("cofferdam-epoch".to_owned())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                if let Some(keeper) = keeper.upgrade() {
                    keeper.sweep(Instant::now());
                }
                std::thread::sleep(EPOCH_TICK);
            }
        })?;
    Ok(())
}
