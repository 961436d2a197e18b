//! `cofferdam secret`: credentials in, never out.

mod authorize;

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::Subcommand;
use cofferdam_domain::{ConnectionName, CredentialName, Timestamp};
use cofferdam_server::admin::{FactPage, SecretRemoved, SecretSet};
use cofferdam_vault::{CredentialInfo, FactId, Renewal, SECRET_BYTES_MAX};
use zeroize::Zeroizing;

use self::authorize::Authorize;
use crate::api::{ApiArguments, Request};
use crate::confirm::confirm;
use crate::output::Output;
use crate::paint::Paint;
use crate::render::{Table, moment};
use crate::times;

/// Set, rotate and list the credentials of connections
///
/// A secret is sealed on the server when it arrives there and attached to a request when it leaves. It cannot be read
/// back: not with this command, not by a connector, not by an admin.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A secret in the course of time:
  cofferdam secret set github webhook-secret --expires 2027-06-01
  cofferdam secret rotate github webhook-secret --overlap 24h
  cofferdam secret list                             what is set, and what expires when
  cofferdam secret history github                   what happened to it")]
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
    /// One line end (LF or CRLF) at the end of the value is taken off; everything else is kept byte for byte. A value before it
    /// stops at once. A connection that was parked because of the old value goes on at once.
    #[command(after_help = "\
Examples:
  cofferdam secret set slack-alerts bot-token       asks for it, without echo
  pass show slack/bot | cofferdam secret set slack-alerts bot-token
  cofferdam secret set github webhook-secret --from-file ./webhook.secret
  cofferdam secret set github api-token --expires 2027-06-01

There is no way to give the value as an argument: every user of this machine could read it there.")]
    Set {
        #[command(flatten)]
        of: Of,

        #[command(flatten)]
        value: Value,
    },
    /// Give a secret that is set a new value, and accept the old one for a while
    ///
    /// Requests that leave carry the new value at once. Webhooks that come in may be signed with either until the overlap is
    /// over: change the secret here, then at the provider, and nothing is refused in between. Up to three values before the
    /// present one are accepted; a further rotation ends the oldest. `secret set` ends all of them at once, for a value that
    /// somebody else may know.
    #[command(after_help = "\
Examples:
  cofferdam secret rotate github webhook-secret     the old one is accepted for 24 h
  cofferdam secret rotate github webhook-secret --overlap 7d --expires 2027-06-01
  pass show github/new | cofferdam secret rotate github webhook-secret")]
    Rotate {
        #[command(flatten)]
        of: Of,

        /// How long the old value is accepted: 30m, 24h, 7d; at most 30d
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = span)]
        overlap: Duration,

        #[command(flatten)]
        value: Value,
    },
    /// Show which secrets are set, since when, and what expires; never a value
    List {
        /// Only those of this connection
        #[arg(long, value_name = "NAME")]
        connection: Option<ConnectionName>,
    },
    /// Show what happened to secrets, latest first: set, rotated, expiring, reflected and the like
    #[command(after_help = "\
Examples:
  cofferdam secret history                          of every connection
  cofferdam secret history github webhook-secret
  cofferdam secret history --json | jq '.items[] | select(.kind == \"reflected\")'

A connection keeps its latest 512 facts, for up to 400 days.")]
    History {
        /// Only those of this connection
        connection: Option<ConnectionName>,

        /// Only those of this credential of it
        credential: Option<CredentialName>,

        /// At most so many, 1 to 500
        #[arg(long, value_name = "COUNT", default_value_t = 50)]
        limit: usize,

        /// Only those before this one: what the page before ends with
        #[arg(long, value_name = "ID")]
        before: Option<FactId>,
    },
    /// Connect the account of an upstream that takes OAuth 2.0 tokens: prints where a person consents
    ///
    /// The host stores the tokens itself, renews them ahead of time and never shows them. A connection that was parked for want
    /// of a consent goes on at once.
    #[command(after_help = "\
