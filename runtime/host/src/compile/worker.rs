//! The child's side: one component from standard input, its machine code to standard output, and an exit code.
//!
//! The limits are set by whoever calls this, on its own process and before: see the command's `compile-component`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};

use super::{COMPONENT_BYTES_MAX, sentence};
use crate::engine;

/// Exit codes; whatever else the process ends with, it broke down.
pub(super) const COMPILED: i32 = 0;
pub(super) const REFUSED: i32 = 65;
pub(super) const OTHER_ENGINE: i32 = 66;
pub(super) const NOT_READ: i32 = 67;

/// What machine code depends on. The engine that runs it and the one that made it must agree.
pub(crate) fn engine_hash(engine: &wasmtime::Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// Compiles the component on standard input for the engine with this hash, and answers with the process's exit code. What the
/// compiler says against the component goes to standard error.
pub fn compile_component(expected_engine: u64) -> i32 {
    let Ok(engine) = engine::for_compiling() else {
        return OTHER_ENGINE;
    };
    if engine_hash(&engine) != expected_engine {
        return OTHER_ENGINE;
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(COMPONENT_BYTES_MAX).read_to_end(&mut bytes);
    if read.is_err() {
        return NOT_READ;
    }
    let native = match engine.precompile_component(&bytes) {
        Ok(native) => native,
        Err(error) => {
            // Without the sentence the refusal still stands.
            _ = io::stderr().lock().write_all(sentence(&error).as_bytes());
            return REFUSED;
        }
    };
    let mut out = io::stdout().lock();
    match out.write_all(&native).and_then(|()| out.flush()) {
        Ok(()) => COMPILED,
        Err(_) => NOT_READ,
    }
}
