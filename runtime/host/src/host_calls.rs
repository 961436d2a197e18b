//! How often a guest calls the host. Every import is counted, the contract's and WASI's.
//!
//! What is written here refuses the first call over the limit, as a trap. The functions of WASI that come with wasmtime
//! cannot be given an error; they get a table without resources and without room instead, by which each of them traps, and
//! where one does not, the next tick of the epoch ends the guest. Either way the call is judged by [`HostCalls::exceeded`].

use wasmtime::component::ResourceTable;

/// A guest called the host more often than it may. Carried as a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("called the host {made} times; {max} are allowed")]
pub(crate) struct HostCallsExceeded {
    made: u64,
    max: u64,
}

/// The count of one call.
#[derive(Debug)]
pub(crate) struct HostCalls {
    made: u64,
    max: u64,
    /// What a guest over its limit finds in place of its resources.
    nothing: Option<Box<ResourceTable>>,
}

impl HostCalls {
    pub(crate) fn new(max: u64) -> Self {
        Self {
            made: 0,
            max,
            nothing: None,
        }
    }

    /// Counts one call.
    pub(crate) fn count(&mut self) -> Result<(), HostCallsExceeded> {
        self.made += 1;
        if self.made > self.max {
            return Err(HostCallsExceeded {
                made: self.made,
                max: self.max,
            });
        }
        Ok(())
    }

    /// Counts one call of a function that cannot be told that it is over the limit: then it gets an empty table.
    pub(crate) fn counted<'a>(&'a mut self, table: &'a mut ResourceTable) -> &'a mut ResourceTable {
        if self.count().is_ok() {
            return table;
        }
        self.nothing.get_or_insert_with(|| {
            let mut nothing = ResourceTable::new();
            nothing.set_max_capacity(0);
            Box::new(nothing)
        })
    }

    /// By how much there were too many, if there were.
    pub(crate) fn exceeded(&self) -> Option<HostCallsExceeded> {
        (self.made > self.max).then_some(HostCallsExceeded {
            made: self.made,
            max: self.max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_up_to_the_limit_and_not_beyond() {
        let mut calls = HostCalls::new(2);
        assert!(calls.count().is_ok() && calls.count().is_ok());
        assert_eq!(calls.exceeded(), None);
        let error = calls.count().unwrap_err();
        assert_eq!(error.to_string(), "called the host 3 times; 2 are allowed");
        assert_eq!(calls.exceeded(), Some(error));
    }

    #[test]
    fn over_the_limit_there_is_nothing_to_work_with() {
        let (mut calls, mut table) = (HostCalls::new(1), ResourceTable::new());
        let resource = calls.counted(&mut table).push(7_u8).unwrap();
        let nothing = calls.counted(&mut table);
        assert!(nothing.get(&resource).is_err(), "what was there is not to be had");
        assert!(nothing.push(8_u8).is_err(), "nor is there room for more");
        assert!(
            table.get(&resource).is_ok(),
            "it is still there for the end of the call"
        );
    }
}
