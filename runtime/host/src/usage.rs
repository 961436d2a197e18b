//! What the engine has, and what of it is in use: for people, and for whoever sizes a server.

use serde::{Deserialize, Serialize};

use crate::compute::ComputeUse;
use crate::engine::Engine;

/// What the engine has, and what is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineUse {
    /// The pool that instances come from; none where there was no address space for it, and they are allocated on demand.
    pub pool: Option<PoolUse>,
    /// Calls that lanes may run at once beyond the one that each has.
    pub calls: Slots,
    /// The same for incoming requests.
    pub incoming: Slots,
    /// Instances that are kept between calls.
    pub kept: Slots,
    /// Where guests go on that compute.
    pub compute: ComputeUse,
}

/// How many there may be, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    /// At most.
    pub max: usize,
    /// Now.
    pub in_use: usize,
}

/// What the pool says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolUse {
    /// Instances that it has room for.
    pub instances_max: u32,
    /// Instances of connectors, under way or kept.
    pub instances: u64,
    /// Their linear memories.
    pub memories: usize,
    /// Memory that stays resident in slots that are free, in bytes.
    pub idle_bytes: usize,
}

impl Engine {
    /// What there is and what is in use, each read by itself: they may be from different moments.
    pub fn usage(&self) -> EngineUse {
        let pool = self.wasmtime.pooling_allocator_metrics().map(|pool| PoolUse {
            instances_max: self.instances_max,
            instances: pool.component_instances(),
            memories: pool.memories(),
            idle_bytes: pool.unused_memory_bytes_resident() + pool.unused_table_bytes_resident(),
        });
        let (calls, incoming) = self.slots.in_use();
        EngineUse {
            pool,
            calls,
            incoming,
            kept: Slots {
                max: self.keeper.max(),
                in_use: self.keeper.len(),
            },
            compute: self.compute.usage(),
        }
    }
}
