//! The style sheet, the icon, and the headers that every answer of the panel carries.

use std::sync::LazyLock;

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use cofferdam_domain::Digest;

pub(super) const STYLE_PATH: &str = "/panel/style.css";
pub(super) const ICON_PATH: &str = "/panel/icon.svg";

const STYLE: &str = include_str!("../../templates/panel/style.css");
const ICON: &str = include_str!("../../templates/panel/icon.svg");

/// The addresses below name the content by its hash, so what is behind one never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// No script at all, nothing from elsewhere, and in nobody's frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
     frame-ancestors 'none'; base-uri 'none'";

static STYLE_HREF: LazyLock<String> = LazyLock::new(|| hashed(STYLE_PATH, STYLE));
static ICON_HREF: LazyLock<String> = LazyLock::new(|| hashed(ICON_PATH, ICON));

fn hashed(path: &str, content: &str) -> String {
    format!("{path}?v={}", Digest::of(content.as_bytes()).short())
}

/// Where pages find the present style sheet.
pub(super) fn style_href() -> &'static str {
    &STYLE_HREF
}

/// Where pages find the present icon.
pub(super) fn icon_href() -> &'static str {
    &ICON_HREF
}

pub(super) async fn style() -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "text/css; charset=utf-8"),
            (header::CACHE_CONTROL, FOR_EVER),
        ],
        STYLE,
    )
}

pub(super) async fn icon() -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "image/svg+xml"),
            (header::CACHE_CONTROL, FOR_EVER),
        ],
        ICON,
    )
}

/// Adds what every answer of the panel carries. Pages show a tenant's affairs, so nothing keeps a copy of them.
pub(super) async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
