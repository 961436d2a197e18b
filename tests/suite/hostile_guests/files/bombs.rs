//! Components that are small on the disk and large to whoever reads, compiles or instantiates them. Each is a connector but for
//! what is in it too often.

use cofferdam_tests::frame;

use super::super::smith::{COMPONENT, put_length};
use super::{BadFile, Expected, HARMLESS, Made};

/// What the compiler refuses, in its own words.
const INVALID: &[&str] = &["does not compile"];

/// What is refused when it is to be run.
const TOO_MANY: &[&str] = &["limit", "exceed"];

pub(super) fn files(may_take_long: bool) -> anyhow::Result<Vec<BadFile>> {
    let bomb = |name: &'static str, fields: String, expected| -> anyhow::Result<BadFile> {
        let text = frame::text(name, HARMLESS);
        let (open, _) = text.trim_end().rsplit_once(')').expect("a component ends");
        let bytes = frame::assembled(&format!("{open}\n{fields})"))?;
        Ok(BadFile::new(format!("bomb-{name}"), Made::Bytes(bytes), expected))
    };
    let (invalid, too_many) = (Expected::Refused(INVALID), Expected::Refused(TOO_MANY));
    let mut files = vec![
        bomb(
            "imports",
            times(10_000, |at| format!("(import \"import-{at}\" (func))")),
            Expected::Refused(&["imports something that connectors are not given"]),
        )?,
        bomb(
            "exports",
            times(10_000, |at| format!("(export \"export-{at}\" (instance $behaves))")),
            Expected::Either,
        )?,
        bomb(
            "instances",
            "(component $nothing)".to_owned() + &times(10_000, |_| "(instance (instantiate $nothing))".to_owned()),
            invalid,
        )?,
        bomb(
            "core-instances",
            CORE_MODULE.to_owned() + &times(900, |_| "(core instance (instantiate $one))".to_owned()),
            too_many,
        )?,
        bomb(
            "core-instances-65",
            CORE_MODULE.to_owned() + &times(65, |_| "(core instance (instantiate $one))".to_owned()),
            too_many,
        )?,
        bomb(
            "aliases",
            times(10_000, |_| "(alias export $behaves \"deliver\" (func))".to_owned()),
            Expected::Either,
        )?,
        bomb(
            "same-name-twice",
            "(export \"a\" (instance $behaves)) (export \"a\" (instance $behaves))".to_owned(),
            invalid,
        )?,
        bomb("types-doubled", doubled(64), invalid)?,
        bomb("types-nested", nested(2_000), invalid)?,
        bomb(
            "flags",
            format!("(type (flags {}))", times(10_000, |at| format!("\"f{at}\" "))),
            invalid,
        )?,
        bomb(
            "fields",
            format!(
                "(type (record {}))",
                times(10_000, |at| format!("(field \"f{at}\" u8) "))
            ),
            Expected::Either,
        )?,
        bomb(
            "cases",
            format!("(type (variant {}))", times(10_000, |at| format!("(case \"c{at}\") "))),
            Expected::Either,
        )?,
        bomb(
            "parameters",
            format!("(type (func {}))", times(10_001, |at| format!("(param \"p{at}\" u8) "))),
            invalid,
        )?,
    ];
    if may_take_long {
        let slow = Expected::Refused(&["takes more than"]);
        files.push(bomb("exponential-instances", exponential(24), slow)?);
    }
    let core = |name: &'static str, fields: String, expected| -> anyhow::Result<BadFile> {
        let bytes = frame::assembled(&frame::text(name, &format!("{HARMLESS}\n{fields}")))?;
        Ok(BadFile::new(format!("bomb-{name}"), Made::Bytes(bytes), expected))
    };
    files.extend([
        core("memory-of-4-gib", "(memory 65536)".to_owned(), too_many)?,
        core("two-more-memories", "(memory 1) (memory 1)".to_owned(), too_many)?,
        core("nine-tables", times(9, |_| "(table 1 funcref)".to_owned()), too_many)?,
        core("table-of-10-million", "(table 10000000 funcref)".to_owned(), too_many)?,
        core(
            "globals",
            times(1_000_001, |_| "(global i32 (i32.const 0))".to_owned()),
            invalid,
        )?,
        core(
            "locals",
            format!("(func (local {}))", times(50_001, |_| "i32 ".to_owned())),
            invalid,
        )?,
        core("functions", times(20_000, |_| "(func)".to_owned()), Expected::Either)?,
        core(
            "data-outside",
            "(data (i32.const 0x7fffffff) \"x\")".to_owned(),
            Expected::Refused(&["failed (trap)"]),
        )?,
        core(
            "elements-outside",
            "(table 1 funcref) (elem (i32.const 99) func 0)".to_owned(),
            Expected::Refused(&["failed (trap)"]),
        )?,
    ]);
    if may_take_long {
        let body = format!(
            "(memory (export \"memory\") 400)\n(func (export \"realloc\") (param i32 i32 i32 i32) (result i32) (i32.const 0))\n\
             (data (i32.const 0) \"{}\")\n(func (export \"deliver\") (param i32) (result i32) (i32.const 16))",
            "x".repeat(DATA_BYTES)
        );
        let bytes = frame::assembled(&frame::text("data-of-24-mib", &body))?;
        files.push(BadFile::new(
            "bomb-data-of-24-mib",
            Made::Bytes(bytes),
            Expected::Either,
        ));
    }
    files.push(BadFile::refused(
        "bomb-nested-components",
        nested_components(5_000),
        &["does not export", "does not compile"],
    ));
    Ok(files)
}

const DATA_BYTES: usize = 24 * 1024 * 1024;

const CORE_MODULE: &str = "(core module $one)";

fn times(count: usize, field: impl Fn(usize) -> String) -> String {
    (0..count).map(field).collect()
}

/// A tuple of two of a tuple of two of …: a thousand bytes, and more elements than there are atoms.
fn doubled(times: usize) -> String {
    let first = "(type $d0 (tuple u8 u8))".to_owned();
    (1..times).fold(first, |text, at| {
        format!("{text}(type $d{at} (tuple $d{before} $d{before}))", before = at - 1)
    })
}

/// A list of lists of …
fn nested(times: usize) -> String {
    let first = "(type $n0 (list u8))".to_owned();
    (1..times).fold(first, |text, at| {
        format!("{text}(type $n{at} (list $n{before}))", before = at - 1)
    })
}

/// A component that makes two of a component that makes two of … a module's instance.
fn exponential(times: usize) -> String {
    let first = format!("(component $e0 {CORE_MODULE} (core instance (instantiate $one)))");
    let all = (1..times).fold(first, |text, at| {
        let before = at - 1;
        format!(
            "{text}(component $e{at} (alias outer 1 $e{before} (component $b)) (instance (instantiate $b)) (instance (instantiate $b)))"
        )
    });
    format!("{all}(instance (instantiate $e{}))", times - 1)
}

/// Components in components, which no text could be read of.
fn nested_components(times: usize) -> Vec<u8> {
    let preamble = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
    (0..times).fold(preamble.to_vec(), |inner, _| {
        let mut outer = preamble.to_vec();
        outer.push(COMPONENT);
        put_length(&mut outer, inner.len());
        outer.extend(inner);
        outer
    })
}