Examples:
  cofferdam secret authorize crm api                prints the link
  cofferdam secret authorize crm api --wait         and waits until somebody has consented")]
    Authorize(Authorize),
    /// Remove a secret for good; every value of it stops at once
    #[command(after_help = "\
Examples:
  cofferdam secret remove slack-alerts bot-token
  cofferdam secret remove slack-alerts bot-token --yes

A connection that still names it parks at its next delivery, and its hook refuses every request.")]
    Remove {
        #[command(flatten)]
        of: Of,

        /// Do it without asking
        #[arg(long)]
        yes: bool,
    },
}

/// Which secret.
#[derive(Debug, clap::Args)]
struct Of {
    /// The connection that it belongs to
    connection: ConnectionName,

    /// Its name, as the connection's file calls it
    credential: CredentialName,
}

/// A new value, and what is known of it.
#[derive(Debug, clap::Args)]
struct Value {
    /// Read the value from this file instead of standard input
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,

    /// When it expires: 2027-06-01, or 2027-06-01T09:00:00Z. You are told 30, 7 and 1 days ahead; nothing stops at that moment
    #[arg(long, value_name = "DATE", value_parser = date)]
    expires: Option<Timestamp>,
}

impl Of {
    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let (connection, credential) = (self.connection.as_str(), self.credential.as_str());
        [&["v1", "connections", connection, "secrets", credential], rest].concat()
    }
}

impl fmt::Display for Of {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.connection, self.credential)
    }
}

impl Secret {
    pub(crate) async fn run(self, output: &Output) -> anyhow::Result<()> {
        let api = self.api.client()?;
        match self.command {
            SecretCommand::Authorize(authorize) => authorize.run(&api, output).await,
            SecretCommand::Set { of, value } => {
                let request = with_value(Request::put(&of.path(&[])), &of, value)?;
                let set: SecretSet = api.send(request).await?;
                output.show(&set, |_| is_set(&of, &set))
            }
            SecretCommand::Rotate { of, overlap, value } => {
                let request = Request::post(&of.path(&["rotate"])).query("overlap_s", Some(overlap.as_secs()));
                let set: SecretSet = api.send(with_value(request, &of, value)?).await?;
                output.show(&set, |_| is_set(&of, &set))
            }
            SecretCommand::List { connection } => {
                let request = Request::get(&["v1", "secrets"]).query("connection", connection);
                let secrets: Vec<CredentialInfo> = api.send(request).await?;
                let now = Timestamp::from_system(SystemTime::now());
                output.show(&secrets, |paint| listed(&secrets, now, paint))
            }
            SecretCommand::History {
                connection,
                credential,
                limit,
                before,
            } => {
                let request = Request::get(&["v1", "secrets", "facts"])
                    .query("connection", connection)
                    .query("credential", credential)
                    .query("limit", Some(limit))
                    .query("before", before);
                let page: FactPage = api.send(request).await?;
                output.show(&page, |paint| history(&page, paint))
            }
            SecretCommand::Remove { of, yes } => {
                if !yes {
                    confirm(&format!("remove {of} for good"))?;
                }
                let removed: SecretRemoved = api.send(Request::delete(&of.path(&[]))).await?;
                output.show(&removed, |_| format!("{of} is removed"))
            }
        }
    }
}

fn with_value(request: Request, of: &Of, value: Value) -> anyhow::Result<Request> {
    let mut bytes = read_value(value.from_file, &of.to_string())?;
    Ok(request
        .query("expires_at", value.expires)
        .body("application/octet-stream", std::mem::take(&mut *bytes)))
}

fn span(text: &str) -> Result<Duration, &'static str> {
    times::span(text).ok_or("a time is written as 30m, 24h or 7d")
}

fn date(text: &str) -> Result<Timestamp, &'static str> {
    times::moment(text).ok_or("a date is written as 2027-06-01 or 2027-06-01T09:00:00Z")
}

