//! `settings`: the connection's JSON.

use crate::bindings::settings::Host;
use crate::imports::Guest;

impl Host for Guest {
    fn get(&mut self) -> wasmtime::Result<String> {
        self.entered()?;
        Ok(self.environment.settings().to_owned())
    }
}
