//! What a connector may know about credentials: that one is there.

/// Whether the connection has a usable credential bound to this upstream. Its value cannot be asked for.
#[must_use]
pub fn exists(upstream: &str) -> bool {
    crate::host::credential_exists(upstream)
}
