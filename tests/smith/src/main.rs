//! WebAssembly at random: `cofferdam-smith FIRST COUNT DIR` writes, for each of COUNT seeds from FIRST on, `component-SEED.wasm`,
//! any component, and `module-SEED.wasm`, a core module that imports nothing and exports `deliver`, with an even seed also its
//! `memory` and a `realloc`. The same seed makes the same bytes. Both are valid; what they do is anybody's guess.

use std::path::Path;
use std::process::ExitCode;

use arbitrary::Unstructured;
use wasm_smith::{Component, Config, Module};

/// What one component and one module are made of, in bytes.
const DNA_BYTES: usize = 4096;

/// What a module must export.
const SHAPE: &str = r#"(module (func (export "deliver") (param i32) (result i32) unreachable))"#;

/// The same for one that brings its own memory.
const SHAPE_WITH_MEMORY: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
  (func (export "deliver") (param i32) (result i32) unreachable))"#;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [first, count, dir] = arguments.as_slice() else {
        eprintln!("error: three arguments are needed: FIRST COUNT DIR");
        return ExitCode::FAILURE;
    };
    let (Ok(first), Ok(count)) = (first.parse::<u64>(), count.parse::<u64>()) else {
        eprintln!("error: FIRST and COUNT are numbers");
        return ExitCode::FAILURE;
    };
    for seed in first..first.saturating_add(count) {
        if let Err(error) = write(seed, Path::new(dir)) {
            eprintln!("error: seed {seed}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn write(seed: u64, dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let dna = dna(seed);
    let component = Component::new(plain(), &mut Unstructured::new(&dna))?;
    std::fs::write(dir.join(format!("component-{seed}.wasm")), component.to_bytes())?;
    let has_memory = seed.is_multiple_of(2);
    let shape = if has_memory { SHAPE_WITH_MEMORY } else { SHAPE };
    let config = Config {
        exports: Some(wat::parse_str(shape)?),
        max_imports: 0,
        // Most of what is only arbitrary traps in its first steps.
        max_instructions: 400,
        // What a connector may have, so that most of them come to be called.
        max_memories: usize::from(has_memory),
        max_table_elements: 10_000,
        ..plain()
    };
    let mut module = Module::new(config, &mut Unstructured::new(&dna))?;
    // Of every four two, so that what never ends is there as well as what does.
    if seed % 4 < 2 {
        module.ensure_termination(100_000)?;
    }
    std::fs::write(dir.join(format!("module-{seed}.wasm")), module.to_bytes())?;
    Ok(())
}

/// WebAssembly as connectors may be made of.
fn plain() -> Config {
    Config {
        threads_enabled: false,
        shared_everything_threads_enabled: false,
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        reference_types_enabled: false,
        ..Config::default()
    }
}

/// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>).
fn dna(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    (0..DNA_BYTES / 8).flat_map(|_| next().to_le_bytes()).collect()
}
