//! A connector that goes through WASI instead of the contract: requests by `wasi:http`, and everything else that a language's
//! runtime asks of its host. The event's data says what to do:
//!
//! ```json
//! {"do": "fetch", "url": "http://127.0.0.1:8080/x?y=1", "method": "POST", "headers": [["content-type", "text/plain"]],
//!  "body": "hello", "first_byte_timeout_ms": 1000}
//! ```
//!
//! Only `url` is needed; it is cut at the first `://` and the first `/`, `?` or `#` behind it and not looked at otherwise.
//! `scheme`, `authority` and `path_with_query` stand in for one or all of its parts. `body_bytes` sends so many bytes of `b`
//! instead of `body`. See [`fetch::Fetch`] for the rest, and [`act::Act`] for what there is beside `fetch`.
//!
//! What came of a request is in two places. The log has one line `got STATUS BODY`, or `got error CODE` with the name of the
//! `wasi:http` error code (`HTTP-request-denied`) or `set-method` and the like if the library would not even take it, and one
//! line per response header (`header NAME: VALUE`). The receipt's summary is `STATUS BODY` for any answer; an error is a
//! failure of the kind `dependency` with the error as its code.

mod act;
mod exchange;
mod fetch;
#[path = "../../probe/src/memory.rs"]
mod memory;

use cofferdam_sdk::{Attempt, Connector, Descriptor, Event, Failure, Receipt, Sink, Upstream, connector};
use serde_json::json;

struct WasiProbe;

impl Connector for WasiProbe {
    fn describe() -> Descriptor {
        Descriptor::new(
            "wasi-probe",
            env!("CARGO_PKG_VERSION"),
            &act::summary_that_would_differ_if_time_or_chance_did(),
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
    }
}

impl Sink for WasiProbe {
    fn deliver(event: Event, _: Attempt) -> Result<Receipt, Failure> {
        let act: act::Act = event.json()?;
        act.perform()
    }
}

connector!(WasiProbe: Sink);
