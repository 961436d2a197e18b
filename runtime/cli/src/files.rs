//! Reading what a person names, never more of it than a limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;

/// The file's bytes; an error if there are more than `bytes_max`.
pub(crate) fn read(path: &Path, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
    let bytes = File::open(path).and_then(|file| read_capped(file, bytes_max));
    bytes.with_context(|| format!("{} cannot be read", path.display()))
}

/// The file's text.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> anyhow::Result<String> {
    let bytes = read(path, bytes_max)?;
    String::from_utf8(bytes).with_context(|| format!("{} is no UTF-8 text", path.display()))
}

/// Everything that the reader has, if it is not over the limit.
pub(crate) fn read_capped(reader: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {bytes_max} bytes"),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::read_capped;

    #[test]
    fn a_file_may_be_as_large_as_the_limit_and_no_larger() {
        assert_eq!(read_capped(&b"12345"[..], 5).unwrap(), b"12345");
        assert!(read_capped(&b"123456"[..], 5).is_err());
    }
}
