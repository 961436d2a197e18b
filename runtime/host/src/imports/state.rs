//! `state`: the connection's own, as this call sees it. What it sets is the environment's to make durable, or not.

use std::sync::{Arc, PoisonError};

use cofferdam_domain::state::{StateRefusal, StateView};

use crate::bindings::state::{Host, StateError};
use crate::imports::Guest;

impl Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, StateError>> {
        self.with_state(|state| Ok(state.get(&key)?.map(<[u8]>::to_vec)))
    }

    fn set(&mut self, key: String, value: Option<Vec<u8>>) -> wasmtime::Result<Result<(), StateError>> {
        self.with_state(|state| state.set(key, value))
    }

    fn compare_and_swap(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    ) -> wasmtime::Result<Result<(), StateError>> {
        self.with_state(|state| state.compare_and_swap(key, expected.as_deref(), value))
    }
}

impl Guest {
    /// The host holds the view, so it counts against the call's memory: at its largest, since what the guest makes of it is
    /// the host's to hold until the call has ended.
    fn with_state<T>(
        &mut self,
        act: impl FnOnce(&mut StateView) -> Result<T, StateRefusal>,
    ) -> wasmtime::Result<Result<T, StateError>> {
        self.entered()?;
        let environment = Arc::clone(&self.environment);
        let Some(state) = environment.state() else {
            return Ok(Err(StateError::NotGranted));
        };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.bytes();
        let answer = act(&mut state);
        let held = state.bytes().max(before);
        if held > self.state_bytes {
            self.memory.take(held - self.state_bytes)?;
            self.state_bytes = held;
        }
        Ok(answer.map_err(to_guest))
    }
}

fn to_guest(refusal: StateRefusal) -> StateError {
    match refusal {
        StateRefusal::KeySize => StateError::KeySize,
        StateRefusal::ValueTooLarge(bytes_max) => StateError::ValueTooLarge(bytes_max),
        StateRefusal::Full(bytes_max) => StateError::Full(bytes_max),
        StateRefusal::Conflict(found) => StateError::Conflict(found),
    }
}
