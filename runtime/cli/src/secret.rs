//! `cofferdam secret`: credentials in, never out.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use cofferdam_domain::{ConnectionName, CredentialName};
use cofferdam_vault::{CredentialInfo, SECRET_BYTES_MAX};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::api::{ApiArguments, Request};
use crate::output::Output;
use crate::render::{Table, moment};
use crate::{files, paint::Paint};

/// Set and list the credentials of connections
///
/// A secret is sealed on the server when it arrives there and attached to a request when it leaves. It cannot be read
/// back: not with this command, not by a connector, not by an admin.
#[derive(Debug, clap::Args)]
pub(crate) struct Secret {
    #[command(subcommand)]
    command: SecretCommand,

    #[command(flatten)]
    api: ApiArguments,
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    /// Set a secret: typed without echo, piped in, or from a file
    ///
    /// One line end (LF or CRLF) at the end of the value is taken off; everything else is kept byte for byte. A connection
    /// that was parked because of the old value goes on at once.
    #[command(after_help = "\
Examples:
  cofferdam secret set slack-alerts bot-token       asks for it, without echo
  pass show slack/bot | cofferdam secret set slack-alerts bot-token
  cofferdam secret set github webhook-secret --from-file ./webhook.secret

There is no way to give the value as an argument: every user of this machine could read it there.")]
    Set {
        /// The connection that it belongs to
        connection: ConnectionName,

        /// Its name, as the connection's file calls it
        credential: CredentialName,

        /// Read the value from this file instead of standard input
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
    },
    /// Show which secrets are set and since when; never a value
    List,
}

#[derive(Serialize, Deserialize)]
struct SecretSet {
    version: u64,
}

impl Secret {
    pub(crate) async fn run(self, output: &Output) -> anyhow::Result<()> {
        let api = self.api.client()?;
        match self.command {
            SecretCommand::Set {
                connection,
                credential,
                from_file,
            } => {
                let mut value = read_value(from_file, &format!("{connection}/{credential}"))?;
                let path = ["v1", "connections", connection.as_str(), "secrets", credential.as_str()];
                let request = Request::put(&path).body("application/octet-stream", std::mem::take(&mut *value));
                let set: SecretSet = api.send(request).await?;
                output.show(&set, |_| {
                    format!("{connection}/{credential} is set (version {})", set.version)
                })
            }
            SecretCommand::List => {
                let secrets: Vec<CredentialInfo> = api.send(Request::get(&["v1", "secrets"])).await?;
                output.show(&secrets, |paint| listed(&secrets, paint))
            }
        }
    }
}

/// From the file, from the terminal without echo, or from the pipe.
fn read_value(file: Option<PathBuf>, name: &str) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let bytes_max = SECRET_BYTES_MAX as u64 + 2;
    let bytes = match file {
        Some(path) => files::read(&path, bytes_max)?,
        None if io::stdin().is_terminal() => {
            let typed = rpassword::prompt_password(format!("{name}: "));
            typed
                .context("the terminal cannot be read without echo; pipe the value in")?
                .into_bytes()
        }
        None => files::read_capped(io::stdin().lock(), bytes_max).context("standard input")?,
    };
    let mut bytes = Zeroizing::new(bytes);
    let length = without_line_end(&bytes).len();
    bytes.truncate(length);
    if bytes.is_empty() {
        bail!("the value is empty; nothing was changed");
    }
    Ok(bytes)
}

/// Editors and `echo` end a file with a line end that is no part of the secret. One is taken off.
fn without_line_end(bytes: &[u8]) -> &[u8] {
    match bytes.strip_suffix(b"\n") {
        Some(rest) => rest.strip_suffix(b"\r").unwrap_or(rest),
        None => bytes,
    }
}

fn listed(secrets: &[CredentialInfo], paint: Paint) -> String {
    if secrets.is_empty() {
        return "No secrets are set. Set one with: cofferdam secret set CONNECTION CREDENTIAL".to_owned();
    }
    let mut table = Table::new(["CONNECTION", "CREDENTIAL", "VERSION", "SET (UTC)"]);
    for secret in secrets {
        table.row([
            secret.connection.to_string(),
            secret.name.to_string(),
            secret.version.to_string(),
            moment(secret.updated_at),
        ]);
    }
    table.render(paint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_no_part_of_a_secret() {
        for (given, expected) in [
            (&b"s3cret\n"[..], &b"s3cret"[..]),
            (b"s3cret\r\n", b"s3cret"),
            (b"s3cret", b"s3cret"),
            (b"s3cret\n\n", b"s3cret\n"),
            (b" s3cret ", b" s3cret "),
            (b"s3cret\r", b"s3cret\r"),
            (b"\n", b""),
        ] {
            assert_eq!(without_line_end(given), expected);
        }
    }

    #[test]
    fn a_value_is_read_from_its_file_and_an_empty_one_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        assert_eq!(*read_value(Some(file.path().to_owned()), "x").unwrap(), b"s3cret");
        std::fs::write(file.path(), "\n").unwrap();
        assert!(read_value(Some(file.path().to_owned()), "x").is_err());
        std::fs::write(file.path(), "x".repeat(SECRET_BYTES_MAX + 3)).unwrap();
        assert!(read_value(Some(file.path().to_owned()), "x").is_err());
    }
}
