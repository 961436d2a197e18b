//! `cofferdam secret authorize`: where a person connects an upstream's account, and whether they have.

use std::time::Duration;

use anyhow::bail;
use cofferdam_domain::{ConnectionName, UpstreamName};
use cofferdam_server::admin::{ConsentStarted, ConsentState, TokensView};

use crate::api::{Api, Request};
use crate::output::{self, Output};

/// How often the server is asked.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What `authorize` is given.
#[derive(Debug, clap::Args)]
pub(super) struct Authorize {
    /// The connection
    connection: ConnectionName,

    /// The upstream of it that takes OAuth 2.0 tokens
    upstream: UpstreamName,

    /// Wait until the person has consented, and fail if they have not
    #[arg(long)]
    wait: bool,
}

impl Authorize {
    pub(super) async fn run(self, api: &Api, output: &Output) -> anyhow::Result<()> {
        let (connection, upstream) = (self.connection.as_str(), self.upstream.as_str());
        let at = ["v1", "connections", connection, "upstreams", upstream, "oauth2"];
        let begin: Vec<_> = at.iter().copied().chain(["start"]).collect();
        let started: ConsentStarted = api.send(Request::post(&begin)).await?;
        output.show(&started, |_| {
            format!(
                "Open this in a browser before {}, signed in with the account to connect:\n\n  {}\n\nThe provider sends it back \
                 to {}, which has to be registered there.\nWho has the link may connect an account of theirs: keep it to \
                 yourself.",
                started.expires_at, started.authorize_url, started.redirect_uri
            )
        })?;
        if !self.wait {
            return Ok(());
        }
        loop {
            tokio::time::sleep(ASK_AGAIN).await;
            let tokens: TokensView = api.send(Request::get(&at)).await?;
            let Some(consent) = tokens.latest_consent.filter(|consent| consent.id == started.id) else {
                bail!("another consent was begun for {connection}/{upstream} meanwhile, or the server was restarted");
            };
            match consent.state {
                ConsentState::Pending => {}
                ConsentState::Given => {
                    output::complain(&format!("{connection}/{upstream} is connected"));
                    return Ok(());
                }
                ConsentState::Expired => bail!("nobody has consented in time; begin again"),
                ConsentState::Failed => bail!(
                    "{connection}/{upstream} was not connected: {}",
                    consent.problem.unwrap_or_default()
                ),
            }
        }
    }
}
