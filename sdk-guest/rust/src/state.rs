//! A small key-value store of the connection's own. What a call sets becomes durable together with the call's outcome; a
//! call that fails leaves nothing behind. Ask for it with [`crate::Descriptor::wants_state`].

pub use crate::bindings::imports::cofferdam::connector::state::StateError;

use crate::host;

/// The value, or none if the key was never set.
///
/// # Errors
/// No grant, or a key that is not 1 to 256 bytes.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, StateError> {
    host::state_get(key)
}

/// Sets the value.
///
/// # Errors
/// No grant, a key or value out of bounds, or a state that would grow over its bound.
pub fn set(key: &str, value: &[u8]) -> Result<(), StateError> {
    host::state_set(key, Some(value))
}

/// Removes the value, if there is one.
///
/// # Errors
/// No grant, or a key that is not 1 to 256 bytes.
pub fn remove(key: &str) -> Result<(), StateError> {
    host::state_set(key, None)
}

/// Sets the value only if the present one is `expected`; none stands for no value, on both sides.
///
/// # Errors
/// [`StateError::Conflict`] with what was found instead; otherwise as [`set`].
pub fn compare_and_swap(key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), StateError> {
    host::state_compare_and_swap(key, expected, value)
}
