//! Access tokens, as the server sees them: which upstreams take them, and the task that has them renewed ahead of time.

use std::time::Duration;

use cofferdam_domain::connection::ConnectionSpec;
use cofferdam_domain::{Connection, CredentialName};
use cofferdam_egress::{OAuth2, TokenSource};
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// How often tokens that are due are looked for. A token is renewed minutes before its end.
const PERIOD: Duration = Duration::from_secs(15);

/// After the drain, token requests under way have this long: an answer that is not taken is lost, and with it perhaps the
/// only refresh token that the server still knows.
const SETTLE_BOUND: Duration = Duration::from_secs(35);

/// Has tokens renewed until the server stops. Connections that are off are left alone.
pub(crate) async fn keep(app: App, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        for connection in app.connections.all() {
            if connection.enabled {
                app.oauth2.keep(sources(&app, &connection));
            }
        }
    }
}

/// Waits for the token requests that are under way.
pub(crate) async fn settle(oauth2: &OAuth2) {
    if tokio::time::timeout(SETTLE_BOUND, oauth2.settled()).await.is_err() {
        tracing::warn!("stopped with token requests under way; what they are answered is lost");
    }
}

/// Where the tokens of a connection's upstreams come from, of those that take any.
pub(crate) fn sources(app: &App, connection: &Connection) -> impl Iterator<Item = TokenSource> {
    // What was not granted has no say in where tokens go.
    let connector = app.plugins.running(connection).ok();
    connection.spec.upstreams.keys().filter_map(move |name| {
        let asked = connector
            .as_ref()
            .and_then(|connector| connector.descriptor.upstream(name));
        TokenSource::of(connection, name, asked.map(|asked| &asked.credential))
    })
}

/// Whether a credential holds tokens, which only the host writes.
pub(crate) fn holds_tokens(spec: &ConnectionSpec, credential: &CredentialName) -> bool {
    let mut upstreams = spec.upstreams.values();
    upstreams.any(|upstream| upstream.oauth2.is_some() && upstream.credential.as_ref() == Some(credential))
}

/// Whether tokens are obtained in another way.
pub(crate) fn differs(before: &ConnectionSpec, after: &ConnectionSpec) -> bool {
    let of = |spec: &ConnectionSpec| -> Vec<_> {
        let upstreams = spec.upstreams.iter();
        let with_tokens = upstreams.filter(|(_, upstream)| upstream.oauth2.is_some());
        with_tokens
            .map(|(name, upstream)| (name.clone(), upstream.oauth2.clone(), upstream.credential.clone()))
            .collect()
    };
    of(before) != of(after)
}
