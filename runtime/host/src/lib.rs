//! The only code that knows wasmtime: engine, compile cache, connectors, and calls into them.
//!
//! Promises: a guest reaches nothing but its imports; every call has a wall deadline, a CPU budget and a memory limit, and
//! ends in a value, never in a panic of the host. It does not decide what a result means (`cofferdam-domain` does) and it
//! opens no socket (`cofferdam-egress` does, behind [`Environment`]).

mod bindings;
mod call;
mod compile;
mod compute;
mod connector;
mod convert;
mod deadline;
mod descriptor;
mod engine;
mod environment;
mod fault;
mod host_calls;
mod imports;
mod keep;
mod limits;
mod logbook;
mod memory;
mod meter;
mod output;
mod poller;
mod sink;
mod slots;
mod source;
mod usage;
mod wasi;
mod weight;

pub use call::CallReport;
pub use compile::worker::compile_component;
pub use compile::{COMPONENT_BYTES_MAX, CompileError, CompileLimits, Compiler};
pub use compute::ComputeUse;
pub use connector::{Connector, Exports, LoadError, LoadProblem};
pub use deadline::DEADLINE_STRETCH_MAX;
pub use engine::{Engine, EngineError, EngineSettings};
pub use environment::{Ambience, Environment, HttpDestination, HttpError, HttpRequest, HttpResponse, SendFuture};
pub use limits::CallLimits;
pub use memory::CallMemory;
pub use poller::{Page, Polled};
pub use sink::DeliverRequest;
pub use slots::incoming::Entrance;
pub use slots::{LaneSlots, Reuse, Slot, Version};
pub use source::{InboundRequest, Received, Rejected, Reply};
pub use usage::{EngineUse, PoolUse};
