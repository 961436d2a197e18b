//! Reading a request's body: capped in size and in time, and only after the caller is known.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::app::App;
use crate::problem::Problem;

/// A body that takes longer is somebody holding a socket.
const BODY_READ_MAX: Duration = Duration::from_secs(20);

/// The whole body.
pub(super) async fn read(app: &App, body: Body) -> Result<Bytes, Problem> {
    let max = app.limits.body_bytes;
    match tokio::time::timeout(BODY_READ_MAX, Limited::new(body, max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("the body is larger than {max} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail))
        }
        Ok(Err(_broken_off)) => {
            let detail = "the body could not be read to its end";
            Err(Problem::new(StatusCode::BAD_REQUEST, "body-unreadable", detail))
        }
        Err(_elapsed) => {
            let detail = format!("the body did not arrive within {} s", BODY_READ_MAX.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", detail))
        }
    }
}
