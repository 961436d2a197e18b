//! `state`: in the contract, not granted to any connection yet. The answer is a value the connector can act on.

use crate::bindings::state::{Host, StateError};
use crate::imports::Guest;

impl Host for Guest {
    fn get(&mut self, _key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, StateError>> {
        Ok(Err(StateError::NotGranted))
    }

    fn set(&mut self, _key: String, _value: Option<Vec<u8>>) -> wasmtime::Result<Result<(), StateError>> {
        Ok(Err(StateError::NotGranted))
    }

    fn compare_and_swap(
        &mut self,
        _key: String,
        _expected: Option<Vec<u8>>,
        _value: Option<Vec<u8>>,
    ) -> wasmtime::Result<Result<(), StateError>> {
        Ok(Err(StateError::NotGranted))
    }
}
