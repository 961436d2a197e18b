//! Where to go after signing in.

use std::fmt;

/// The longest path of a page: that of a trace is the longest.
const PATH_BYTES_MAX: usize = 256;

/// The path of a page of the panel. Nothing else is a destination, so no link can send a person elsewhere, and no
/// character of it means anything in a query string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination(String);

impl Destination {
    /// None unless the text is such a path.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.:".contains(&byte);
        let good = path.starts_with("/panel/")
            && !path.starts_with("/panel/sign-")
            && !path.contains("//")
            && path.len() <= PATH_BYTES_MAX
            && path.bytes().all(plain);
        good.then(|| Self(path.to_owned()))
    }

    /// The path.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_panel_are_destinations() {
        for good in ["/panel/connections", "/panel/traces/a:b_c.d-E1", "/panel/dead-letters"] {
            assert_eq!(Destination::parse(good).map(|it| it.to_string()).as_deref(), Some(good));
        }
        let long = format!("/panel/{}", "x".repeat(PATH_BYTES_MAX));
        for bad in [
            "",
            "/",
            "/v1/events",
            "//evil.example",
            "/panel//evil.example",
            "https://evil.example/panel/",
            "/panel/\\evil.example",
            "/panel/a?b=c",
            "/panel/a%0d%0ab",
            "/panel/sign-in",
            "/panel/sign-out",
            &long,
        ] {
            assert_eq!(Destination::parse(bad), None, "{bad}");
        }
    }
}
