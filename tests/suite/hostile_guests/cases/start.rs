//! Start functions, which run before anything is called. These behave while the file is looked at; those that do not are
//! in `files.rs`.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::written("start-loops", include_str!("../../../guests/wat/start-loops-later.wat")).computes_on(),
        Case::written("start-traps", include_str!("../../../guests/wat/start-traps-later.wat"))
            .faults("trap", &["unreachable"]),
        Case::written(
            "start-recurses",
            include_str!("../../../guests/wat/start-recurses-later.wat"),
        )
        .faults("stack", &["524288 bytes of stack"]),
        Case::written("start-grows", include_str!("../../../guests/wat/start-grows-later.wat"))
            .faults("memory", &["16777216 are allowed"]),
    ]
}
