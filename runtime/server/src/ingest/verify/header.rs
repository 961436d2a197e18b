//! Reading the headers that a check stands on.

use axum::http::HeaderMap;

use super::Unverified;

/// Longest value that is read, in bytes. The longest of an honest sender is some Standard Webhooks signatures in a row.
pub(super) const VALUE_BYTES_MAX: usize = 4 * 1024;

/// Most signatures of one header that are looked at: a sender in the middle of a rotation writes two or three.
pub(super) const SIGNATURES_MAX: usize = 16;

/// The only value of this header.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Unverified> {
    let mut values = headers.get_all(name).iter();
    let value = values
        .next()
        .ok_or_else(|| Unverified::MissingHeader(name.to_owned()))?;
    if values.next().is_some() {
        return Err(Unverified::RepeatedHeader(name.to_owned()));
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(Unverified::Malformed(
            "a header that it is checked by is longer than 4 KiB",
        ));
    }
    value
        .to_str()
        .map_err(|_| Unverified::Malformed("a header that it is checked by is not visible ASCII"))
}

/// The header's only value, if there is exactly one that can be read.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    one(headers, name).ok()
}
