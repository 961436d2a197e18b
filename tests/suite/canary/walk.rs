//! Every page and every answer that can be fetched, found in what the server says of itself and in its router, so that a new
//! one is fetched too, or is complained about.

use std::collections::BTreeSet;

use cofferdam_domain::DeliveryState;
use cofferdam_server::admin::Redrive;
use cofferdam_server::admin::views::{DeadLetterPage, EventTrace};
use cofferdam_tests::Running;
use reqwest::{Client, Method, Response};
use serde_json::Value;

use super::places::{Place, Places};
use super::scenes::Stage;

/// The panel's router, as source.
const PANEL: &str = include_str!("../../../runtime/server/src/panel.rs");

/// When everything has happened.
pub(crate) const AT_THE_END: &str = "at the end";

/// Most of one kind that are fetched by name.
const NAMED_MAX: usize = 40;

/// What can stand in a path.
struct Known {
    connections: Vec<String>,
    connectors: Vec<String>,
    versions: Vec<String>,
    deliveries: Vec<String>,
    dead: Vec<String>,
    correlations: Vec<String>,
    redrives: Vec<String>,
}

impl Stage<'_> {
    /// API, panel and metrics as they are now.
    pub(crate) async fn look_at_everything(&mut self, when: &str) -> anyhow::Result<()> {
        let known = Known::ask(self.server).await?;
        api(self.server, &known, when, self.places).await?;
        panel(self.server, &known, when, self.places).await
    }
}

impl Known {
    async fn ask(server: &Running) -> anyhow::Result<Self> {
        let named = |list: &Value, key: &str| {
            let items = list.as_array().into_iter().flatten();
            items
                .filter_map(|item| item[key].as_str().map(str::to_owned))
                .collect::<Vec<_>>()
        };
        let connections: Value = server.api.get("/v1/connections").await;
        let connectors = server.api.connectors().await.connectors;
        let letters: DeadLetterPage = server.api.get("/v1/dead-letters").await;
        let redrives: Vec<Redrive> = server.api.get("/v1/redrives").await;
        let events: Value = server.api.get("/v1/events").await;
        let correlations: BTreeSet<_> = named(&events, "correlation_id").into_iter().collect();
        let mut deliveries = Vec::new();
        for correlation in correlations.iter().take(NAMED_MAX) {
            let events: Vec<EventTrace> = server.api.trace(correlation).await.events;
            let all = events.into_iter().flat_map(|event| event.deliveries);
            deliveries.extend(all.map(|delivery| delivery.delivery.id.to_string()));
        }
        let dead = letters
            .letters
            .iter()
            .filter(|letter| matches!(letter.delivery.state, DeliveryState::Dead { .. }));
        Ok(Self {
            connections: named(&connections, "name"),
            connectors: connectors.iter().map(|one| one.descriptor.name.to_string()).collect(),
            versions: connectors.iter().map(|one| one.digest.to_string()).collect(),
            deliveries,
            dead: dead.map(|letter| letter.delivery.id.to_string()).collect(),
            correlations: correlations.into_iter().collect(),
            redrives: redrives.iter().map(|redrive| redrive.id.to_string()).collect(),
        })
    }

    /// Every path that a pattern stands for.
    fn fill(&self, pattern: &str) -> anyhow::Result<Vec<String>> {
        let Some((before, rest)) = pattern.split_once('{') else {
            return Ok(vec![pattern.to_owned()]);
        };
        let Some((name, behind)) = rest.split_once('}') else {
            anyhow::bail!("{pattern} is no pattern");
        };
        let values = match (
            before.trim_end_matches('/').rsplit('/').next().unwrap_or_default(),
            name,
        ) {
            ("connections", _) => &self.connections,
            ("connectors", _) => &self.connectors,
            ("versions", _) => &self.versions,
            ("deliveries", _) => &self.deliveries,
            ("dead-letters", _) => &self.dead,
            ("traces", _) => &self.correlations,
            ("redrives", _) => &self.redrives,
            ("upstreams", _) => &vec!["target".to_owned()],
            // A credential of the connection before it: all of them have the same name.
            ("secrets" | "credentials", _) => &vec!["key".to_owned()],
            _ => anyhow::bail!("the suite does not know what stands for {{{name}}} in {pattern}: add it here"),
        };
        let mut paths = Vec::new();
        for value in values.iter().take(NAMED_MAX) {
            paths.extend(self.fill(&format!("{before}{value}{behind}"))?);
        }
        Ok(paths)
    }
}

