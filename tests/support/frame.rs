//! Connectors around core modules that are written by hand: what no compiler would make. The contract's types are in
//! `tests/guests/wat/frame.wat`, once; here it is filled in.
//!
//! A body exports `deliver` or `receive`, which return an address, and may export a `memory`, a `realloc` and a `cleanup` of its
//! own. It imports `"libc" "memory"` and, as `"host" "NAME"`, what it calls of the functions that are listed here.

use std::fmt::Write;

use anyhow::Context;

const FRAME: &str = include_str!("../guests/wat/frame.wat");
const LIBC: &str = include_str!("../guests/wat/libc.wat");
const KEEPER: &str = include_str!("../guests/wat/keeper.wat");
const SINK: &str = include_str!("../guests/wat/sink.wat");
const SOURCE: &str = include_str!("../guests/wat/source.wat");

/// What gives a body functions that it may import as `"host" "NAME"`, as text of the parts of the frame.
struct Giver {
    /// What the component imports for it, and hands on to the part that behaves, which imports the same.
    imports: &'static str,
    /// What the component has beside that part for it.
    beside: &'static str,
    /// What of that the part that behaves imports.
    further_imports: &'static str,
    /// Both imports, as they are handed on.
    passed: &'static str,
    /// Functions by name, and the core function that each is.
    functions: &'static [(&'static str, &'static str)],
}

/// Who gives nothing: what they say is changed from here.
const NOBODY: Giver = Giver {
    imports: "",
    beside: "",
    further_imports: "",
    passed: "",
    functions: &[],
};

/// All there are.
const GIVERS: [Giver; 4] = [
    Giver {
        imports: r#"(import "cofferdam:connector/credentials@0.1.0" (instance $credentials
  (export "exists" (func (param "upstream" string) (result bool)))))"#,
        passed: r#"(with "cofferdam:connector/credentials@0.1.0" (instance $credentials))"#,
        functions: &[(
            "exists",
            r#"canon lower (func $credentials "exists") (memory $libc "memory")"#,
        )],
        ..NOBODY
    },
    Giver {
        imports: r#"(import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
  (export "now" (func (result u64)))))"#,
        passed: r#"(with "wasi:clocks/monotonic-clock@0.2.0" (instance $clock))"#,
        functions: &[("now", r#"canon lower (func $clock "now")"#)],
        ..NOBODY
    },
    // The component's own.
    Giver {
        functions: &[
            ("new-handle", "canon resource.new $handle"),
            ("drop-handle", "canon resource.drop $handle"),
        ],
        ..NOBODY
    },
    // Resources of the host, and somebody to lend them to.
    Giver {
        imports: r#"(import "wasi:http/types@0.2.0" (instance $http
  (export "fields" (type $fields-of (sub resource)))
  (export "[constructor]fields" (func (result (own $fields-of))))
  (export "outgoing-request" (type $request-of (sub resource)))
  (export "[constructor]outgoing-request" (func (param "headers" (own $fields-of)) (result (own $request-of))))))
(alias export $http "fields" (type $fields))"#,
        beside: KEEPER,
        further_imports: r#"(import "keep" (func $keep (param "fields" (borrow $fields))))"#,
        passed: r#"(with "wasi:http/types@0.2.0" (instance $http)) (with "keep" (func $keeper "keep"))"#,
        functions: &[
            ("new-fields", r#"canon lower (func $http "[constructor]fields")"#),
            (
                "new-request",
                r#"canon lower (func $http "[constructor]outgoing-request")"#,
            ),
            ("keep", "canon lower (func $keep)"),
        ],
    },
];

/// Where the descriptor lies in its module's memory, and the strings behind it.
const DESCRIPTOR_AT: u32 = 1024;
const DESCRIPTOR_BYTES: usize = 72;

/// A connector of this name around this body, in WebAssembly text.
pub fn text(name: &str, body: &str) -> String {
    text_describing(&describer(name), body)
}

/// The same with a `describe` of its own: a core module's fields that export it and `memory`.
pub fn text_describing(describer: &str, body: &str) -> String {
    let has = |export: &str| body.contains(&format!("(export \"{export}\")"));
    let given = Given::to(body);
    let owner = |export: &str| if has(export) { "$body" } else { "$libc" };
    let (interface, export) = if receives(body) {
        (SOURCE, "source")
    } else {
        (SINK, "sink")
    };
    let parts = [
        ("{interface}", interface),
        ("{export}", export),
        ("{outside}", given.outside.as_str()),
        ("{imports}", &given.imports),
        ("{passed}", &given.passed),
        ("{lowered}", &given.lowered),
        ("{host}", &given.host),
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
    // Without comments: they name what stands for something.
    let frame: Vec<_> = FRAME
        .lines()
        .filter(|line| !line.trim_start().starts_with(";;"))
        .collect();
    parts
        .iter()
        .fold(frame.join("\n"), |text, (place, part)| text.replace(place, part))
}

/// Whether a body is that of a source.
pub fn receives(body: &str) -> bool {
    body.contains("(export \"receive\")")
}

/// A text as bytes.
pub fn assembled(text: &str) -> anyhow::Result<Vec<u8>> {
    wat::parse_str(text).context("a component's text is not well-formed")
}

/// What a body is given, as it stands in the frame.
#[derive(Default)]
struct Given {
    outside: String,
    imports: String,
    passed: String,
    lowered: String,
    host: String,
}

impl Given {
    /// What this body names.
    fn to(body: &str) -> Self {
        let mut given = Self::default();
        for giver in GIVERS {
            given.add(&giver, body);
        }
        given
    }

    fn add(&mut self, giver: &Giver, body: &str) {
        let is_named = |name: &str| body.contains(&format!("\"host\" \"{name}\""));
        let named = giver.functions.iter().filter(|(name, _)| is_named(name));
        let before = self.host.len();
        for (name, core) in named {
            put(&mut self.lowered, format_args!("(core func $core-{name} ({core}))\n"));
            put(&mut self.host, format_args!("(export \"{name}\" (func $core-{name})) "));
        }
        if self.host.len() == before {
            return;
        }
        let Giver {
            imports,
            beside,
            further_imports,
            passed,
            ..
        } = giver;
        put(&mut self.outside, format_args!("{imports}\n{beside}\n"));
        put(&mut self.imports, format_args!("{imports}\n{further_imports}\n"));
        put(&mut self.passed, format_args!("{passed} "));
    }
}

fn put(into: &mut String, text: std::fmt::Arguments<'_>) {
    into.write_fmt(text).expect("a string takes it");
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
pub fn put_u32(area: &mut [u8], at: usize, value: usize) {
    let value = u32::try_from(value).expect("a guest's memory has 32-bit addresses");
    area[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Bytes as a string of the text format.
pub fn escaped(bytes: &[u8]) -> String {
    let escape = |text: String, byte: &u8| text + &format!("\\{byte:02x}");
    bytes.iter().fold(String::new(), escape)
}
