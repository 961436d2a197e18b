//! A source that makes one event of every request, whose data says what of the request the connector was given; a request
//! whose body is `loop` it never answers, and one whose body is `odd` it turns away, with a word in its log.

use cofferdam_sdk::{
    Accepted, Connector, Descriptor, EventDraft, InboundRequest, InboundScheme, Rejection, Source, connector, log,
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
        if request.body == b"odd" {
            log::warn("this is no payload that it knows", &[("seen", "odd")]);
            return Err(Rejection::new("unknown-payload", "the body is odd"));
        }
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
