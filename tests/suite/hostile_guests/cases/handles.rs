//! Handles that a guest has no more, never had, has for something else, or does not give back.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    let unknown = &["unknown handle index"];
    let of_another_type = &["used with the wrong type"];
    vec![
        Case::written("handle-twice", include_str!("../../../guests/wat/handle-twice.wat")).faults("trap", unknown),
        Case::written("wild-handle", include_str!("../../../guests/wat/wild-handle.wat")).faults("trap", unknown),
        Case::written(
            "handle-of-another-type",
            include_str!("../../../guests/wat/handle-of-another-type.wat"),
        )
        .faults("trap", of_another_type),
        Case::written("handle-spent", include_str!("../../../guests/wat/handle-spent.wat"))
            .faults("trap", of_another_type),
        Case::written("handle-kept", include_str!("../../../guests/wat/handle-kept.wat"))
            .faults("trap", &["borrow handles still remain at the end of the call"]),
    ]
}
