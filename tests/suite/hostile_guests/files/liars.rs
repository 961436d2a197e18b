//! Components that look like connectors and are none: their exports have another type, or describing them goes wrong.

use cofferdam_tests::frame::{assembled, escaped, put_u32, text, text_describing};

use super::{BadFile, HARMLESS};

/// Where a hostile descriptor lies, and its size: see `frame.rs`.
const AREA_BYTES: usize = 72;

pub(super) fn files() -> anyhow::Result<Vec<BadFile>> {
    let mut files = Vec::new();
    for (name, there, instead, says) in [
        (
            "another-type",
            "(field \"number\" u32)",
            "(field \"number\" u64)",
            &["failed to convert function to given type"][..],
        ),
        (
            "another-field",
            "(field \"number\" u32)",
            "(field \"count\" u32)",
            &["failed to convert function to given type"],
        ),
        (
            "another-kind",
            "\"configuration\" \"gone\"",
            "\"gone\" \"configuration\"",
            &["failed to convert function to given type"],
        ),
        (
            "no-deliver",
            "(export \"deliver\" (func $deliver))",
            "",
            &["an export has the wrong type"],
        ),
        (
            "no-describe",
            "(export \"describe\" (func $describe))",
            "",
            &["describe"],
        ),
        (
            "other-version",
            "connector/sink@0.1.0",
            "connector/sink@0.2.0",
            &["an export has the wrong type"],
        ),
        (
            "other-package",
            "cofferdam:connector/sink@",
            "confferdam:connector/sink@",
            &["exports none of"],
        ),
        (
            "no-sink",
            "(export \"cofferdam:connector/sink@0.1.0\" (instance $behaves))",
            "",
            &["exports none of"],
        ),
        (
            "nothing-to-describe",
            "(export \"cofferdam:connector/describe@0.1.0\" (instance $describes))",
            "",
            &["does not export cofferdam:connector/describe"],
        ),
    ] {
        let honest = text(name, HARMLESS);
        anyhow::ensure!(honest.contains(there), "{there:?} is not in the frame");
        files.push(BadFile::refused(
            format!("liar-{name}"),
            assembled(&honest.replace(there, instead))?,
            says,
        ));
    }
    for (name, describer, says) in [
        (
            "describes-for-ever",
            describing("(loop $on (br $on)) (unreachable)"),
            &["failed (cpu)"][..],
        ),
        ("describes-by-a-trap", describing("(unreachable)"), &["failed (trap)"]),
        (
            "describes-from-outside",
            describing("(i32.const 0xfffffff8)"),
            &["failed (bad-return)"],
        ),
        (
            "describes-crookedly",
            describing("(i32.const 1)"),
            &["failed (bad-return)"],
        ),
        ("describes-nothing", describing("(i32.const 1024)"), &["name"]),
        (
            "describes-by-growing",
            describing("(loop $on (br_if $on (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) (unreachable)"),
            &["failed (memory)"],
        ),
        (
            "describes-by-recursion",
            describing("(i32.add (call $describe) (i32.const 1))"),
            &["failed (stack)"],
        ),
        ("start-loops", started("(loop $on (br $on))"), &["failed (cpu)"]),
        ("start-traps", started("(unreachable)"), &["failed (trap)"]),
        ("start-recurses", started("(call $start)"), &["failed (stack)"]),
        ("many-upstreams", listing(32, 0x1000_0000), &["failed (bad-return)"]),
        ("many-types", listing(44, 0x7fff_ffff), &["failed (bad-return)"]),
        (
            "hundreds-of-upstreams",
            listing(32, 700),
            &["upstreams has 700 entries; 16 are allowed"],
        ),
        (
            "thousands-of-types",
            listing(44, 7000),
            &["consumes has 7000 entries; 64 are allowed"],
        ),
        ("much-of-a-type", overlapping(), &["failed (host-call-bytes)"]),
    ] {
        let bytes = assembled(&text_describing(&describer, HARMLESS))?;
        files.push(BadFile::refused(format!("liar-{name}"), bytes, says));
    }
    for (name, descriptor, says) in [
        ("name-of-two-lines", ["a\nb", "1.0.0", "s", "{}"], &["name"][..]),
        ("name-of-a-path", ["../../etc", "1.0.0", "s", "{}"], &["name"]),
        ("no-name", ["", "1.0.0", "s", "{}"], &["name"]),
        ("no-version", ["a", "latest", "s", "{}"], &["version"]),
        (
            "deep-schema",
            ["a", "1.0.0", "s", &"[".repeat(60_000)],
            &["settings-schema"],
        ),
        (
            "large-schema",
            ["a", "1.0.0", "s", &" ".repeat(70_000)],
            &["settings-schema is larger"],
        ),
        ("long-summary", ["a", "1.0.0", &"s".repeat(60_000), "{}"], &["summary"]),
    ] {
        let bytes = assembled(&text_describing(&saying(descriptor), HARMLESS))?;
        files.push(BadFile::refused(format!("liar-{name}"), bytes, says));
    }
    Ok(files)
}

/// A `describe` of this body, over an empty area at 1024.
fn describing(body: &str) -> String {
    format!("(memory (export \"memory\") 1)\n(func $describe (export \"describe\") (result i32) {body})")
}

/// A start function of this body.
fn started(body: &str) -> String {
    format!(
        "{}\n(func $start {body})\n(start $start)",
        describing("(i32.const 1024)")
    )
}

/// Where in memory nothing is.
const EMPTY_AT: usize = 8192;

/// A descriptor whose list at this place has so many elements, which are empty as far as memory goes.
fn listing(at: usize, elements: usize) -> String {
    let mut area = [0; AREA_BYTES];
    put_u32(&mut area, at, EMPTY_AT);
    put_u32(&mut area, at + 4, elements);
    described(&area)
}

/// A list of a million strings that are all the same 64 KiB.
fn overlapping() -> String {
    let mut area = [0; AREA_BYTES];
    put_u32(&mut area, 44, 0x1_0000);
    put_u32(&mut area, 48, 1_000_000);
    // Each string's length lies behind its address, which is 0.
    let fill = "(local $at i32) (drop (memory.grow (i32.const 130))) (local.set $at (i32.const 65540)) (loop $on \
                (i32.store (local.get $at) (i32.const 65536)) (local.set $at (i32.add (local.get $at) (i32.const 8))) \
                (br_if $on (i32.lt_u (local.get $at) (i32.const 8065540)))) (i32.const 1024)";
    format!("{}\n{}", describing(fill), data(1024, &area))
}

/// A descriptor of these four strings and nothing else.
fn saying(strings: [&str; 4]) -> String {
    let mut area = [0; AREA_BYTES];
    let mut behind = Vec::new();
    for (field, text) in strings.iter().enumerate() {
        put_u32(&mut area, field * 8, 2048 + behind.len());
        put_u32(&mut area, field * 8 + 4, text.len());
        behind.extend_from_slice(text.as_bytes());
    }
    let memory = describing("(i32.const 1024)").replace("\"memory\") 1)", "\"memory\") 3)");
    format!("{memory}\n{}\n{}", data(1024, &area), data(2048, &behind))
}

fn described(area: &[u8]) -> String {
    format!("{}\n{}", describing("(i32.const 1024)"), data(1024, area))
}

fn data(at: usize, bytes: &[u8]) -> String {
    format!("(data (i32.const {at}) \"{}\")", escaped(bytes))
}