fn is_set(of: &Of, set: &SecretSet) -> String {
    let mut text = format!("{of} is set (version {})", set.version);
    if let Some(at) = set.expires_at {
        text.push_str(&format!("; it expires at {} UTC", moment(at)));
    }
    if let Some(until) = set.previous_until {
        text.push_str(&format!(
            "\nthe value before is accepted until {} UTC: change it at the provider by then",
            moment(until)
        ));
    }
    text
}

/// From the file, from the terminal without echo, or from the pipe. What was read is wiped in the end, and never moved.
fn read_value(file: Option<PathBuf>, name: &str) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = match file {
        Some(path) => {
            let read = File::open(&path).and_then(read_secret);
            read.with_context(|| format!("{} cannot be read", path.display()))?
        }
        None if io::stdin().is_terminal() => {
            let typed = rpassword::prompt_password(format!("{name}: "));
            let typed = typed.context("the terminal cannot be read without echo; pipe the value in")?;
            Zeroizing::new(typed.into_bytes())
        }
        None => read_secret(io::stdin().lock()).context("standard input")?,
    };
    let length = without_line_end(&bytes).len();
    bytes.truncate(length);
    match length {
        0 => bail!("the value is empty; nothing was changed"),
        1..=SECRET_BYTES_MAX => Ok(bytes),
        _ => bail!("the value is larger than {SECRET_BYTES_MAX} bytes; nothing was changed"),
    }
}

