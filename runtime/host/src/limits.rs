//! What a call may use, and the watch over its memory.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use crate::memory::CallMemory;

/// Elements of all tables of one call together.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Handles of one store: of resources that the host or another part of the component made, alive at once.
pub(crate) const HANDLES_MAX: usize = 10_000;

/// Bytes that one crossing of the boundary may copy into the host: lists and strings of arguments and results.
pub(crate) const HOSTCALL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Instances, memories and tables of one store.
pub(crate) const INSTANCES_MAX: usize = 64;
pub(crate) const MEMORIES_MAX: usize = 2;
pub(crate) const TABLES_MAX: usize = 8;

/// What one call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Wall time.
    pub deadline: Duration,
    /// Time spent computing.
    pub cpu: Duration,
    /// Linear memory in total, in bytes.
    pub memory_bytes: usize,
}

/// A guest asked for more table elements than it may have.
#[derive(Debug, thiserror::Error)]
#[error("asked for {wanted} table elements; {TABLE_ELEMENTS_MAX} are allowed")]
pub(crate) struct TableExceeded {
    wanted: usize,
}

/// Watches the memory of one store: all its memories together, beside what the host holds for the call.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    memory: CallMemory,
    table_used: usize,
}

impl MemoryWatch {
    pub(crate) fn new(memory: CallMemory) -> Self {
        Self { memory, table_used: 0 }
    }
}

impl ResourceLimiter for MemoryWatch {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.memory.take(desired.saturating_sub(current))?;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.table_used.saturating_add(desired.saturating_sub(current));
        if wanted > TABLE_ELEMENTS_MAX {
            return Err(TableExceeded { wanted }.into());
        }
        self.table_used = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_of_a_store_share_one_limit() {
        let memory = CallMemory::new(100);
        let mut watch = MemoryWatch::new(memory.clone());
        assert!(watch.memory_growing(0, 60, None).is_ok());
        assert!(watch.memory_growing(0, 40, None).is_ok());
        assert!(watch.memory_growing(40, 41, None).is_err());
        assert_eq!(memory.peak_bytes(), 100);
    }
}
