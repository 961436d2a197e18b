//! What a call may use, and the watch over its memory and tables.

use std::time::Duration;

use cofferdam_domain::Policy;
use cofferdam_domain::connection::{CallLimit, Maximum};
use wasmtime::ResourceLimiter;

use crate::memory::{CallMemory, MemoryExceeded};

/// Memories and tables that one component may have.
pub(crate) const MEMORIES_MAX: u32 = 2;
pub(crate) const TABLES_MAX: u32 = 8;

/// What one call may use. [`CallLimit`] says what each of them means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Wall time.
    pub deadline: Duration,
    /// Time spent computing.
    pub cpu: Duration,
    /// Memory in bytes: linear memory in total, and what the host holds for the call.
    pub memory_bytes: usize,
    /// Elements of all tables together.
    pub table_elements: usize,
    /// Core instances.
    pub instances: usize,
    /// Handles alive at once.
    pub handles: usize,
    /// Calls of the host.
    pub host_calls: u64,
    /// Bytes of one crossing from the guest to the host.
    pub host_call_bytes: usize,
    /// Log lines, kept or not.
    pub log_lines: u64,
    /// Bytes of log, kept or not.
    pub log_bytes: u64,
    /// Bytes of what is returned.
    pub output_bytes: usize,
    /// Event drafts of what is returned.
    pub drafts: usize,
}

impl CallLimits {
    /// What a call under this policy gets of what the server allows.
    pub fn of(policy: &Policy, maximum: &Maximum) -> Self {
        let held = |limit| maximum.held(policy, limit);
        Self {
            deadline: Duration::from_millis(held(CallLimit::Deadline)),
            cpu: Duration::from_millis(held(CallLimit::Cpu)),
            memory_bytes: size(held(CallLimit::Memory)),
            table_elements: size(held(CallLimit::TableElements)),
            instances: size(held(CallLimit::Instances)),
            handles: size(held(CallLimit::Handles)),
            host_calls: held(CallLimit::HostCalls),
            host_call_bytes: size(held(CallLimit::HostCallBytes)),
            log_lines: held(CallLimit::LogLines),
            log_bytes: held(CallLimit::LogBytes),
            output_bytes: size(held(CallLimit::OutputBytes)),
            drafts: size(held(CallLimit::Drafts)),
        }
    }
}

impl Default for CallLimits {
    fn default() -> Self {
        Self::of(&Policy::default(), &Maximum::default())
    }
}

/// As the machine counts.
pub(crate) fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A guest asked for more table elements than it may have. Carried as a trap.
#[derive(Debug, thiserror::Error)]
#[error("asked for {wanted} table elements; {max} are allowed")]
pub(crate) struct TableExceeded {
    wanted: usize,
    max: usize,
}

/// Watches the memory of one store: all its memories together, beside what the host holds for the call, and all its tables.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    memory: CallMemory,
    /// Bytes of all linear memories.
    linear: usize,
    /// What the last growth of a memory took, in case it comes to nothing.
    linear_taken: usize,
    table_elements: usize,
    /// The same for tables.
    elements_taken: usize,
    table_elements_max: usize,
    instances_max: usize,
}

impl MemoryWatch {
    pub(crate) fn new(memory: CallMemory, limits: &CallLimits) -> Self {
        Self {
            memory,
            linear: 0,
            linear_taken: 0,
            table_elements: 0,
            elements_taken: 0,
            table_elements_max: limits.table_elements,
            instances_max: limits.instances,
        }
    }

    /// Goes on with what another has watched over: it counts here too.
    pub(crate) fn carry_on(&mut self, before: &Self) -> Result<(), MemoryExceeded> {
        self.memory.take(before.linear)?;
        self.linear += before.linear;
        self.table_elements += before.table_elements;
        Ok(())
    }
}

