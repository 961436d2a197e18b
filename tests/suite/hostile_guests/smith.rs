//! WebAssembly at random, from a seed: components, which are no connectors but by a miracle, and connectors whose `deliver` is a
//! random function. `tests/smith` makes them. Whatever they do, each call ends, the neighbour is served meanwhile, and the server's
//! memory comes back to what it was when they were loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use cofferdam_domain::limits::one_line;
use cofferdam_tests::artifacts::{built, target_dir};
use cofferdam_tests::frame;

use super::bed::Bed;
use super::cases::Case;
use super::files::ALONE;
use super::memory::{Baseline, mib};
use super::round;
use crate::table::Table;
use crate::tally::Tally;

/// What stands in the frame where a random module comes to stand.
const PLACEHOLDER: &str = r#"(func (export "deliver") (param i32) (result i32) (unreachable))"#;

/// The same for a module that brings its own memory, as those of even seeds do.
const PLACEHOLDER_WITH_MEMORY: &str = r#"
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (unreachable))
    (func (export "deliver") (param i32) (result i32) (unreachable))"#;

/// Sections of a component that hold a core module and a component, and the length of what stands before the first section
/// (<https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md>).
const CORE_MODULE: u8 = 1;
pub(crate) const COMPONENT: u8 = 4;
const PREAMBLE_BYTES: usize = 8;

/// Calls of each connector that loads.
const CALLS: usize = 4;

/// Everything of these seeds: first in the plugins folder of one server, then what of it is a connector is called.
pub(crate) async fn run(seeds: Range<u64>) -> anyhow::Result<(Tally, Vec<String>)> {
    let dir = tempfile::tempdir()?;
    let file = |kind: &str, seed: u64| dir.path().join(format!("{kind}-{seed}.wasm"));
    make(seeds.clone(), dir.path())?;
    let bed = Bed::start(&[]).await?;
    let plugins = bed.server().setup().plugins();
    let quiet = bed.neighbour.mark();
    bed.neighbour.pass(ALONE).await;
    let began = Instant::now();
    let from = bed.neighbour.mark();
    let mut cases = Vec::new();
    let mut names = BTreeSet::new();
    for seed in seeds {
        let name = format!("smith-{seed}");
        let case = Case::unknown(&name, connector(&name, seed, &file("module", seed))?);
        case.place(&plugins)?;
        names.insert(case.file());
        cases.push(case);
        let name = format!("component-{seed}.wasm");
        fs::copy(file("component", seed), plugins.join(&name))?;
        names.insert(name);
    }
    let found = bed.looked_at(&names).await?;
    let looked_at = began.elapsed();
    // What is loaded stays.
    let loaded = Baseline::of_run(bed.server());
    let (mut tally, mut failures) = (Tally::default(), Vec::new());
    let mut came_to = BTreeMap::<String, usize>::new();
    for name in &names {
        let reason = found.get(name).and_then(Option::as_deref);
        tally.count(reason != Some(""));
        if reason == Some("") {
            failures.push(format!("{name} is refused without a reason"));
        }
        let kind = reason.map_or_else(|| "is in use".to_owned(), kind_of);
        *came_to.entry(kind).or_default() += 1;
    }
    cases.retain(|case| found.get(&case.file()).is_some_and(Option::is_none));

    for case in &cases {
        bed.connect(case).await;
        bed.send(case, CALLS).await;
    }
    for case in &cases {
        bed.ended(case).await;
        let (dead, delivered) = bed.counted(case).await;
        let ended = dead + delivered == CALLS as u64;
        tally.count(ended);
        if !ended {
            failures.push(format!(
                "{}: {CALLS} calls, of which {dead} failed and {delivered} went well",
                case.name
            ));
        }
        let failures = bed.failures(case, CALLS).await;
        *came_to.entry(round::came_to(&failures, delivered)).or_default() += 1;
    }
    let alone = bed.neighbour.heard(quiet..from).await;
    let heard = bed.neighbour.heard(from..bed.neighbour.mark()).await;
    let (bytes, not_back) = loaded.back(bed.server()).await;
    let mut faults = bed.faults().await;
    faults.extend(heard.disturbed(&alone));
    faults.extend(not_back);
    faults.extend(alone.faults.iter().chain(&heard.faults).cloned());
    tally.count(faults.is_empty());
    failures.extend(faults);
    let mut table = Table::new(&["WebAssembly at random", "how many"]);
    for (what, times) in came_to {
        table.row(vec![what, times.to_string()]);
    }
    table.print();
    println!(
        "{} files looked at in {:.1} s; beside {} of them the neighbour's p99 is {:.1} ms, {:.1} ms alone; {} MiB resident, {} before",
        names.len(),
        looked_at.as_secs_f64(),
        cases.len(),
        heard.p99_ms(),
        alone.p99_ms(),
        mib(bytes),
        mib(loaded.bytes())
    );
    bed.stop().await?;
    Ok((tally, failures))
}