async fn api(server: &Running, known: &Known, when: &str, places: &mut Places) -> anyhow::Result<()> {
    let document: Value = server.api.get("/openapi.json").await;
    let described = document["paths"].as_object().into_iter().flatten();
    let mut patterns: Vec<_> = described
        .filter(|(_, methods)| methods.get("get").is_some())
        .map(|(path, _)| path.clone())
        .collect();
    patterns.push("/openapi.json".to_owned());
    anyhow::ensure!(patterns.len() > 10, "the API describes {} paths only", patterns.len());
    for pattern in patterns {
        let paths = known.fill(&pattern)?;
        let (asked, mut answered) = (paths.len(), 0);
        for path in paths {
            let answer = server.api.request(Method::GET, &path).send().await?;
            let place = if path == "/metrics" {
                Place::Metrics
            } else {
                Place::ApiAnswers
            };
            anyhow::ensure!(
                !answer.status().is_server_error(),
                "GET {path} was answered {}",
                answer.status()
            );
            answered += usize::from(answer.status().is_success());
            places.add(place, format!("GET {path} {when}"), whole(answer).await?);
        }
        // Earlier, what a path is about may not be there yet.
        let complete = when != AT_THE_END || asked == 0 || answered > 0;
        anyhow::ensure!(complete, "none of {asked} paths of {pattern} was answered well");
    }
    Ok(())
}

async fn panel(server: &Running, known: &Known, when: &str, places: &mut Places) -> anyhow::Result<()> {
    let client = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let session = sign_in(server, &client, places).await?;
    let mut pages = 0;
    for route in PANEL.split(".route(").skip(1) {
        let Some((pattern, handlers)) = route.split_once(',') else {
            continue;
        };
        let pattern = pattern.trim().trim_matches('"');
        if !pattern.starts_with('/')
            || pattern.contains('*')
            || !handlers.split(".route(").next().is_some_and(|it| it.contains("get("))
        {
            continue;
        }
        for path in known.fill(pattern)? {
            let asked = client
                .get(format!("{}{path}", server.api.admin))
                .header("cookie", &session);
            let answer = asked.send().await?;
            anyhow::ensure!(
                !answer.status().is_server_error(),
                "GET {path} was answered {}",
                answer.status()
            );
            pages += usize::from(answer.status().is_success());
            places.add(Place::PanelPages, format!("GET {path} {when}"), whole(answer).await?);
        }
    }
    anyhow::ensure!(pages > 10, "the panel showed {pages} pages only");
    Ok(())
}

/// The cookie of a session.
async fn sign_in(server: &Running, client: &Client, places: &mut Places) -> anyhow::Result<String> {
    let url = format!("{}/panel/sign-in", server.api.admin);
    let form = client.get(&url).send().await?;
    let cookie = cookies(&form);
    let page = form.text().await?;
    let token = page
        .split("name=\"form_token\" value=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let token = token.ok_or_else(|| anyhow::anyhow!("the sign-in page has no form token"))?;
    let pairs = [("token", server.api.token.as_str()), ("form_token", token)];
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    let signed_in = client
        .post(&url)
        .header("cookie", cookie)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await?;
    anyhow::ensure!(
        signed_in.status().is_redirection(),
        "signing in was answered {}",
        signed_in.status()
    );
    let session = cookies(&signed_in);
    places.add(Place::PanelPages, "sign-in", whole(signed_in).await?);
    Ok(session)
}

fn cookies(answer: &Response) -> String {
    let set = answer.headers().get_all("set-cookie").iter();
    let pairs = set.filter_map(|value| value.to_str().ok()?.split(';').next());
    pairs.collect::<Vec<_>>().join("; ")
}

/// Status, headers and body of an answer.
async fn whole(answer: Response) -> anyhow::Result<Vec<u8>> {
    let head = format!("{} {:?}\n", answer.status(), answer.headers()).into_bytes();
    Ok([head, answer.bytes().await?.to_vec()].concat())
}
