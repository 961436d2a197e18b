//! Requests, and an exact report of what came of each: every header byte, the whole body, the error, and which needles are in
//! memory afterwards.

use cofferdam_sdk::{Failure, Receipt};
use serde::Deserialize;
use serde_json::json;

use crate::fetch::{Begun, Fetch, Got};
use crate::memory::{self, Needle, Searched};

/// Where reports go: a URL that the test keeps to itself.
const REPORT: &str = "http://report.suite.test/";

/// Requests to send one after the other.
#[derive(Deserialize)]
pub(crate) struct Exchanges {
    sends: Vec<Fetch>,
    #[serde(default)]
    needles: Vec<Needle>,
}

impl Exchanges {
    pub(crate) fn perform(self) -> Result<Receipt, Failure> {
        for (nth, fetch) in self.sends.iter().enumerate() {
            let came = fetch.begin().and_then(Begun::finish);
            let searched = memory::search_if(nth + 1 == self.sends.len(), &self.needles);
            let told = told(&came, &searched);
            Fetch::post(REPORT, told)
                .map_err(|code| Failure::dependency(format!("no report could be made: {code}")))?;
        }
        Ok(Receipt::new("reported"))
    }
}

/// A line of JSON and then the body as it is.
fn told(came: &Result<Got, String>, searched: &Searched) -> Vec<u8> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (came, rest) = match came {
        Ok(got) => {
            let headers: Vec<_> = got.headers.iter().map(|(name, value)| (name, hex(value))).collect();
            (json!({ "status": got.status, "headers": headers }), got.body.as_slice())
        }
        Err(code) => (json!({ "error": { "kind": code } }), &[][..]),
    };
    let line = json!({ "came": came, "found": searched.found, "searched": searched.bytes });
    let mut told = line.to_string().into_bytes();
    told.push(b'\n');
    told.extend_from_slice(rest);
    told
}
