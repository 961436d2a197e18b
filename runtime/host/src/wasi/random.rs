//! `wasi:random`: the operating system's randomness, for all three interfaces. While a connector describes itself the
//! numbers are the same every time.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use super::{Entered, Misused, Ours, entered};
use crate::environment::Ambience;
use crate::imports::Guest;

/// Most random bytes of one request for them; what `crypto.getRandomValues` of browsers gives at most too.
const RANDOM_BYTES_MAX: usize = 64 * 1024;

/// Where random numbers come from.
pub(super) enum Randomness {
    Real,
    Repeating(Box<StdRng>),
}

impl Randomness {
    pub(super) fn new(ambience: Ambience) -> Self {
        match ambience {
            Ambience::Real => Self::Real,
            Ambience::Frozen => Self::Repeating(Box::new(StdRng::seed_from_u64(0))),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        match self {
            Self::Real => rand::rng().fill_bytes(bytes),
            Self::Repeating(rng) => rng.fill_bytes(bytes),
        }
    }

    fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        let count = usize::try_from(count).ok().filter(|count| *count <= RANDOM_BYTES_MAX);
        let Some(count) = count else {
            return Err(Misused(format!("asked for more than {RANDOM_BYTES_MAX} random bytes at once")).into());
        };
        let mut bytes = vec![0; count];
        self.fill(&mut bytes);
        Ok(bytes)
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    random::add_to_linker::<_, Ours>(linker, entered)?;
    insecure::add_to_linker::<_, Ours>(linker, entered)?;
    insecure_seed::add_to_linker::<_, Ours>(linker, entered)
}

impl random::Host for Entered<'_> {
    fn get_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.wasi()?.randomness.bytes(count)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.wasi()?.randomness.number())
    }
}

impl insecure::Host for Entered<'_> {
    fn get_insecure_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.wasi()?.randomness.bytes(count)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.wasi()?.randomness.number())
    }
}

impl insecure_seed::Host for Entered<'_> {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        let wasi = self.wasi()?;
        Ok((wasi.randomness.number(), wasi.randomness.number()))
    }
}
