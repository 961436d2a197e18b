//! Guests that do what they may, too often: each meets a limit of the connection's policy that it can be given.

use serde_json::json;

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    let limited = |case: Case, more: &'static str| case.with(|limits| limits.more = more);
    let loop_host = include_str!("../../../guests/wat/loop-host.wat");
    let print = |text: String| json!({"do": "print", "stdout": text});
    vec![
        limited(Case::written("host-call-flood", loop_host), "host_calls = 1000").faults("host-calls", &["1000 "]),
        // As many as there may be at all: the processor time is used up first.
        Case::written("loop-with-host-calls", loop_host)
            .with(|limits| limits.more = "host_calls = 10000000")
            .computes_on(),
        Case::probe("sleepless", json!({"do": "sleepless"})).faults("host-calls", &["100000 "]),
        Case::probe("log-flood", json!({"do": "flood-log", "lines": 1_000_000, "bytes": 10}))
            .faults("log-lines", &["10000 "]),
        Case::probe(
            "log-of-long-lines",
            json!({"do": "flood-log", "lines": 1_000_000, "bytes": 4000}),
        )
        .faults("log-bytes", &["4194304 "]),
        limited(
            Case::wasi_probe("print-lines", print("l\n".repeat(1000))),
            "log_lines = 900",
        )
        .faults("log-lines", &["900 "]),
        limited(
            Case::wasi_probe("print-one-endless-line", print("l".repeat(10_000))),
            "log_bytes = 9000",
        )
        .faults("log-bytes", &["9000 "]),
        Case::probe("output-flood", json!({"do": "big-return", "bytes": 9_000_000}))
            .with(|limits| limits.memory_bytes = 64 * 1024 * 1024)
            .faults("output-bytes", &["8388608 "]),
        limited(
            Case::written("table-step-by-step", include_str!("../../../guests/wat/table.wat")),
            "table_elements = 5000",
        )
        .faults("table-elements", &["5000 are allowed"]),
        limited(
            Case::written("few-handles", include_str!("../../../guests/wat/handles.wat")),
            "handles = 100",
        )
        .faults("handles", &["100 handles"]),
        limited(Case::probe("few-instances", json!({"do": "ok"})), "instances = 1")
            .faults("instances", &["1 are allowed"]),
    ]
}
