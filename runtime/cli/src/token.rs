//! `cofferdam token`: the right to ask a server.

use clap::{Subcommand, ValueEnum};
use cofferdam_server::tokens::{Role, TokenId, TokenInfo};
use serde::{Deserialize, Serialize};

use crate::api::{ApiArguments, Request};
use crate::output::Output;
use crate::paint::Paint;
use crate::render::{Table, moment, printable};

/// Make, list and revoke API tokens
///
/// A server keeps the hash of a token and not the token: none can be read back. What is lost is revoked, and made anew.
#[derive(Debug, clap::Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    command: TokenCommand,

    #[command(flatten)]
    api: ApiArguments,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print it; this is the only time that it is seen
    #[command(after_help = "\
Examples:
  cofferdam token create --name shop --role ingest > shop.token
  cofferdam token create --name dashboards --role viewer")]
    Create {
        /// Who will use it; it appears in records as the one who did
        #[arg(long)]
        name: String,

        /// What it may do
        #[arg(long)]
        role: RoleName,
    },
    /// Show which tokens the workspace has, oldest first; never a token itself
    List,
    /// End a token for good: nothing takes it from then on, and who signed in to the panel with it is signed out
    #[command(after_help = "\
Examples:
  cofferdam token list
  cofferdam token revoke 3f2a91c07d5e

To put a new token in the place of one that is in use, make the new one, hand it over, and then revoke the old one. The last
token with the role admin cannot be revoked.")]
    Revoke {
        /// The token's id, as `token list` shows it
        id: TokenId,
    },
}

/// What a token may do, as it is written on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    /// Everything in the workspace
    Admin,
    /// Read everything but secrets, which nobody reads
    Viewer,
    /// Send events and nothing else
    Ingest,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Admin => Self::Admin,
            RoleName::Viewer => Self::Viewer,
            RoleName::Ingest => Self::Ingest,
        }
    }
}

#[derive(Serialize)]
struct TokenRequest {
    name: String,
    role: Role,
}

#[derive(Serialize, Deserialize)]
struct TokenMade {
    token: String,
}

impl Token {
    pub(crate) async fn run(self, output: &Output) -> anyhow::Result<()> {
        let api = self.api.client()?;
        match self.command {
            TokenCommand::Create { name, role } => {
                let body = serde_json::to_vec(&TokenRequest {
                    name,
                    role: role.into(),
                })?;
                let request = Request::post(&["v1", "tokens"]).body("application/json", body);
                let made: TokenMade = api.send(request).await?;
                // Nothing but the token, so that it can go straight into a file.
                output.show(&made, |_| made.token.clone())
            }
            TokenCommand::List => {
                let tokens: Vec<TokenInfo> = api.send(Request::get(&["v1", "tokens"])).await?;
                output.show(&tokens, |paint| listed(&tokens, paint))
            }
            TokenCommand::Revoke { id } => {
                let request = Request::delete(&["v1", "tokens", &id.to_string()]);
                let revoked: TokenInfo = api.send(request).await?;
                output.show(&revoked, |_| ended(&revoked))
            }
        }
    }
}

fn listed(tokens: &[TokenInfo], paint: Paint) -> String {
    let mut table = Table::new(["ID", "NAME", "ROLE", "MADE (UTC)"]);
    for token in tokens {
        table.row([
            token.id.to_string(),
            token.name.clone(),
            token.role.as_str().to_owned(),
            moment(token.created_at),
        ]);
    }
    table.render(paint)
}

fn ended(token: &TokenInfo) -> String {
    let (name, role) = (printable(&token.name), token.role.as_str());
    format!("{} is revoked ({name}, {role})", token.id)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use cofferdam_domain::Timestamp;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        token: Token,
    }

    fn token(name: &str, role: Role) -> TokenInfo {
        TokenInfo {
            id: "3f2a91c07d5e".parse().unwrap(),
            name: name.to_owned(),
            role,
            created_at: Timestamp::from_millis(1_000),
        }
    }

    #[test]
    fn a_list_names_each_token_by_its_id() {
        let expected = "\
ID            NAME         ROLE    MADE (UTC)
3f2a91c07d5e  first-admin  admin   1970-01-01 00:00:01
3f2a91c07d5e  shop\u{fffd}        ingest  1970-01-01 00:00:01
";
        let tokens = [token("first-admin", Role::Admin), token("shop\n", Role::Ingest)];
        assert_eq!(listed(&tokens, Paint::Plain), expected);
    }

    #[test]
    fn a_revoked_token_is_named_and_its_name_cannot_drive_the_terminal() {
        assert_eq!(
            ended(&token("a\u{1b}b", Role::Viewer)),
            "3f2a91c07d5e is revoked (a\u{fffd}b, viewer)"
        );
    }

    #[test]
    fn only_an_id_is_taken_for_one() {
        let line = Line::try_parse_from(["token", "revoke", "3f2a91c07d5e"]).unwrap();
        assert!(matches!(line.token.command, TokenCommand::Revoke { id } if id.to_string() == "3f2a91c07d5e"));
        for text in ["3F2A91C07D5E", "shop", "../connections", ""] {
            let refused = Line::try_parse_from(["token", "revoke", text]).unwrap_err();
            assert!(refused.to_string().contains("12 lower-case hex digits"), "{refused}");
        }
    }
}