/// What of a reason is the same for many: without the place, and without the compiler's own prefix.
fn kind_of(reason: &str) -> String {
    let kind = reason.split([';', '(']).next().unwrap_or_default();
    let kind = kind.replace(": failed to parse WebAssembly module", "");
    one_line(&kind, KIND_BYTES)
}

/// Longest kind of a reason in the table.
const KIND_BYTES: usize = 100;

/// Writes `component-SEED.wasm` and `module-SEED.wasm` for so many seeds.
fn make(seeds: Range<u64>, dir: &Path) -> anyhow::Result<()> {
    let program = built(target_dir().join("smith/debug/cofferdam-smith"));
    let ended = Command::new(program)
        .args([seeds.start.to_string(), (seeds.end - seeds.start).to_string()])
        .arg(dir)
        .status()
        .context("the smith cannot be started")?;
    if !ended.success() {
        bail!("the smith ended with {ended}");
    }
    Ok(())
}

/// A connector of this name whose `deliver` is that of the module.
fn connector(name: &str, seed: u64, module: &Path) -> anyhow::Result<Vec<u8>> {
    let module = fs::read(module).with_context(|| format!("{} cannot be read", module.display()))?;
    let placeholder = if seed.is_multiple_of(2) {
        PLACEHOLDER_WITH_MEMORY
    } else {
        PLACEHOLDER
    };
    let frame = frame::assembled(&frame::text(name, placeholder))?;
    let body = frame::assembled(&format!("(module $body {placeholder})"))?;
    let connector = instead(&frame, &body, &module)?;
    anyhow::ensure!(connector != frame, "the frame has no place for a module");
    Ok(connector)
}

/// Puts one module in the place of another, however deep that lies. The lengths around it change with it.
fn instead(component: &[u8], there: &[u8], module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (preamble, mut rest) = component
        .split_at_checked(PREAMBLE_BYTES)
        .context("a component has a preamble")?;
    let mut out = preamble.to_vec();
    while let Some((&id, behind)) = rest.split_first() {
        let (bytes, behind) = length(behind)?;
        let (content, behind) = behind.split_at_checked(bytes).context("a section has all its bytes")?;
        rest = behind;
        let content = match id {
            CORE_MODULE if content == there => module.to_vec(),
            COMPONENT => instead(content, there, module)?,
            _ => content.to_vec(),
        };
        out.push(id);
        put_length(&mut out, content.len());
        out.extend(content);
    }
    Ok(out)
}

/// Reads a number (LEB128); what is behind it.
fn length(bytes: &[u8]) -> anyhow::Result<(usize, &[u8])> {
    let mut value = 0_usize;
    for (nth, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * nth);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[nth + 1..]));
        }
    }
    bail!("a section has a length")
}

/// Writes a number (LEB128).
pub(crate) fn put_length(out: &mut Vec<u8>, mut left: usize) {
    while left >= 0x80 {
        out.push(u8::try_from(left & 0x7f).expect("seven bits") | 0x80);
        left >>= 7;
    }
    out.push(u8::try_from(left).expect("seven bits"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_put_in_the_place_of_another_and_nothing_else_changes() {
        let placed = |constant: &str| PLACEHOLDER.replace("(unreachable)", constant);
        let of = |constant: &str| frame::text("smith", &placed(constant));
        let body = |constant: &str| format!("(module $body {})", placed(constant));
        let bytes = |text: String| frame::assembled(&text).unwrap();
        for constant in ["(i32.const 1)", "(i32.add (i32.const 1000000) (local.get 0))"] {
            let replaced = instead(
                &bytes(of("(unreachable)")),
                &bytes(body("(unreachable)")),
                &bytes(body(constant)),
            );
            assert_eq!(replaced.unwrap(), bytes(of(constant)));
        }
    }
}
