//! Requests exactly as a test wrote them, and an exact report of what came of each: every header byte, the whole body, the
//! error with all it says, and which needles are in memory afterwards.

use cofferdam_sdk::{Failure, HttpError, Receipt, Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::memory::{self, Needle, Searched, unhex};

/// Where reports go: an upstream that the test keeps to itself.
const REPORT: &str = "report";

/// Requests to send one after the other.
#[derive(Deserialize)]
pub(crate) struct Exchanges {
    sends: Vec<Exact>,
    #[serde(default)]
    needles: Vec<Needle>,
}

/// One request.
#[derive(Deserialize)]
struct Exact {
    upstream: String,
    method: String,
    path: String,
    query: Option<String>,
    /// Names, and values as hex digits.
    headers: Vec<(String, String)>,
    /// Hex digits.
    body: String,
    /// So many bytes instead.
    #[serde(default)]
    body_bytes: usize,
    timeout_ms: Option<u32>,
}

impl Exchanges {
    pub(crate) fn perform(self) -> Result<Receipt, Failure> {
        for (nth, exact) in self.sends.iter().enumerate() {
            let came = exact.send()?;
            let searched = memory::search_if(nth + 1 == self.sends.len(), &self.needles);
            report(&came, &searched)?;
        }
        Ok(Receipt::new("reported"))
    }
}

impl Exact {
    fn send(&self) -> Result<Result<Response, HttpError>, Failure> {
        let bytes = |text: &str| unhex(text).ok_or_else(|| Failure::data_quality("these are no hex digits"));
        let mut request = Request::new(&self.method, &self.upstream, &self.path);
        request.query.clone_from(&self.query);
        request.timeout_ms = self.timeout_ms;
        request.body = match self.body_bytes {
            0 => bytes(&self.body)?,
            filler => vec![b'b'; filler],
        };
        for (name, value) in &self.headers {
            request = request.header(name, bytes(value)?);
        }
        Ok(request.send())
    }
}

/// A line of JSON and then the body as it is.
fn report(came: &Result<Response, HttpError>, searched: &Searched) -> Result<(), Failure> {
    let (came, rest) = match came {
        Ok(response) => (answer(response), response.body.as_slice()),
        Err(error) => (json!({ "error": said(error) }), &[][..]),
    };
    let line = json!({ "came": came, "found": searched.found, "searched": searched.bytes });
    let mut told = line.to_string().into_bytes();
    told.push(b'\n');
    told.extend_from_slice(rest);
    let mut request = Request::post(REPORT, "/");
    request.body = told;
    request.send()?;
    Ok(())
}

fn answer(response: &Response) -> Value {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let headers: Vec<_> = response
        .headers
        .iter()
        .map(|(name, value)| (name, hex(value)))
        .collect();
    json!({ "status": response.status, "headers": headers })
}

fn said(error: &HttpError) -> Value {
    match error {
        HttpError::Refused(refusal) => json!({ "kind": "refused", "code": refusal.code, "text": refusal.message }),
        HttpError::RateLimited(wait_ms) => json!({ "kind": "rate-limited", "bound": wait_ms }),
        HttpError::TimedOut(state) => json!({ "kind": "timed-out", "sent": state.request_sent }),
        HttpError::Unreachable(text) => json!({ "kind": "unreachable", "text": text }),
        HttpError::Interrupted(text) => json!({ "kind": "interrupted", "text": text }),
        HttpError::ResponseTooLarge(bytes_max) => json!({ "kind": "response-too-large", "bound": bytes_max }),
        HttpError::ProtocolError(text) => json!({ "kind": "protocol-error", "text": text }),
    }
}
