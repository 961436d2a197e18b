//! The way to the host: the imports in a component, [`crate::testing`] elsewhere.

#[cfg(target_family = "wasm")]
mod imports {
    use crate::bindings::imports::cofferdam::connector as host;
    use crate::{HttpError, Request, Response, log::Level, state::StateError};

    pub(crate) fn send(request: &Request) -> Result<Response, HttpError> {
        host::http::send(request)
    }

    pub(crate) fn settings() -> String {
        host::settings::get()
    }

    pub(crate) fn credential_exists(upstream: &str) -> bool {
        host::credentials::exists(upstream)
    }

    pub(crate) fn state_get(key: &str) -> Result<Option<Vec<u8>>, StateError> {
        host::state::get(key)
    }

    pub(crate) fn state_set(key: &str, value: Option<&[u8]>) -> Result<(), StateError> {
        host::state::set(key, value)
    }

    pub(crate) fn state_compare_and_swap(
        key: &str,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), StateError> {
        host::state::compare_and_swap(key, expected, value)
    }

    pub(crate) fn log(level: Level, message: &str, fields: &[(String, String)]) {
        host::log::emit(level, message, fields);
    }
}

#[cfg(target_family = "wasm")]
pub(crate) use imports::*;

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::imports::*;
