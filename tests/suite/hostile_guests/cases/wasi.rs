//! What a guest tries by way of WASI.

use serde_json::json;

use super::{Case, TARGET};

pub(super) fn cases() -> Vec<Case> {
    let hold = json!({"url": format!("{TARGET}/hold")});
    vec![
        Case::wasi_probe("exit-well", json!({"do": "exit", "status": true})).faults("trap", &["exited with status 0"]),
        Case::wasi_probe("exit-badly", json!({"do": "exit", "status": false}))
            .faults("trap", &["exited with status 1"]),
        Case::wasi_probe("sleep-past-deadline", json!({"do": "sleep", "ms": 3_600_000}))
            .with(|limits| limits.deadline_ms = 300)
            .faults("deadline", &["300 ms"]),
        Case::wasi_probe("look-around", json!({"do": "environment"})).delivers(Some(
            "0 variables, 0 arguments, no directory, 0 files open, no terminal, input ended",
        )),
        Case::wasi_probe("open-sockets", json!({"do": "sockets"})).delivers(Some(
            "tcp4 access-denied, tcp6 access-denied, udp4 access-denied, udp6 access-denied, name access-denied",
        )),
        // Seven requests that are never answered and that it never asks about again; the host ends them with the call.
        Case::wasi_probe(
            "work-that-it-never-awaits",
            json!({"do": "abandon", "requests": vec![hold; 7], "then": {"url": format!("{TARGET}/")}}),
        )
        .delivers(Some("abandoned, then 200")),
        Case::wasi_probe("much-chance", json!({"do": "random", "bytes": 1_000_000_000}))
            .faults("trap", &["more than 65536 random bytes"]),
        Case::wasi_probe("print-flood", json!({"do": "print", "stdout": "line\n".repeat(1000)}))
            .delivers(Some("printed")),
        // What the library would keep of a request outside of the guest's memory: as much as 100 MB and 128 MB a call.
        Case::wasi_probe(
            "many-requests-of-long-names",
            json!({"do": "long-names", "requests": 500, "bytes": 100_000, "hold_ms": 300}),
        )
        .delivers(Some("1000 refused, 0 taken")),
        Case::wasi_probe(
            "requests-of-endless-names",
            json!({"do": "long-names", "requests": 4, "bytes": 16_000_000, "hold_ms": 300}),
        )
        .with(|limits| limits.memory_bytes = 32 * 1024 * 1024)
        .delivers(Some("8 refused, 0 taken")),
    ]
}
