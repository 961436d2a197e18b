//! The `Host` of requests to the admin listener. A page that an admin's browser has loaded from elsewhere can point its own
//! name at this listener (DNS rebinding); what it then asks for carries its name here, and is refused.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::problem::Problem;

/// 421 (RFC 9110 section 15.5.20) unless the request names an address, `localhost`, or a name of `listen.admin_hosts`.
pub(super) async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    if host.is_some_and(|host| is_ours(host, &app.admin_hosts)) {
        return next.run(request).await;
    }
    let detail =
        "this listener is not called by that name; call it by its address or add the name to listen.admin_hosts";
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host", detail).into_response()
}

fn is_ours(host: &str, names: &Arc<[String]>) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    bare.parse::<IpAddr>().is_ok()
        || bare.eq_ignore_ascii_case("localhost")
        || names.iter().any(|ours| ours.eq_ignore_ascii_case(bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_localhost_and_listed_names_are_ours() {
        let names: Arc<[String]> = Arc::new(["panel.example.com".to_owned()]);
        for ours in [
            "127.0.0.1",
            "127.0.0.1:8081",
            "[::1]:8081",
            "[::1]",
            "localhost:8081",
            "LOCALHOST",
            "panel.example.com:443",
        ] {
            assert!(is_ours(ours, &names), "{ours}");
        }
        for other in [
            "",
            "evil.example",
            "evil.example:8081",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "panel.example.com.evil",
        ] {
            assert!(!is_ours(other, &names), "{other}");
        }
    }
}
