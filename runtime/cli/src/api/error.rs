//! What can go wrong between this command and a server, in words that say what to do.

use std::io;
use std::path::PathBuf;

use cofferdam_server::problem::Problem;
use reqwest::Url;

/// No answer, or one that says no.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The address.
    #[error("{0:?} is no address of a server: write http://HOST:PORT or https://HOST")]
    BadUrl(String),
    /// No token was given.
    #[error(
        "no API token: set COFFERDAM_TOKEN_FILE to a file that holds one, or COFFERDAM_TOKEN to the token itself (a server's \
         first token is in admin.token of its data folder)"
    )]
    NoToken,
    /// The token cannot be sent.
    #[error("the API token holds characters that no token has; copy it again")]
    BadToken,
    /// The token's file.
    #[error("the token file {} cannot be read", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    /// No whole answer came.
    #[error("no answer from {base}: check that the server runs, and that this is its admin address (COFFERDAM_URL)")]
    Unreachable {
        /// Where it was asked.
        base: Url,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server says no.
    #[error("{}", explained(.0))]
    Refused(Box<Problem>),
    /// Something else answers there.
    #[error("{base} answers {status}, and not as a Cofferdam server does: is this its admin address (COFFERDAM_URL)?")]
    NotOurs {
        /// Where it was asked.
        base: Url,
        /// HTTP status.
        status: u16,
    },
    /// The answer has another form than this version knows.
    #[error("the answer of {base} cannot be read: are the server and this command of the same version?")]
    Unreadable {
        /// Where it was asked.
        base: Url,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The answer is over the limit.
    #[error("the answer is larger than {} bytes", super::ANSWER_BYTES_MAX)]
    TooLarge,
}

/// The server's own words, its mistakes by line, and what to do where it must not say more.
fn explained(problem: &Problem) -> String {
    let mut text = match problem.status {
        401 => "the server does not know this API token: set COFFERDAM_TOKEN_FILE or COFFERDAM_TOKEN to one that it has made"
            .to_owned(),
        _ => crate::render::printable(&problem.detail).into_owned(),
    };
    if let Some(seconds) = problem.retry_after_s {
        text.push_str(&format!("; come back in {seconds} s"));
    }
    for mistake in &problem.mistakes {
        text.push_str(&format!(
            "\n  line {}: {}",
            mistake.line,
            crate::render::printable(&mistake.text)
        ));
    }
    text
}
