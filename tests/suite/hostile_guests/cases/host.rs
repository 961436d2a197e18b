//! What a guest does to the host by calling it.

use cofferdam_domain::FailureClass;
use serde_json::json;

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::written(
            "asks-with-wild-address",
            include_str!("../../../guests/wat/ask-wild.wat"),
        )
        .faults("bad-return", &["out of bounds"]),
        Case::written("asks-with-2-gib", include_str!("../../../guests/wat/ask-long.wat"))
            .faults("bad-return", &["out of bounds"]),
        // 17 MiB, all of them there.
        Case::written("asks-with-much", include_str!("../../../guests/wat/ask-much.wat"))
            .with(|limits| limits.memory_bytes = 64 * 1024 * 1024)
            .faults("host-call-bytes", &["16777216 bytes"]),
        Case::written("asks-with-no-text", include_str!("../../../guests/wat/ask-no-text.wat"))
            .faults("bad-return", &["utf-8"]),
        Case::probe(
            "blocks-on-its-upstream",
            json!({"do": "call", "method": "POST", "path": "/hold", "body": "x"}),
        )
        .with(|limits| limits.deadline_ms = 300)
        .fails(FailureClass::Timeout, "timed-out", &["target did not answer in time"]),
        // More than 32 requests of one call are refused, and it goes on asking.
        Case::probe("floods-its-upstream", json!({"do": "flood", "path": "/"})).computes_on(),
        Case::probe("big-request", json!({"do": "big-request", "bytes": 12_000_000}))
            .with(|limits| limits.memory_bytes = 64 * 1024 * 1024)
            .fails(FailureClass::Policy, "request-too-large", &["8388608"]),
        Case::probe("flood-log", json!({"do": "flood-log", "lines": 5000, "bytes": 100})).delivers(Some("5000 lines")),
    ]
}
