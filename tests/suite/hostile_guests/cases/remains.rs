//! Guests that look for what an earlier call has left: their own, another connection's of the same code, another code's.

use serde_json::json;

use super::super::neighbour::BODY_END;
use super::Case;

/// What needles are masked with, so that the search brings none of them into memory: see `tests/guests/probe/src/memory.rs`.
const MASK: u8 = 0xa5;

pub(super) fn cases() -> Vec<Case> {
    let body = include_str!("../../../guests/wat/remember.wat");
    // Two connectors, because their names are part of their bytes; each finds what the other has left, if there is anything.
    let two = ["looks-for-remains", "looks-for-anothers-remains"];
    let both = two.map(|name| Case::written(name, body).delivers(None));
    // The neighbour's connection is of the same connector, and its events come all the time.
    let needle: String = BODY_END.bytes().map(|byte| format!("{:02x}", byte ^ MASK)).collect();
    let search = json!({"do": "search", "needles": [needle]});
    let for_events = Case::probe("looks-for-neighbours-events", search).delivers(Some("found []"));
    both.into_iter().chain([for_events]).collect()
}
