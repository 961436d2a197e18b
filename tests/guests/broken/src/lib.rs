//! A connector whose descriptor traps: the host must say so and go on with the others.

use cofferdam_sdk::{Attempt, Connector, Descriptor, Event, Failure, Receipt, Sink, connector};

struct Broken;

impl Connector for Broken {
    fn describe() -> Descriptor {
        panic!("this connector describes itself by a trap")
    }
}

impl Sink for Broken {
    fn deliver(_: Event, _: Attempt) -> Result<Receipt, Failure> {
        Ok(Receipt::new("nobody calls what cannot be described"))
    }
}

connector!(Broken: Sink);
