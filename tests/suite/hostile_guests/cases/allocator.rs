//! Allocators, which the host calls while it hands over an event.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::written(
            "allocator-outside",
            include_str!("../../../guests/wat/allocator-outside.wat"),
        )
        .faults("bad-return", &["beyond end of memory"]),
        Case::written(
            "allocator-crooked",
            include_str!("../../../guests/wat/allocator-crooked.wat"),
        )
        .faults("bad-return", &["not aligned"]),
        Case::written(
            "allocator-traps",
            include_str!("../../../guests/wat/allocator-traps.wat"),
        )
        .faults("trap", &["unreachable"]),
        Case::written(
            "allocator-loops",
            include_str!("../../../guests/wat/allocator-loops.wat"),
        )
        .computes_on(),
        Case::written(
            "allocator-recurses",
            include_str!("../../../guests/wat/allocator-recurses.wat"),
        )
        .faults("stack", &["524288 bytes of stack"]),
        Case::written(
            "allocator-grows",
            include_str!("../../../guests/wat/allocator-grows.wat"),
        )
        .faults("memory", &["16777216 are allowed"]),
        Case::written(
            "allocator-calls-back",
            include_str!("../../../guests/wat/allocator-calls-back.wat"),
        )
        .faults("trap", &["cannot leave component instance"]),
        Case::written(
            "allocator-repeats",
            include_str!("../../../guests/wat/allocator-repeats.wat"),
        )
        .delivers(None),
    ]
}
