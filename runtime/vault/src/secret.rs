//! A secret in memory: wiped when dropped, and in the way of nothing that prints.

use std::fmt;

use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

/// Largest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;

/// The value of a credential: 1 to [`SECRET_BYTES_MAX`] bytes.
pub struct Secret(SecretSlice<u8>);

/// The value is empty or over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret is 1 to {SECRET_BYTES_MAX} bytes; this one has {bytes}")]
pub struct BadSecretSize {
    bytes: usize,
}

impl Secret {
    /// Takes the bytes over and wipes where they were.
    ///
    /// # Errors
    /// When there are none, or too many.
    pub fn new(bytes: Vec<u8>) -> Result<Self, BadSecretSize> {
        let bytes = Zeroizing::new(bytes);
        if !(1..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            return Err(BadSecretSize { bytes: bytes.len() });
        }
        // A copy of exact size: shrinking a vector would leave its old place as it was.
        Ok(Self(bytes.as_slice().to_vec().into()))
    }

    /// The bytes. Every use of them is found by this name.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

/// Prints nothing of the value, not even its size.
impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_bounded_on_both_sides() {
        let check = |bytes: usize, good: bool| assert_eq!(Secret::new(vec![7; bytes]).is_ok(), good, "{bytes}");
        check(0, false);
        check(1, true);
        check(SECRET_BYTES_MAX, true);
        check(SECRET_BYTES_MAX + 1, false);
    }

    #[test]
    fn debug_prints_nothing_of_a_secret() {
        let secret = Secret::new(b"hunter2".to_vec()).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret");
        assert_eq!(secret.expose(), b"hunter2");
    }
}
