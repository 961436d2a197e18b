//! Header names that only the host writes: one list for what guests may send and for what a credential slot may name.
//!
//! Names compare folded. CGI and what descends from it (WSGI, Rack, PHP) hands `x-a` and `x_a` to an application as one
//! variable (RFC 3875 section 4.1.18), and some servers treat every other mark alike, so a name that differs from a listed
//! one in its marks only is that name.

/// Headers that frame the message, route it, name the host, carry the trace, or put another method or path behind the
/// granted one; folded. Every name that starts with `proxy-` is another.
pub const HOST_HEADERS: [&str; 22] = [
    "accept-encoding",
    "baggage",
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-host",
    // Servers that honour these would see another method or path than the one that was granted.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// The name as it compares: letters in lower case, everything but letters and digits as `-`.
pub fn folded(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect()
}

/// Whether nobody but the host writes the header of this folded name.
pub fn is_hosts(folded: &str) -> bool {
    HOST_HEADERS.contains(&folded) || folded.starts_with("proxy-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_case_and_marks_only_are_one() {
        for name in ["Content-Length", "content_length", "CONTENT.LENGTH", "content-length"] {
            assert_eq!(folded(name), "content-length");
        }
        for name in HOST_HEADERS {
            assert_eq!(folded(name), name, "the list is folded");
        }
        assert!(is_hosts("proxy-anything"));
        assert!(!is_hosts("content-type"));
    }
}
