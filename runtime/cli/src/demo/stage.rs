//! The stage: a server in this process, the stand-ins around it, and a folder that is gone afterwards.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cofferdam_domain::CorrelationId;
use cofferdam_server::admin::views::TraceView;
use cofferdam_server::config::{Config, Listen};
use cofferdam_server::ingest::{EventAccepted, EventsAccepted};
use cofferdam_server::{ServeOptions, Server};
use reqwest::{Client, StatusCode, Url};
use secrecy::SecretString;

use super::connections::GITHUB;
use super::github::Webhook;
use super::receiver::Receiver;
use super::secrets::Secrets;
use super::slack::Slack;
use crate::api::{self, Api, Request};

/// How long the server may take to stop; nothing is under way by then.
const DRAIN: Duration = Duration::from_secs(5);

/// Largest answer to a webhook that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Everything that the demo plays with.
pub(super) struct Stage {
    folder: tempfile::TempDir,
    server: Server,
    hooks: Client,
    /// The server's API, with the token of its first start.
    pub(super) api: Api,
    pub(super) secrets: Secrets,
    pub(super) slack: Slack,
    pub(super) receiver: Receiver,
    /// How long the server took to answer.
    pub(super) start: Duration,
}

impl Stage {
    /// Starts everything. Nothing leaves this machine, and nothing outlives the process but a folder that is kept.
    pub(super) async fn set(plugins: &Path) -> anyhow::Result<Self> {
        if !plugins.is_dir() {
            bail!(
                "there is no folder {}: build connectors into it with `cofferdam plugin build`",
                plugins.display()
            );
        }
        let folder = tempfile::Builder::new()
            .prefix("cofferdam-demo-")
            .tempdir()
            .context("no temporary folder")?;
        log_into(&folder.path().join("server.log"))?;
        let secrets = Secrets::random();
        let slack = Slack::start(&secrets.slack_token).await?;
        let receiver = Receiver::start(&secrets.webhook_secret).await?;

        let began = Instant::now();
        let data = folder.path().join("data");
        let options = ServeOptions {
            config: config(),
            data: data.clone(),
            plugins: plugins.to_owned(),
            vault_key: None,
            credentials_dir: None,
            compiler: crate::serve::compiler()?,
        };
        let server = Box::pin(Server::start(options))
            .await
            .context("the server does not start")?;
        let start = began.elapsed();

        let token = fs::read_to_string(data.join("admin.token")).context("the first start has made no token")?;
        let api = Api::new(&format!("http://{}", server.admin()), &SecretString::from(token.trim()))?;
        let hooks = api::client(&public_url(server.public())?)?;
        Ok(Self {
            folder,
            server,
            hooks,
            api,
            secrets,
            slack,
            receiver,
            start,
        })
    }

    /// Where webhooks are taken, and where API and panel are.
    pub(super) fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.server.public(), self.server.admin())
    }

    /// The folder with data and log.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends a request to the hook, as GitHub does, from outside: without any token.
    pub(super) async fn send(
        &self,
        webhook: &Webhook,
        signature: &str,
    ) -> anyhow::Result<(StatusCode, Vec<EventAccepted>)> {
        let url = public_url(self.server.public())?.join(&format!("/hooks/{GITHUB}"))?;
        let request = self
            .hooks
            .post(url)
            .header("content-type", "application/json")
            .header("user-agent", "GitHub-Hookshot/044aadd")
            .header("x-github-event", webhook.event)
            .header("x-github-delivery", webhook.delivery)
            .header("x-hub-signature-256", signature)
            .body(webhook.body.clone());
        let answer = request.send().await.context("the hook does not answer")?;
        let status = answer.status();
        let body = api::read_capped(answer, ANSWER_BYTES_MAX)
            .await?
            .context("the hook's answer is too large")?;
        let accepted =
            serde_json::from_slice::<EventsAccepted>(&body).map_or_else(|_| Vec::new(), |body| body.accepted);
        Ok((status, accepted))
    }

    /// What the server tells of a correlation id.
    pub(super) async fn trace(&self, id: &CorrelationId) -> anyhow::Result<TraceView> {
        Ok(self.api.send(Request::get(&["v1", "traces", id.as_str()])).await?)
    }

    /// Stops the server. The folder is removed, or kept and named.
    pub(super) async fn strike(self, keep: bool) -> Option<PathBuf> {
        self.server.drain().await;
        keep.then(|| self.folder.keep())
    }
}

/// Free ports on loopback; everything else is as `serve` has it.
fn config() -> Config {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Config {
        listen: Listen {
            public: free,
            admin: free,
            admin_hosts: Vec::new(),
            admin_url: None,
        },
        drain: DRAIN,
        ..Config::default()
    }
}

fn public_url(address: SocketAddr) -> anyhow::Result<Url> {
    Ok(format!("http://{address}").parse()?)
}

/// The server's log goes beside its data: what it says to operators is not part of the story.
fn log_into(path: &Path) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter("info")
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .finish();
    // The only failure is that logging has been started already, by a test in the same process.
    let _already_there = tracing::subscriber::set_global_default(lines);
    Ok(())
}