/// As much as a secret and a line end may be, and a byte more for what is too large, in a buffer that need not grow.
fn read_secret(reader: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let bytes_max = SECRET_BYTES_MAX + 3;
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * bytes_max));
    reader.take(bytes_max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Editors and `echo` end a file with a line end that is no part of the secret. One is taken off.
fn without_line_end(bytes: &[u8]) -> &[u8] {
    match bytes.strip_suffix(b"\n") {
        Some(rest) => rest.strip_suffix(b"\r").unwrap_or(rest),
        None => bytes,
    }
}

fn listed(secrets: &[CredentialInfo], now: Timestamp, paint: Paint) -> String {
    if secrets.is_empty() {
        return "No secrets are set. Set one with: cofferdam secret set CONNECTION CREDENTIAL".to_owned();
    }
    let mut table = Table::new([
        "CONNECTION",
        "CREDENTIAL",
        "VERSION",
        "SET (UTC)",
        "EXPIRES (UTC)",
        "OLD ONE ACCEPTED UNTIL (UTC)",
    ]);
    for secret in secrets {
        let previous_until = secret.previous_until(now).map(moment);
        table.row([
            secret.connection.to_string(),
            secret.name.to_string(),
            secret.version.to_string(),
            moment(secret.updated_at),
            expiry(secret, now),
            previous_until.unwrap_or_default(),
        ]);
    }
    table.render(paint)
}

fn expiry(secret: &CredentialInfo, now: Timestamp) -> String {
    let note = match (secret.expires_at, secret.renewal) {
        (None, _) => return "-".to_owned(),
        (Some(at), Renewal::ByHost) if now < at => " (renewed by the server)",
        (Some(at), Renewal::ByPerson) if now < at => "",
        (Some(_), _) => " EXPIRED",
    };
    format!("{}{note}", secret.expires_at.map(moment).unwrap_or_default())
}

fn history(page: &FactPage, paint: Paint) -> String {
    if page.items.is_empty() {
        return "Nothing is known to have happened.".to_owned();
    }
    let mut table = Table::new([
        "WHEN (UTC)",
        "CONNECTION",
        "CREDENTIAL",
        "VERSION",
        "WHAT",
        "BY",
        "MORE",
    ]);
    for fact in &page.items {
        table.row([
            moment(fact.at),
            fact.connection.to_string(),
            fact.credential.to_string(),
            fact.version.map(|version| version.to_string()).unwrap_or_default(),
            fact.kind.as_str().to_owned(),
            fact.by.clone().unwrap_or_default(),
            fact.detail.clone().unwrap_or_default(),
        ]);
    }
    let mut text = table.render(paint);
    if let Some(next) = page.next {
        text.push_str(&format!("\nThere may be more: --before {next}\n"));
    }
    text
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
        for (bytes, good) in [
            (SECRET_BYTES_MAX, true),
            (SECRET_BYTES_MAX + 1, false),
            (SECRET_BYTES_MAX + 9, false),
        ] {
            std::fs::write(file.path(), "x".repeat(bytes) + "\r\n").unwrap();
            assert_eq!(read_value(Some(file.path().to_owned()), "x").is_ok(), good, "{bytes}");
        }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn info(expires_at: Option<&str>, renewal: Renewal, until: Option<&str>) -> CredentialInfo {
        let previous = until.map(|until| cofferdam_vault::Previous {
            version: 1,
            until: at(until),
        });
        CredentialInfo {
            workspace: "default".parse().unwrap(),
            connection: "github".parse().unwrap(),
            name: "token".parse().unwrap(),
            version: 2,
            created_at: at("2026-11-01T00:00:00Z"),
            updated_at: at("2026-11-02T00:00:00Z"),
            expires_at: expires_at.map(at),
            renewal,
            refreshed: false,
            previous: previous.into_iter().collect(),
        }
    }

    #[test]
    fn a_list_says_what_expires_and_which_old_value_is_still_accepted() {
        let secrets = [
            info(None, Renewal::ByPerson, None),
            info(
                Some("2026-12-01T00:00:00Z"),
                Renewal::ByPerson,
                Some("2026-11-25T12:00:00Z"),
            ),
            info(
                Some("2026-11-25T00:00:00Z"),
                Renewal::ByPerson,
                Some("2026-11-25T00:00:00Z"),
            ),
            info(Some("2026-12-01T00:00:00Z"), Renewal::ByHost, None),
        ];
        let expected = "\
CONNECTION  CREDENTIAL  VERSION  SET (UTC)            EXPIRES (UTC)                                OLD ONE ACCEPTED UNTIL (UTC)
github      token       2        2026-11-02 00:00:00  -
github      token       2        2026-11-02 00:00:00  2026-12-01 00:00:00                          2026-11-25 12:00:00
github      token       2        2026-11-02 00:00:00  2026-11-25 00:00:00 EXPIRED
github      token       2        2026-11-02 00:00:00  2026-12-01 00:00:00 (renewed by the server)
";
        assert_eq!(listed(&secrets, at("2026-11-25T00:00:00Z"), Paint::Plain), expected);
    }

    #[test]
    fn a_history_cannot_drive_the_terminal_and_says_how_to_go_on() {
        let fact = cofferdam_vault::Fact {
            id: "000000000000002a".parse().unwrap(),
            at: at("2026-11-02T00:00:00Z"),
            workspace: "default".parse().unwrap(),
            connection: "github".parse().unwrap(),
            credential: "token".parse().unwrap(),
            kind: cofferdam_vault::FactKind::Rotated,
            version: Some(2),
            by: Some("a\u{1b}b".to_owned()),
            detail: None,
        };
        let page = FactPage {
            next: Some(fact.id),
            items: vec![fact],
        };
        let expected = "\
WHEN (UTC)           CONNECTION  CREDENTIAL  VERSION  WHAT     BY   MORE
2026-11-02 00:00:00  github      token       2        rotated  a\u{fffd}b

There may be more: --before 000000000000002a
";
        assert_eq!(history(&page, Paint::Plain), expected);
    }

    #[test]
    fn a_rotation_says_until_when_the_old_value_is_accepted() {
        let of = Of {
            connection: "github".parse().unwrap(),
            credential: "token".parse().unwrap(),
        };
        let set = SecretSet {
            version: 3,
            expires_at: None,
            previous_until: Some(at("2026-11-26T01:02:03Z")),
        };
        assert_eq!(
            is_set(&of, &set),
            "github/token is set (version 3)\n\
             the value before is accepted until 2026-11-26 01:02:03 UTC: change it at the provider by then"
        );
    }
}
