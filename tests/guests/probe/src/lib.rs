//! A connector whose behaviour the event chooses, by data such as `{"do": "panic"}`: what a test needs of a guest, and what
//! the host must survive of one. See [`act::Act`] for the vocabulary.

mod act;
mod exchange;
mod memory;

use cofferdam_sdk::{Attempt, Connector, Descriptor, Event, Failure, Receipt, Sink, Upstream, connector};
use serde_json::json;

struct Probe;

impl Connector for Probe {
    fn describe() -> Descriptor {
        Descriptor::new(
            "probe",
            env!("CARGO_PKG_VERSION"),
            "Does what the event says, for tests.",
        )
        .settings(json!({ "type": "object" }))
        .upstream(
            Upstream::new("target", "Whatever the test listens with.")
                .bearer()
                .method("DELETE")
                .method("GET")
                .method("PATCH")
                .method("POST")
                .method("PUT"),
        )
        .upstream(
            Upstream::new("open", "A target without credential.")
                .method("GET")
                .method("POST"),
        )
        .wants_state()
    }
}

impl Sink for Probe {
    fn deliver(event: Event, attempt: Attempt) -> Result<Receipt, Failure> {
        let act: act::Act = event.json()?;
        act.perform(&event, &attempt)
    }
}

connector!(Probe: Sink);
