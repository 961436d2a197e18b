//! A source that makes one event of every request, whose data says what of the request the connector was given; a request
//! whose body is `loop` it never answers.

use cofferdam_sdk::{
    Accepted, Connector, Descriptor, EventDraft, InboundRequest, InboundScheme, Rejection, Source, connector,
};
use serde_json::json;
use std::hint::black_box;

struct Inbox;

impl Connector for Inbox {
    fn describe() -> Descriptor {
        Descriptor::new(
            "inbox",
            env!("CARGO_PKG_VERSION"),
            "Makes one event of every request, for tests.",
        )
        .inbound(InboundScheme::HmacSha256)
        .produces("test.inbox")
    }
}

impl Source for Inbox {
    fn receive(request: InboundRequest) -> Result<Accepted, Rejection> {
        while black_box(request.body == b"loop") {}
        let headers: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        let seen = json!({
            "path": request.path,
            "query": request.query,
            "headers": headers,
            "body": String::from_utf8_lossy(&request.body),
        });
        let draft = EventDraft::new(
            "test.inbox",
            "/inbox",
            "application/json",
            seen.to_string().into_bytes(),
        );
        Ok(Accepted::events(vec![draft]))
    }
}

connector!(Inbox: Source);
