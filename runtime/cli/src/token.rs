//! `cofferdam token`: the right to ask a server.

use clap::{Subcommand, ValueEnum};
use cofferdam_server::tokens::Role;
use serde::{Deserialize, Serialize};

use crate::api::{ApiArguments, Request};
use crate::output::Output;

/// Make API tokens
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
        let TokenCommand::Create { name, role } = self.command;
        let body = serde_json::to_vec(&TokenRequest {
            name,
            role: role.into(),
        })?;
        let request = Request::post(&["v1", "tokens"]).body("application/json", body);
        let made: TokenMade = self.api.client()?.send(request).await?;
        // Nothing but the token, so that it can go straight into a file.
        output.show(&made, |_| made.token.clone())
    }
}