impl ResourceLimiter for MemoryWatch {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.linear_taken = 0;
        let more = desired.saturating_sub(current);
        // It will come to nothing: an allocator that tries how far it gets is told so, and charged nothing.
        if maximum.is_some_and(|maximum| desired > maximum) {
            self.memory.has_room(more)?;
            return Ok(false);
        }
        self.memory.take(more)?;
        self.linear += more;
        self.linear_taken = more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!(%error, "a guest's memory did not grow");
        let taken = std::mem::take(&mut self.linear_taken);
        self.memory.release(taken);
        self.linear -= taken;
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.elements_taken = 0;
        let more = desired.saturating_sub(current);
        let wanted = self.table_elements.saturating_add(more);
        if wanted > self.table_elements_max {
            let max = self.table_elements_max;
            return Err(TableExceeded { wanted, max }.into());
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.table_elements = wanted;
        self.elements_taken = more;
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!(%error, "a guest's table did not grow");
        self.table_elements -= std::mem::take(&mut self.elements_taken);
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(memory: &CallMemory) -> MemoryWatch {
        let limits = CallLimits {
            table_elements: 10,
            ..CallLimits::default()
        };
        MemoryWatch::new(memory.clone(), &limits)
    }

    #[test]
    fn all_memories_of_a_store_share_one_limit() {
        let memory = CallMemory::new(100);
        let mut watch = watch(&memory);
        assert!(watch.memory_growing(0, 60, None).is_ok());
        assert!(watch.memory_growing(0, 40, None).is_ok());
        assert!(watch.memory_growing(40, 41, None).is_err());
        assert_eq!(memory.peak_bytes(), 100);
    }

    #[test]
    fn all_tables_of_a_store_share_one_limit() {
        let mut watch = watch(&CallMemory::new(100));
        assert!(watch.table_growing(0, 6, None).is_ok());
        assert!(watch.table_growing(0, 4, None).is_ok());
        let error = watch.table_growing(4, 5, None).unwrap_err();
        assert_eq!(error.to_string(), "asked for 11 table elements; 10 are allowed");
    }

    #[test]
    fn growth_that_comes_to_nothing_is_not_charged() {
        let memory = CallMemory::new(100);
        let mut watch = watch(&memory);
        assert!(watch.memory_growing(0, 60, Some(60)).unwrap());
        assert!(
            !watch.memory_growing(60, 90, Some(60)).unwrap(),
            "beyond its own maximum"
        );
        let beyond_the_calls_too = watch.memory_growing(60, 101, Some(60));
        assert!(beyond_the_calls_too.is_err());
        watch
            .memory_grow_failed(wasmtime::format_err!("beyond its own maximum"))
            .unwrap();
        assert!(watch.memory_growing(60, 90, None).unwrap());
        watch
            .memory_grow_failed(wasmtime::format_err!("the system has none"))
            .unwrap();
        watch.memory_grow_failed(wasmtime::format_err!("told twice")).unwrap();
        assert!(watch.memory_growing(60, 100, None).unwrap());
        assert!(watch.memory_growing(100, 101, None).is_err());
        assert_eq!(memory.peak_bytes(), 100);

        assert!(watch.table_growing(0, 6, Some(6)).unwrap());
        assert!(!watch.table_growing(6, 9, Some(6)).unwrap());
        assert!(watch.table_growing(6, 11, Some(6)).is_err());
        assert!(watch.table_growing(6, 9, None).unwrap());
        watch
            .table_grow_failed(wasmtime::format_err!("the system has none"))
            .unwrap();
        assert!(watch.table_growing(6, 10, None).unwrap());
        assert!(watch.table_growing(10, 11, None).is_err());
    }

    #[test]
    fn a_call_gets_what_its_policy_says_up_to_the_maximum() {
        let maximum = Maximum::default().with(CallLimit::Cpu, 1_000);
        let policy = Policy {
            host_calls: 7,
            ..Policy::default()
        };
        let limits = CallLimits::of(&policy, &maximum);
        assert_eq!((limits.cpu, limits.host_calls), (Duration::from_secs(1), 7));
        assert_eq!(limits.deadline, CallLimits::default().deadline);
    }

    #[test]
    fn what_an_instance_has_grown_to_counts_in_its_next_call() {
        let mut before = watch(&CallMemory::new(100));
        before.memory_growing(0, 60, None).unwrap();
        before.memory_growing(60, 70, None).unwrap();
        before.table_growing(0, 10, None).unwrap();
        let memory = CallMemory::new(100);
        let mut next = watch(&memory);
        next.carry_on(&before).unwrap();
        assert!(next.memory_growing(70, 101, None).is_err());
        assert!(next.table_growing(10, 11, None).is_err());
        assert!(next.memory_growing(70, 100, None).is_ok());
        assert_eq!(memory.peak_bytes(), 100);
        let too_small = CallMemory::new(69);
        assert!(watch(&too_small).carry_on(&before).is_err());
        assert_eq!(too_small.peak_bytes(), 0, "nothing was taken");
    }
}
