//! What a guest hands back: values of no type, addresses of no memory, texts that are none, and too much.
//!
//! `deliver` returns an address; there lies, by the canonical ABI, a `result` of 56 bytes, aligned to 8: its discriminant, and
//! from 8 on a receipt (`external-id` at 8, `summary` at 20, `confirmation` at 32) or a failure (`kind` at 8, `code` at 12,
//! `message` at 24, `retry-after-ms` at 32). An `option<string>` is a discriminant, and the string's address and length at 4
//! and 8 behind it.

use cofferdam_domain::FailureClass;
use cofferdam_tests::frame::{escaped, put_u32};
use serde_json::json;

use super::Case;

/// Where it lies.
const AREA_AT: usize = 16;

const AREA_BYTES: usize = 56;

/// Behind it, for strings.
const STRING_AT: usize = 128;

const OK: u8 = 0;
const ERR: u8 = 1;
const SOME: u8 = 1;

pub(super) fn cases() -> Vec<Case> {
    let bad = "bad-return";
    vec![
        returning("neither-ok-nor-error", |area| area[0] = 2).faults(bad, &["invalid expected discriminant"]),
        returning("neither-some-nor-none", |area| area[8] = 7).faults(bad, &["invalid option discriminant"]),
        returning("unknown-kind", |area| {
            area[0] = ERR;
            area[8] = 99;
        })
        .faults(bad, &["99"]),
        returning("no-text", |area| summary(area, STRING_AT, 4)).faults(bad, &["utf-8"]),
        returning("string-outside", |area| summary(area, 0xffff_0000, 16)).faults(bad, &["out of bounds"]),
        returning("string-of-2-gib", |area| summary(area, 0, 0x8000_0000)).faults(bad, &["out of bounds"]),
        returning("string-beyond-the-end", |area| summary(area, 0xffff_ffff, 0xffff_ffff))
            .faults(bad, &["out of bounds"]),
        returning("message-outside", |area| {
            area[0] = ERR;
            put_u32(area, 24, 65_535);
            put_u32(area, 28, 2);
        })
        .faults(bad, &["out of bounds"]),
        returning("overlaps-itself", |area| {
            area[0] = ERR;
            area[8] = 3;
            put_u32(area, 24, AREA_AT);
            put_u32(area, 28, AREA_BYTES);
        })
        .fails(FailureClass::Schema, "", &[]),
        returning("long-id", |area| {
            area[8] = SOME;
            put_u32(area, 12, 32_768);
            put_u32(area, 16, 257);
        })
        .faults(bad, &["257 bytes", "256 are allowed"]),
        Case::written("address-outside", at("0xfffffff8")).faults(bad, &["out of bounds"]),
        Case::written("address-at-the-edge", at("0xfff0")).faults(bad, &["out of bounds"]),
        Case::written("address-crooked", at("17")).faults(bad, &["not aligned"]),
        returning_from(280, "much-text", |area| {
            area[0] = ERR;
            put_u32(area, 24, 0);
            put_u32(area, 28, 17 * 1024 * 1024);
        })
        .with(|limits| limits.memory_bytes = 64 * 1024 * 1024)
        .faults("host-call-bytes", &["16777216"]),
        Case::written("cleanup-traps", include_str!("../../../guests/wat/cleanup-traps.wat"))
            .faults("trap", &["unreachable"]),
        Case::written("cleanup-loops", include_str!("../../../guests/wat/cleanup-loops.wat")).computes_on(),
        Case::written("cleanup-grows", include_str!("../../../guests/wat/cleanup-grows.wat"))
            .faults("memory", &["16777216 are allowed"]),
        Case::probe("big-return", json!({"do": "big-return", "bytes": 1_000_000})).delivers(None),
    ]
}

/// A guest that returns this area, zeroes but for what is changed in it.
fn returning(name: &str, change: impl FnOnce(&mut [u8; AREA_BYTES])) -> Case {
    returning_from(0, name, change)
}

/// The same with so many more pages of memory.
fn returning_from(pages: u32, name: &str, change: impl FnOnce(&mut [u8; AREA_BYTES])) -> Case {
    let mut area = [0; AREA_BYTES];
    area[0] = OK;
    change(&mut area);
    let body = format!(
        "(import \"libc\" \"memory\" (memory 1))\n(data (i32.const {AREA_AT}) \"{}\")\n(data (i32.const {STRING_AT}) \"\\ff\\fe\\c0\\80\")\n\
         (func (export \"deliver\") (param i32) (result i32)\n  (drop (memory.grow (i32.const {pages})))\n  (i32.const {AREA_AT}))",
        escaped(&area)
    );
    Case::written(name, body)
}

fn summary(area: &mut [u8], at: usize, bytes: usize) {
    area[20] = SOME;
    put_u32(area, 24, at);
    put_u32(area, 28, bytes);
}

fn at(address: &str) -> String {
    format!("(func (export \"deliver\") (param i32) (result i32) (i32.const {address}))")
}
