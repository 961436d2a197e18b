//! Which server is meant, and by what right.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use reqwest::Url;
use secrecy::SecretString;

use super::{Api, ApiError};
use crate::{files, output};

/// Holds the token itself.
const TOKEN_VARIABLE: &str = "COFFERDAM_TOKEN";

/// Largest token file, in bytes.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// The server, for every command that talks to one.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ApiArguments {
    /// The server's admin listener
    #[arg(
        long,
        global = true,
        env = "COFFERDAM_URL",
        default_value = "http://127.0.0.1:8081",
        value_name = "URL",
        hide_env_values = true,
        help_heading = "Server"
    )]
    url: String,

    /// File that holds the API token; without it the token is taken from COFFERDAM_TOKEN
    #[arg(
        long,
        global = true,
        env = "COFFERDAM_TOKEN_FILE",
        value_name = "FILE",
        hide_env_values = true,
        help_heading = "Server"
    )]
    token_file: Option<PathBuf>,
}

impl ApiArguments {
    /// The client. Says so if the token crosses a network in the clear.
    pub(crate) fn client(&self) -> Result<Api, ApiError> {
        let token = token(self.token_file.as_deref(), std::env::var_os(TOKEN_VARIABLE))?;
        let api = Api::new(&self.url, &token)?;
        if api.is_in_the_clear() {
            output::complain(
                "warning: the API token crosses the network unencrypted; use https, or run this on the server",
            );
        }
        Ok(api)
    }
}

/// A token file, when one is named, wins over the variable. White space around the token is not part of it.
fn token(file: Option<&Path>, variable: Option<OsString>) -> Result<SecretString, ApiError> {
    let text = match file {
        Some(path) => {
            let read = File::open(path).and_then(|file| files::read_capped(file, TOKEN_FILE_BYTES_MAX));
            let bytes = read.map_err(|source| ApiError::TokenFile {
                path: path.to_owned(),
                source,
            })?;
            String::from_utf8(bytes).map_err(|_| ApiError::BadToken)?
        }
        None => variable
            .ok_or(ApiError::NoToken)?
            .into_string()
            .map_err(|_| ApiError::BadToken)?,
    };
    match text.trim() {
        "" => Err(ApiError::NoToken),
        token if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(SecretString::from(token)),
        _ => Err(ApiError::BadToken),
    }
}

/// An `http` or `https` address; what follows the host is kept as a prefix, for a server behind a proxy's path.
pub(super) fn base_url(text: &str) -> Result<Url, ApiError> {
    let bad = || ApiError::BadUrl(text.chars().take(120).collect());
    let url: Url = text.parse().map_err(|_| bad())?;
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if matches!(url.scheme(), "http" | "https") && plain {
        Ok(url)
    } else {
        Err(bad())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use secrecy::ExposeSecret;

    use super::*;

    fn file_with(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{text}").unwrap();
        file
    }

    #[test]
    fn a_token_file_wins_over_the_variable_and_is_trimmed() {
        let file = file_with("cofferdam_abc\n");
        let check = |file: Option<&Path>, variable: Option<&str>, expected: Option<&str>| {
            let token = token(file, variable.map(OsString::from));
            assert_eq!(token.as_ref().ok().map(ExposeSecret::expose_secret), expected);
        };
        check(Some(file.path()), Some("other"), Some("cofferdam_abc"));
        check(Some(file.path()), None, Some("cofferdam_abc"));
        check(None, Some(" other "), Some("other"));
        check(None, None, None);
        check(None, Some(""), None);
        check(None, Some("two words"), None);
    }

    #[test]
    fn a_token_file_that_cannot_be_one_is_refused() {
        let missing = token(Some(Path::new("/nowhere/token")), None).unwrap_err();
        assert!(matches!(missing, ApiError::TokenFile { .. }));
        let large = file_with(&"x".repeat(5000));
        assert!(matches!(
            token(Some(large.path()), None).unwrap_err(),
            ApiError::TokenFile { .. }
        ));
        let empty = file_with("\n");
        assert!(matches!(
            token(Some(empty.path()), None).unwrap_err(),
            ApiError::NoToken
        ));
    }

    #[test]
    fn only_plain_http_addresses_name_a_server() {
        for good in [
            "http://127.0.0.1:8081",
            "https://ops.example/cofferdam/",
            "http://[::1]:1",
        ] {
            assert!(base_url(good).is_ok(), "{good}");
        }
        for bad in [
            "127.0.0.1:8081",
            "ftp://a",
            "http://user:pw@a",
            "http://a?token=x",
            "",
            "http://a#b",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }
}
