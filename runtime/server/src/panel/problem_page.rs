//! A problem as a page: the same words that the API answers with.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::problem::Problem;

/// A problem, shown to a person.
#[derive(Template)]
#[template(path = "panel/problem.html")]
pub(super) struct ProblemPage {
    problem: Box<Problem>,
}

impl From<Problem> for ProblemPage {
    fn from(problem: Problem) -> Self {
        Self {
            problem: Box::new(problem),
        }
    }
}

impl ProblemPage {
    fn title(&self) -> &'static str {
        match self.problem.status {
            404 => "Not found",
            403 => "Not allowed",
            400..=499 => "That did not work",
            _ => "Something went wrong",
        }
    }
}

impl IntoResponse for ProblemPage {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = match self.render() {
            Ok(html) => (status, Html(html)).into_response(),
            Err(_) => (status, self.problem.detail.clone()).into_response(),
        };
        if let Some(seconds) = self.problem.retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
