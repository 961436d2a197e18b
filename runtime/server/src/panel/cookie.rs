//! Cookies of the panel: never readable by a script, and never sent along with a request from another site but where that
//! is their use.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};

/// A cookie of the panel.
pub(super) struct Cookie {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) max_age: Duration,
    pub(super) same_site: SameSite,
}

/// Which requests from other sites it goes along with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SameSite {
    /// None.
    Strict,
    /// Links that a person follows.
    Lax,
}

impl Cookie {
    /// What the browser sent under this name.
    pub(super) fn read<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let sent = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut pairs = sent
            .flat_map(|text| text.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.name).map(|(_, value)| value)
    }

    /// The `Set-Cookie` value that keeps `value`, which is one of our own: letters, digits, `-` and `_`.
    pub(super) fn keep(&self, value: &str, headers: &HeaderMap) -> HeaderValue {
        self.written(value, self.max_age, headers)
    }

    /// The `Set-Cookie` value that makes the browser forget it.
    pub(super) fn forget(&self, headers: &HeaderMap) -> HeaderValue {
        self.written("", Duration::ZERO, headers)
    }

    fn written(&self, value: &str, max_age: Duration, headers: &HeaderMap) -> HeaderValue {
        let secure = if came_by_https(headers) { "; Secure" } else { "" };
        let (name, path, seconds) = (self.name, self.path, max_age.as_secs());
        let same_site = match self.same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
        };
        let text = format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}");
        HeaderValue::from_str(&text).expect("names, paths and values of our cookies are plain ASCII")
    }
}

/// The listener itself speaks HTTP. A proxy in front of it that speaks HTTPS says so in `X-Forwarded-Proto`; a caller that
/// lies there spoils nothing but its own cookie.
fn came_by_https(headers: &HeaderMap) -> bool {
    headers
        .get("x-forwarded-proto")
        .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE: Cookie = Cookie {
        name: "cofferdam_x",
        path: "/",
        max_age: Duration::from_secs(60),
        same_site: SameSite::Strict,
    };

    #[test]
    fn a_cookie_is_found_by_its_whole_name_only() {
        for (sent, expected) in [
            ("cofferdam_x=1", Some("1")),
            ("a=b; cofferdam_x=1; cofferdam_x=2", Some("1")),
            ("not_cofferdam_x=1", None),
            ("cofferdam_x", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(sent))]);
            assert_eq!(COOKIE.read(&headers), expected, "{sent}");
        }
    }

    #[test]
    fn a_cookie_is_secure_when_a_proxy_says_that_it_came_by_https() {
        let https = HeaderMap::from_iter([(
            header::HeaderName::from_static("x-forwarded-proto"),
            HeaderValue::from_static("https"),
        )]);
        let plain = "cofferdam_x=v; Path=/; Max-Age=60; HttpOnly; SameSite=Strict";
        assert_eq!(COOKIE.keep("v", &HeaderMap::new()), plain);
        assert_eq!(COOKIE.keep("v", &https), format!("{plain}; Secure"));
        assert_eq!(
            COOKIE.forget(&HeaderMap::new()),
            "cofferdam_x=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
        );
    }
}
