//! The connection's settings.

use serde::de::DeserializeOwned;

use crate::{Failure, host};

/// The settings as `T`; an absent settings object is `{}`. They hold no secret.
///
/// # Errors
/// `configuration`, with the place at which the settings are no such `T`.
pub fn get<T: DeserializeOwned>() -> Result<T, Failure> {
    serde_json::from_str(&host::settings())
        .map_err(|error| Failure::configuration(format!("the connection's settings cannot be read: {error}")))
}
