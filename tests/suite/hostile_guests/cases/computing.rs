//! Guests that use the processor and the stack.

use serde_json::json;

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::written("loop", include_str!("../../../guests/wat/loop.wat")).computes_on(),
        Case::probe("loop-compiled", json!({"do": "loop"})).computes_on(),
        Case::written("recurse", include_str!("../../../guests/wat/recurse.wat"))
            .faults("stack", &["524288 bytes of stack"]),
        // Its compiler keeps a stack of its own in linear memory, and that is what it runs out of.
        Case::probe("recurse-compiled", json!({"do": "recurse"})).faults("trap", &["out of bounds memory access"]),
        Case::written("recurse-through-table", include_str!("../../../guests/wat/mutual.wat"))
            .faults("stack", &["524288 bytes of stack"]),
        Case::written("unreachable", include_str!("../../../guests/wat/unreachable.wat"))
            .faults("trap", &["unreachable"]),
        Case::written("divide-by-zero", include_str!("../../../guests/wat/divide.wat"))
            .faults("trap", &["divide by zero"]),
        Case::written("wild-read", include_str!("../../../guests/wat/wild-read.wat"))
            .faults("trap", &["out of bounds"]),
        Case::written("wild-call", include_str!("../../../guests/wat/wild-call.wat"))
            .faults("trap", &["indirect call type mismatch"]),
        Case::probe("panic", json!({"do": "panic"})).faults("trap", &["the probe was told to panic"]),
    ]
}
