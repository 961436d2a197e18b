//! An admin installs three connectors, by the API.

use std::time::{Duration, Instant};

use cofferdam_server::admin::views::{ConnectionView, ConnectorsView, Health};
use cofferdam_vault::CredentialInfo;

use super::super::connections::{AUDIT, GITHUB, SLACK, installs};
use super::super::narrator::Narrator;
use super::super::stage::Stage;
use crate::api::Request;

/// The connectors that the demo is about.
const CONNECTORS: [&str; 3] = ["github", "slack", "webhook"];

/// How long the connectors may take: the first time they are compiled.
const LOADED_WITHIN: Duration = Duration::from_secs(600);

/// The plugins folder, once the server has dealt with all that is in it.
async fn loaded(stage: &Stage) -> anyhow::Result<ConnectorsView> {
    let began = Instant::now();
    loop {
        let view: ConnectorsView = stage.api.send(Request::get(&["v1", "connectors"])).await?;
        if view.read || began.elapsed() > LOADED_WITHIN {
            return Ok(view);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn play(stage: &Stage, narrator: &mut Narrator) -> anyhow::Result<()> {
    narrator.step("A server with three connectors")?;
    let (public, admin) = stage.addresses();
    narrator.note(&format!(
        "webhooks and events on http://{public}, API and panel on http://{admin}"
    ))?;
    let view = loaded(stage).await?;
    let found: Vec<_> = view
        .connectors
        .iter()
        .map(|connector| connector.descriptor.name.as_str())
        .collect();
    let all = CONNECTORS.iter().all(|name| found.contains(name));
    let mut seen: Vec<String> = view
        .connectors
        .iter()
        .map(|connector| format!("{} {}", connector.descriptor.name, connector.descriptor.version))
        .collect();
    seen.extend(
        view.problems
            .iter()
            .map(|problem| format!("{}: {}", problem.path.display(), problem.reason)),
    );
    narrator.check(
        "connectors-load",
        "github, slack and webhook are loaded",
        all,
        &seen.join(", "),
    )?;

    narrator.step("An admin connects them")?;
    let secrets = [
        &stage.secrets.github_secret,
        &stage.secrets.slack_token,
        &stage.secrets.webhook_secret,
    ];
    for (install, secret) in installs(stage.slack.address(), stage.receiver.address())
        .into_iter()
        .zip(secrets)
    {
        let apply = Request::post(&["v1", "connections"]).body("application/toml", install.file);
        let _: ConnectionView = stage.api.send(apply).await?;
        let path = ["v1", "connections", install.name, "secrets", install.credential];
        let set = Request::put(&path).body("application/octet-stream", secret.as_bytes());
        let _: serde_json::Value = stage.api.send(set).await?;
    }
    let connections: Vec<ConnectionView> = stage.api.send(Request::get(&["v1", "connections"])).await?;
    let seen: Vec<_> = connections
        .iter()
        .map(|view| format!("{} {}", view.connection.spec.name, view.health.as_str()))
        .collect();
    let well = connections.iter().filter(|view| view.health == Health::Ok);
    let names: Vec<_> = well.map(|view| view.connection.spec.name.as_str()).collect();
    let all = [GITHUB, SLACK, AUDIT].iter().all(|name| names.contains(name));
    narrator.check(
        "connections-work",
        "three connections are enabled and well",
        all,
        &seen.join(", "),
    )?;
    let set: Vec<CredentialInfo> = stage.api.send(Request::get(&["v1", "secrets"])).await?;
    let seen: Vec<_> = set
        .iter()
        .map(|info| format!("{}/{}", info.connection, info.name))
        .collect();
    narrator.check(
        "secrets-are-set",
        "each has its secret; the API knows the name and no more",
        set.len() == 3,
        &seen.join(", "),
    )
}
