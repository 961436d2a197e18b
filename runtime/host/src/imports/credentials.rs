//! `credentials`: that one is there, never what it is.

use crate::bindings::credentials::Host;
use crate::imports::Guest;

impl Host for Guest {
    fn exists(&mut self, upstream: String) -> wasmtime::Result<bool> {
        self.entered()?;
        Ok(self.environment.credential_exists(&upstream))
    }
}
