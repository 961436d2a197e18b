//! Where a form was sent from, as the browser tells it. It comes before the form token, and does not replace it.

use axum::http::{HeaderMap, header};

/// Whether the browser says that another site sent the request.
///
/// `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/) is taken for the whole answer where a browser sends it: unlike
/// `Origin` it needs no comparison with a host name that a proxy may have changed. `Origin: null` says nothing: it is what
/// browsers send for our own forms, because our pages ask for `no-referrer`.
pub(super) fn is_foreign(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    if origin == "null" {
        return false;
    }
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, authority)| authority);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    authority.is_none() || authority != host
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_request_is_foreign_when_the_browser_says_so() {
        let cases: [(&[(&str, &str)], bool); 11] = [
            (&[], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "cross-site")], true),
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "https://panel"),
                    ("host", "10.0.0.1"),
                ],
                false,
            ),
            (&[("origin", "http://panel:7443"), ("host", "panel:7443")], false),
            (&[("origin", "http://panel:7443"), ("host", "panel:80")], true),
            (&[("origin", "http://evil"), ("host", "panel")], true),
            (&[("origin", "nonsense"), ("host", "nonsense")], true),
            (&[("origin", "null"), ("host", "panel")], false),
        ];
        for (headers, expected) in cases {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            assert_eq!(is_foreign(&map), expected, "{headers:?}");
        }
    }
}
