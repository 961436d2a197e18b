//! What a source does to whoever sends it a request: every request is acknowledged and kept, whatever becomes of it.
//!
//! `receive` returns an address; there lies, by the canonical ABI, a `result` of 36 bytes: its discriminant, and from 4 on what
//! was accepted (the list of drafts at 4, the reply's discriminant at 12, its status at 16, its body at 28) or a rejection. A
//! draft has 96 bytes, of which the list of its data is at 76.

use cofferdam_tests::frame::{escaped, put_u32};

use super::Case;

const AREA_AT: usize = 16;
const AREA_BYTES: usize = 36;

/// Where drafts lie, and the size of one.
const DRAFTS_AT: usize = 4096;
const DRAFT_BYTES: usize = 96;
const DRAFT_DATA: usize = 76;

/// The head of `receive`: a request is ten numbers.
const RECEIVE: &str = "(func (export \"receive\") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)";

pub(super) fn cases() -> Vec<Case> {
    let some = 1;
    vec![
        Case::written("receive-loops", format!("{RECEIVE} (loop $on (br $on)) (unreachable))"))
            // The sender waits, so requests have little time, and a burst of them shares it.
            .with(|limits| limits.cpu_ms = 10)
            .faults("cpu", &["10 ms are allowed"]),
        Case::written("receive-traps", format!("{RECEIVE} (unreachable))")).faults("trap", &["unreachable"]),
        returning("receive-list-of-2-gib", |area| drafts(area, 0x7fff_ffff), 0)
            .faults("bad-return", &["out of bounds"]),
        returning("receive-65-drafts", |area| drafts(area, 65), 0)
            .faults("drafts", &["65 event drafts", "64 are allowed"]),
        // Each of them is all of its memory.
        returning("receive-much-of-the-same", |area| drafts(area, 64), 1024 * 1024)
            .faults("host-call-bytes", &["16777216"]),
        returning("receive-malformed", |area| drafts(area, 1), 1)
            .faults("bad-return", &["an event draft is malformed"]),
        returning(
            "receive-answers-500",
            |area| {
                area[12] = some;
                area[16..18].copy_from_slice(&500_u16.to_le_bytes());
            },
            0,
        )
        .faults("bad-return", &["500"]),
        returning(
            "receive-answers-much",
            |area| {
                area[12] = some;
                area[16] = 200;
                put_u32(area, 32, 16 * 1024 + 1);
            },
            0,
        )
        .faults("bad-return", &["16385 bytes", "16384 are allowed"]),
    ]
}

fn drafts(area: &mut [u8], count: usize) {
    put_u32(area, 4, DRAFTS_AT);
    put_u32(area, 8, count);
}

/// A source that returns this area, zeroes but for what is changed in it, and drafts whose data are so many bytes.
fn returning(name: &str, change: impl FnOnce(&mut [u8; AREA_BYTES]), data_bytes: usize) -> Case {
    let mut area = [0; AREA_BYTES];
    change(&mut area);
    let first = DRAFTS_AT + DRAFT_DATA + 4;
    let body = format!(
        "(memory (export \"memory\") 32)\n(func (export \"realloc\") (param i32 i32 i32 i32) (result i32) (i32.const 65536))\n\
         (data (i32.const {AREA_AT}) \"{area}\")\n\
         {RECEIVE}\n  (local $at i32)\n  (local.set $at (i32.const {first}))\n  (loop $on\n    (i32.store (local.get $at) (i32.const {data_bytes}))\n\
         (local.set $at (i32.add (local.get $at) (i32.const {DRAFT_BYTES})))\n\
         (br_if $on (i32.lt_u (local.get $at) (i32.const {end}))))\n  (i32.const {AREA_AT}))",
        area = escaped(&area),
        end = DRAFTS_AT + 64 * DRAFT_BYTES,
    );
    Case::written(name, body)
}
