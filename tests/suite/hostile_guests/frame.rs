//! Connectors around core modules that are written by hand: what no compiler would make. The contract's types are in
//! `tests/guests/wat/frame.wat`, once; here it is filled in.
//!
//! A body exports `deliver` or `receive`, which return an address, and may export a `memory`, a `realloc` and a `cleanup` of its
//! own. It imports `"libc" "memory"` and, of [`HOST`], what it names.

use std::fmt::Write;

use anyhow::Context;

const FRAME: &str = include_str!("../../guests/wat/frame.wat");
const LIBC: &str = include_str!("../../guests/wat/libc.wat");
const SINK: &str = include_str!("../../guests/wat/sink.wat");
const SOURCE: &str = include_str!("../../guests/wat/source.wat");

/// A function that a body may import as `"host" "NAME"`.
struct HostFunction {
    name: &'static str,
    /// The component's import that it comes from and that instance's type; none for what the component makes itself.
    import: Option<(&'static str, &'static str)>,
    /// The core function.
    core: &'static str,
}

/// What there is to import.
const HOST: [HostFunction; 4] = [
    HostFunction {
        name: "exists",
        import: Some((
            "cofferdam:connector/credentials@0.1.0",
            r#"(export "exists" (func (param "upstream" string) (result bool)))"#,
        )),
        core: r#"canon lower (func $exists "exists") (memory $libc "memory")"#,
    },
    HostFunction {
        name: "now",
        import: Some((
            "wasi:clocks/monotonic-clock@0.2.0",
            r#"(export "now" (func (result u64)))"#,
        )),
        core: r#"canon lower (func $now "now")"#,
    },
    HostFunction {
        name: "new-handle",
        import: None,
        core: "canon resource.new $handle",
    },
    HostFunction {
        name: "drop-handle",
        import: None,
        core: "canon resource.drop $handle",
    },
];

/// Where the descriptor lies in its module's memory, and the strings behind it.
const DESCRIPTOR_AT: u32 = 1024;
const DESCRIPTOR_BYTES: usize = 72;

/// A connector of this name around this body, in WebAssembly text.
pub(crate) fn text(name: &str, body: &str) -> String {
    text_describing(&describer(name), body)
}

/// The same with a `describe` of its own: a core module's fields that export it and `memory`.
pub(crate) fn text_describing(describer: &str, body: &str) -> String {
    let has = |export: &str| body.contains(&format!("(export \"{export}\")"));
    let (mut imports, mut passed, mut lowered, mut host) = Default::default();
    for function in HOST {
        add(&function, body, [&mut imports, &mut passed, &mut lowered, &mut host]);
    }
    let owner = |export: &str| if has(export) { "$body" } else { "$libc" };
    // Comments first: they name what stands for something.
    let frame: Vec<_> = FRAME
        .lines()
        .filter(|line| !line.trim_start().starts_with(";;"))
        .collect();
    let (interface, export) = if receives(body) {
        (SOURCE, "source")
    } else {
        (SINK, "sink")
    };
    let parts = [
        ("{interface}", interface),
        ("{export}", export),
        ("{imports}", imports.as_str()),
        ("{passed}", &passed),
        ("{lowered}", &lowered),
        ("{host}", &host),
        ("{describer}", describer),
        // A connector may have two memories, and one is the describer's.
        ("{libc}", if has("memory") { "" } else { LIBC }),
        ("{memory}", &format!("(memory {} \"memory\")", owner("memory"))),
        (
            "{realloc}",
            &format!("(realloc (func {} \"realloc\"))", owner("realloc")),
        ),
        (
            "{post-return}",
            if has("cleanup") {
                "(post-return (func $body \"cleanup\"))"
            } else {
                ""
            },
        ),
        ("{body}", body),
    ];
    let frame = frame.join("\n");
    parts
        .iter()
        .fold(frame, |text, (place, part)| text.replace(place, part))
}

/// Whether a body is that of a source.
pub(crate) fn receives(body: &str) -> bool {
    body.contains("(export \"receive\")")
}

/// A text as bytes.
pub(crate) fn assembled(text: &str) -> anyhow::Result<Vec<u8>> {
    wat::parse_str(text).context("a component's text is not well-formed")
}

fn add(function: &HostFunction, body: &str, [imports, passed, lowered, host]: [&mut String; 4]) {
    let HostFunction { name, import, core } = function;
    if !body.contains(&format!("\"host\" \"{name}\"")) {
        return;
    }
    let put = |into: &mut String, text: std::fmt::Arguments<'_>| into.write_fmt(text).expect("a string takes it");
    if let Some((interface, exports)) = import {
        put(
            imports,
            format_args!("(import \"{interface}\" (instance ${name} {exports}))\n"),
        );
        put(passed, format_args!("(with \"{interface}\" (instance ${name})) "));
    }
    put(lowered, format_args!("(core func $core-{name} ({core}))\n"));
    put(host, format_args!("(export \"{name}\" (func $core-{name})) "));
}

/// A `describe` that says this name and asks for nothing.
fn describer(name: &str) -> String {
    let mut area = [0_u8; DESCRIPTOR_BYTES];
    let mut strings = Vec::new();
    for (field, text) in [name, "1.0.0", "Does harm.", r#"{"type":"object"}"#].iter().enumerate() {
        let at = DESCRIPTOR_AT as usize + DESCRIPTOR_BYTES + strings.len();
        put_u32(&mut area, field * 8, at);
        put_u32(&mut area, field * 8 + 4, text.len());
        strings.extend_from_slice(text.as_bytes());
    }
    format!(
        "(memory (export \"memory\") 1)\n(func (export \"describe\") (result i32) (i32.const {DESCRIPTOR_AT}))\n\
         (data (i32.const {DESCRIPTOR_AT}) \"{}\")",
        escaped(&[&area[..], &strings].concat())
    )
}

/// Little-endian, as memory is.
pub(crate) fn put_u32(area: &mut [u8], at: usize, value: usize) {
    let value = u32::try_from(value).expect("a guest's memory has 32-bit addresses");
    area[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Bytes as a string of the text format.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let escape = |text: String, byte: &u8| text + &format!("\\{byte:02x}");
    bytes.iter().fold(String::new(), escape)
}
