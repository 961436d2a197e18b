//! The check of a request to a hook, and who is told what of it: the sender 401, the operator the reason.

use std::time::Instant;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use cofferdam_domain::{Connection, InboundScheme};

use super::verify::{self, Incoming, Unverified};
use crate::app::App;
use crate::metrics::UnverifiedLabels;
use crate::problem::Problem;

/// What is known of a request that passed.
pub(super) struct Verified {
    /// The provider's own id of the delivery.
    pub(super) provider_id: Option<String>,
    /// What a provider's handshake asks to have back: the request is nothing else.
    pub(super) challenge: Option<String>,
}

/// 401 unless the connection's scheme holds.
pub(super) fn authenticate(app: &App, connection: &Connection, incoming: &Incoming<'_>) -> Result<Verified, Problem> {
    let grant = connection
        .spec
        .inbound
        .as_ref()
        .ok_or_else(|| Problem::not_found("such hook"))?;
    let secrets = match &grant.credential {
        Some(credential) => app
            .vault
            .active(&connection.workspace, &connection.spec.name, credential)
            .map_err(|error| Problem::internal("reading the signing secret", &error))?,
        None => Vec::new(),
    };
    if let Err(unverified) = verify::verify(grant, &secrets, incoming) {
        tell(app, connection, grant.scheme, &unverified);
        return Err(Problem::unauthorized());
    }
    Ok(Verified {
        provider_id: verify::delivery_id(grant, incoming),
        challenge: match grant.scheme {
            InboundScheme::Slack => verify::challenge(incoming.body),
            InboundScheme::Github
            | InboundScheme::StandardWebhooks
            | InboundScheme::Stripe
            | InboundScheme::Shopify
            | InboundScheme::Twilio
            | InboundScheme::Hmac
            | InboundScheme::Basic
            | InboundScheme::Bearer
            | InboundScheme::None => None,
        },
    })
}

fn tell(app: &App, connection: &Connection, scheme: InboundScheme, unverified: &Unverified) {
    let labels = UnverifiedLabels::of(connection, unverified.label());
    app.metrics.unverified.get_or_create(&labels).inc();
    if let Some(requests) = app.refusals.one_more(connection, Instant::now()) {
        tracing::warn!(
            workspace = %connection.workspace, connection = %connection.spec.name, %scheme, requests,
            reason = unverified.label(),
            "requests to a hook failed their check; the latest: {unverified}"
        );
    }
}

/// Said at each start, so that nobody forgets one.
pub(crate) fn warn_of_unchecked_hooks(app: &App) {
    for connection in app.connections.all() {
        let scheme = connection.spec.inbound.as_ref().map(|inbound| inbound.scheme);
        if scheme == Some(InboundScheme::None) {
            tracing::warn!(
                workspace = %connection.workspace, connection = %connection.spec.name,
                "requests to its hook are {}", InboundScheme::None.in_words()
            );
        }
    }
}

/// The 401. A client of Basic that was not asked for it sends no password (RFC 7617 section 2); the scheme is no secret.
pub(super) fn refusal(problem: Problem, scheme: Option<InboundScheme>) -> Response {
    let unauthorized = problem.status == 401;
    let mut response = problem.into_response();
    if unauthorized && scheme == Some(InboundScheme::Basic) {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"hook\", charset=\"UTF-8\""),
        );
    }
    response
}
