//! Guests that take memory, tables and handles.

use serde_json::json;

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    let limit = &["16777216 are allowed"];
    vec![
        Case::written("grow", include_str!("../../../guests/wat/grow.wat")).faults("memory", limit),
        Case::written("grow-at-once", include_str!("../../../guests/wat/grow-once.wat")).faults("memory", limit),
        Case::probe("grow-compiled", json!({"do": "grow"})).faults("memory", limit),
        // What `describe` may have and this connection may not: it is there from the beginning.
        Case::written(
            "large-from-the-start",
            "(memory (export \"memory\") 512)\n(func (export \"realloc\") (param i32 i32 i32 i32) (result i32) (i32.const 0))\n\
             (func (export \"deliver\") (param i32) (result i32) (i32.const 16))",
        )
        .faults("memory", limit),
        Case::written("table-at-once", include_str!("../../../guests/wat/table-once.wat"))
            .faults("table-elements", &["100000 are allowed"]),
        Case::written("million-handles", include_str!("../../../guests/wat/handles.wat"))
            .faults("handles", &["10000 handles"]),
        Case::wasi_probe(
            "wasi-fields",
            json!({"do": "collect", "what": "fields", "times": 1_000_000}),
        )
        .faults("handles", &["512 WASI resources"]),
        Case::wasi_probe(
            "wasi-timers",
            json!({"do": "collect", "what": "timers", "times": 1_000_000}),
        )
        .faults("handles", &["512 WASI resources"]),
        Case::wasi_probe(
            "wasi-streams",
            json!({"do": "collect", "what": "streams", "times": 1_000_000}),
        )
        .faults("handles", &["512 WASI resources"]),
    ]
}
