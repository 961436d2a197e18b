//! Filling in what is only known when a case runs.

use super::case::Reply;
use super::credential::Credential;

/// What ends the head of an answer.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Stands for the number of bytes behind it.
const LENGTH: &[u8] = b"{length}";

/// A text with `{port}` and `{secret:FORM}` filled in.
pub(crate) fn fill(text: &str, port: u16, credential: &Credential) -> Vec<u8> {
    fill_bytes(text.as_bytes(), port, credential)
}

fn fill_bytes(text: &[u8], port: u16, credential: &Credential) -> Vec<u8> {
    let mut filled = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.iter().position(|byte| *byte == b'{') {
        let length = rest[start..].iter().position(|byte| *byte == b'}');
        let name = length.and_then(|length| std::str::from_utf8(&rest[start + 1..start + length]).ok());
        let value = name.and_then(|name| match name.split_once(':') {
            Some(("secret", form)) => Some(credential.form(form)),
            _ if name == "port" => Some(port.to_string().into_bytes()),
            _ => None,
        });
        let end = match (&value, length) {
            (Some(_), Some(length)) => start + length + 1,
            _ => start + 1,
        };
        filled.extend_from_slice(&rest[..start]);
        filled.extend_from_slice(value.as_deref().unwrap_or(b"{"));
        rest = &rest[end..];
    }
    filled.extend_from_slice(rest);
    filled
}

/// A reply with everything filled in, `{length}` too.
pub(crate) fn reply(reply: &Reply, port: u16, credential: &Credential) -> Reply {
    let mut pieces: Vec<_> = reply
        .pieces
        .iter()
        .map(|piece| fill_bytes(piece, port, credential))
        .collect();
    if let Some(first) = pieces.first_mut()
        && let Some(end) = find(first, HEAD_END)
    {
        let mut body = first.split_off(end + HEAD_END.len());
        if reply.gzip {
            first.splice(end..end, b"\r\ncontent-encoding: gzip".iter().copied());
            body = gzipped(&body);
        }
        if let Some(at) = find(first, LENGTH) {
            first.splice(at..at + LENGTH.len(), body.len().to_string().bytes());
        }
        first.extend(body);
    }
    Reply {
        pieces,
        gzip: reply.gzip,
        then: reply.then.clone(),
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// One stored block of deflate (RFC 1951 section 3.2.4) in a gzip member (RFC 1952).
fn gzipped(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a case's body fits a block");
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1];
    bytes.extend(length.to_le_bytes());
    bytes.extend((!length).to_le_bytes());
    bytes.extend(body);
    bytes.extend(crc32(body).to_le_bytes());
    bytes.extend(u32::from(length).to_le_bytes());
    bytes
}

/// RFC 1952 section 8.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
