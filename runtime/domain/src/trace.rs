//! W3C Trace Context (https://www.w3.org/TR/trace-context/): read from trusted callers, minted otherwise, written to
//! every request that leaves.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// One position in a trace: the trace and the span that is the parent of what follows.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    sampled: bool,
}

impl TraceContext {
    /// The root of a new trace.
    pub fn mint(rng: &mut impl Rng) -> Self {
        Self {
            trace_id: non_zero(rng),
            span_id: non_zero(rng),
            sampled: true,
        }
    }

    /// A new span below this one.
    #[must_use]
    pub fn child(&self, rng: &mut impl Rng) -> Self {
        Self {
            span_id: non_zero(rng),
            ..*self
        }
    }

    /// The trace id, 32 hex digits.
    pub fn trace_id(&self) -> String {
        HEXLOWER.encode(&self.trace_id)
    }

    /// The span id, 16 hex digits.
    pub fn span_id(&self) -> String {
        HEXLOWER.encode(&self.span_id)
    }
}

/// Section 3.2.2: an identifier of zeros only is invalid.
fn non_zero<const N: usize>(rng: &mut impl Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    if bytes == [0; N] {
        bytes[N - 1] = 1;
    }
    bytes
}

/// The text is not a `traceparent` value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent")]
pub struct BadTraceparent;

impl FromStr for TraceContext {
    type Err = BadTraceparent;

    fn from_str(text: &str) -> Result<Self, BadTraceparent> {
        let mut parts = text.split('-');
        let mut field = |len: usize| {
            let part = parts.next().filter(|part| part.len() == len).ok_or(BadTraceparent)?;
            HEXLOWER.decode(part.as_bytes()).map_err(|_| BadTraceparent)
        };
        let (version, trace_id, span_id, flags) = (field(2)?[0], field(32)?, field(16)?, field(2)?[0]);
        // Section 3.2.1: ff is forbidden; version 00 has exactly four fields, later ones may have more.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return Err(BadTraceparent);
        }
        let trace_id: [u8; 16] = trace_id.try_into().map_err(|_| BadTraceparent)?;
        let span_id: [u8; 8] = span_id.try_into().map_err(|_| BadTraceparent)?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return Err(BadTraceparent);
        }
        Ok(Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
        })
    }
}

impl TryFrom<String> for TraceContext {
    type Error = BadTraceparent;

    fn try_from(text: String) -> Result<Self, BadTraceparent> {
        text.parse()
    }
}

impl From<TraceContext> for String {
    fn from(context: TraceContext) -> Self {
        context.to_string()
    }
}

/// As a `traceparent` header value.
impl fmt::Display for TraceContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "00-{}-{}-{:02x}",
            self.trace_id(),
            self.span_id(),
            u8::from(self.sampled)
        )
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_is_read_as_the_specification_says() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(good.parse::<TraceContext>().unwrap().to_string(), good);
        let later_version = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-what-comes";
        assert!(later_version.parse::<TraceContext>().is_ok());
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert!(bad.parse::<TraceContext>().is_err(), "{bad}");
        }
    }
}
