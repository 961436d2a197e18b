//! The only code that knows wasmtime.
