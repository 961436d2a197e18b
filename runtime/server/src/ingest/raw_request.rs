//! A verified request that no connector could read, kept as the body of an event so that nothing verified is lost.
//!
//! Format: JSON, media type [`MEDIA_TYPE`], bytes as base64. It holds no signature, cookie or authorization: those were
//! taken away before. A replay hands it to the source connector again.

use std::collections::BTreeMap;

use cofferdam_domain::event::{Event, NewEvent, Origin, RAW_REQUEST_TYPE};
use cofferdam_domain::{ConnectionName, CorrelationId, Digest, EventId, Timestamp, TraceContext, WorkspaceName};
use cofferdam_host::InboundRequest;
use serde::{Deserialize, Serialize};

pub(crate) const MEDIA_TYPE: &str = "application/vnd.cofferdam.request+json";

/// In front of the provider's delivery id: the same request sent twice is kept once, apart from the event it would make.
const KEPT: &str = "kept:";

#[derive(Serialize, Deserialize)]
struct Stored {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// The event that holds this request.
pub(crate) fn event(
    workspace: WorkspaceName,
    connection: &ConnectionName,
    correlation_id: CorrelationId,
    request: &InboundRequest,
    received_at: Timestamp,
    provider_id: Option<&str>,
) -> Result<NewEvent, serde_json::Error> {
    let encode = |bytes: &[u8]| data_encoding::BASE64.encode(bytes);
    let body = serde_json::to_vec(&Stored {
        method: request.method.clone(),
        path: request.path.clone(),
        query: request.query.clone(),
        headers: request
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), encode(value)))
            .collect(),
        body: encode(&request.body),
    })?;
    let rng = &mut rand::rng();
    let event = Event {
        id: EventId::mint(received_at, rng),
        workspace,
        correlation_id,
        trace: TraceContext::mint(rng),
        kind: RAW_REQUEST_TYPE.to_owned(),
        source: format!("/hooks/{connection}"),
        subject: None,
        time: None,
        received_at,
        origin: Origin::Connection(connection.clone()),
        data_content_type: MEDIA_TYPE.to_owned(),
        data_schema: None,
        extensions: BTreeMap::new(),
        body_bytes: body.len() as u64,
        body_hash: Digest::of(&body),
        dedupe_key: provider_id.map(|id| format!("{KEPT}{id}")),
    };
    Ok(NewEvent { event, body })
}

/// The provider's own id of the request that this event holds.
pub(crate) fn provider_id(event: &Event) -> Option<String> {
    event.dedupe_key.as_deref()?.strip_prefix(KEPT).map(str::to_owned)
}

/// The request that an event holds; none if its body is not of this format.
pub(crate) fn read(body: &[u8]) -> Option<InboundRequest> {
    let stored: Stored = serde_json::from_slice(body).ok()?;
    let decode = |text: &str| data_encoding::BASE64.decode(text.as_bytes()).ok();
    let headers = stored
        .headers
        .into_iter()
        .map(|(name, value)| Some((name, decode(&value)?)))
        .collect::<Option<Vec<_>>>()?;
    Some(InboundRequest {
        method: stored.method,
        path: stored.path,
        query: stored.query,
        headers,
        body: decode(&stored.body)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_being_kept() {
        let request = InboundRequest {
            method: "POST".into(),
            path: "/a".into(),
            query: "b=%20".into(),
            headers: vec![("x".into(), vec![0xff, 0])],
            body: vec![0, 1, 255],
        };
        let workspace = WorkspaceName::default();
        let correlation = "c".parse().unwrap();
        let kept = event(
            workspace,
            &"hook".parse().unwrap(),
            correlation,
            &request,
            Timestamp::ZERO,
            Some("d-1"),
        )
        .unwrap();
        assert_eq!(read(&kept.body), Some(request));
        assert_eq!(provider_id(&kept.event).as_deref(), Some("d-1"));
        assert_eq!(read(b"{}"), None);
    }
}
