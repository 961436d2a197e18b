//! Puts an answer's body together as it comes in, decoded by the host and within its bounds.
//!
//! gzip is the one coding that is asked for (RFC 9110 section 8.4.1.3). A byte over the cap ends it at once, so that nothing
//! is held beyond the cap and one step of the decoder. A body that grows beyond reason while it is decoded ends it before the
//! cap does: nobody's honest answer is packed so well.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use crate::exchange::HttpError;

/// The codings that are asked for.
pub(crate) const ACCEPTED: &str = "gzip";

/// Most decoded bytes for each byte that came. JSON, HTML and logs reach 5 to 50; gzip's own limit is 1,032.
const RATIO_MAX: u64 = 256;

/// Decoded bytes that may come at any ratio: a small answer of one repeated character is no attack.
const RATIO_FREE_BYTES: u64 = 256 * 1024;

/// Most room that is made because of an announced length, in bytes.
const ANNOUNCED_BYTES_MAX: u64 = 1024 * 1024;

/// A body under way.
pub(crate) struct Incoming {
    bytes_max: usize,
    coded: Coded,
}

enum Coded {
    /// As it is. One piece is handed on without being copied.
    Plain { first: Bytes, joined: BytesMut },
    Gzip {
        decoder: Box<MultiGzDecoder<Sink>>,
        any: bool,
    },
    /// Something else, which is fine as long as there is no body.
    Unknown,
}

impl Incoming {
    /// For a body with these headers, of `announced` bytes if that is known.
    pub(crate) fn new(headers: &HeaderMap, announced: Option<u64>, bytes_max: u64) -> Result<Self, HttpError> {
        if announced.is_some_and(|announced| announced > bytes_max) {
            return Err(HttpError::ResponseTooLarge(bytes_max));
        }
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let room = usize::try_from(announced.unwrap_or(0).min(ANNOUNCED_BYTES_MAX)).unwrap_or(0);
        let codings: Vec<&[u8]> = headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
            .collect();
        let coded = match codings.as_slice() {
            [] => Coded::Plain {
                first: Bytes::new(),
                joined: BytesMut::with_capacity(room),
            },
            [coding]
                if [&b"gzip"[..], b"x-gzip"]
                    .iter()
                    .any(|name| coding.eq_ignore_ascii_case(name)) =>
            {
                Coded::Gzip {
                    decoder: Box::new(MultiGzDecoder::new(Sink::new(bytes_max))),
                    any: false,
                }
            }
            _ => Coded::Unknown,
        };
        Ok(Self { bytes_max, coded })
    }

    /// Takes a piece as it came.
    pub(crate) fn push(&mut self, piece: Bytes) -> Result<(), HttpError> {
        if piece.is_empty() {
            return Ok(());
        }
        let bytes_max = self.bytes_max;
        match &mut self.coded {
            Coded::Plain { first, joined } => {
                if first.len() + joined.len() + piece.len() > bytes_max {
                    return Err(too_large(bytes_max));
                }
                if first.is_empty() && joined.is_empty() {
                    *first = piece;
                } else {
                    joined.extend_from_slice(&std::mem::take(first));
                    joined.extend_from_slice(&piece);
                }
                Ok(())
            }
            Coded::Gzip { decoder, any } => {
                *any = true;
                decoder.get_mut().came += piece.len() as u64;
                decoder
                    .write_all(&piece)
                    .map_err(|error| decoder.get_ref().failure(&error))
            }
            Coded::Unknown => Err(protocol("the response has a content-encoding that was not asked for")),
        }
    }

    /// What is there of it, decoded; the decoder may hold back some. It only ever grows.
    pub(crate) fn so_far(&self) -> &[u8] {
        match &self.coded {
            Coded::Plain { first, joined } if joined.is_empty() => first,
            Coded::Plain { joined, .. } => joined,
            Coded::Gzip { decoder, .. } => &decoder.get_ref().body,
            Coded::Unknown => &[],
        }
    }

    /// The whole, once no more comes.
    pub(crate) fn finish(self) -> Result<Bytes, HttpError> {
        match self.coded {
            Coded::Plain { first, joined } if joined.is_empty() => Ok(first),
            Coded::Plain { joined, .. } => Ok(joined.freeze()),
            Coded::Gzip { mut decoder, any: true } => match decoder.try_finish() {
                Ok(()) => Ok(std::mem::take(&mut decoder.get_mut().body).into()),
                Err(error) if decoder.get_ref().over.is_some() => Err(decoder.get_ref().failure(&error)),
                Err(_) => Err(protocol("the response's gzip ends too early, or its checksum is wrong")),
            },
            Coded::Gzip { any: false, .. } | Coded::Unknown => Ok(Bytes::new()),
        }
    }
}

/// Where decoded bytes go, until there are too many.
struct Sink {
    body: Vec<u8>,
    bytes_max: usize,
    /// Bytes that were given to the decoder.
    came: u64,
    over: Option<Over>,
}

#[derive(Clone, Copy)]
enum Over {
    Cap,
    Ratio,
}

impl Sink {
    fn new(bytes_max: usize) -> Self {
        Self {
            body: Vec::new(),
            bytes_max,
            came: 0,
            over: None,
        }
    }

    fn failure(&self, error: &io::Error) -> HttpError {
        match self.over {
            Some(Over::Cap) => too_large(self.bytes_max),
            Some(Over::Ratio) => protocol(&format!(
                "the response's gzip unpacks to more than {RATIO_MAX} times its size"
            )),
            None if error.kind() == io::ErrorKind::WriteZero => protocol("bytes follow the end of the response's gzip"),
            None => protocol("the response's gzip is damaged, or followed by something else"),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, decoded: &[u8]) -> io::Result<usize> {
        let total = self.body.len() + decoded.len();
        if total > self.bytes_max {
            self.over = Some(Over::Cap);
        } else if total as u64 > RATIO_FREE_BYTES.max(self.came.saturating_mul(RATIO_MAX)) {
            self.over = Some(Over::Ratio);
        }
        if self.over.is_some() {
            return Err(io::Error::other("over a bound"));
        }
        if total > self.body.capacity() {
            // Twice the room, but none beyond the cap.
            let room = (self.body.capacity() * 2).max(total).min(self.bytes_max);
            self.body.reserve_exact(room - self.body.len());
        }
        self.body.extend_from_slice(decoded);
        Ok(decoded.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_large(bytes_max: usize) -> HttpError {
    HttpError::ResponseTooLarge(bytes_max as u64)
}

fn protocol(problem: &str) -> HttpError {
    HttpError::ProtocolError(problem.to_owned())
}

#[cfg(test)]
mod tests;
