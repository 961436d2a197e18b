//! Nothing that was answered, logged, printed or stored holds a secret.

use super::super::canary::Search;
use super::super::narrator::Narrator;
use super::super::stage::Stage;
use super::super::story::Story;
use crate::api::Request;

/// What the API answers, besides the traces.
const ANSWERS: [&[&str]; 8] = [
    &["v1", "connectors"],
    &["v1", "connections"],
    &["v1", "secrets"],
    &["v1", "events"],
    &["v1", "deliveries"],
    &["v1", "dead-letters"],
    &["metrics"],
    &["openapi.json"],
];

pub(super) async fn play(stage: &Stage, narrator: &mut Narrator, story: &Story) -> anyhow::Result<()> {
    narrator.step("The three secrets are searched for: as they are, in base64 and in hex")?;
    let mut answers = Search::new(&stage.secrets)?;
    for path in ANSWERS {
        answers.look(
            &format!("the answer of /{}", path.join("/")),
            &stage.api.send_for_bytes(Request::get(path)).await?,
        );
    }
    for id in &story.correlation_ids {
        let trace = stage
            .api
            .send_for_bytes(Request::get(&["v1", "traces", id.as_str()]))
            .await?;
        answers.look(&format!("the trace {id}"), &trace);
    }
    narrator.check(
        "no-secret-in-answers",
        "no answer of the API holds one, traces included",
        answers.is_clean(),
        &answers.told(),
    )?;

    let mut folder = Search::new(&stage.secrets)?;
    folder.look_below(stage.folder())?;
    narrator.check(
        "no-secret-on-disk",
        "no file of the server holds one: data, vault, compiled code, log",
        folder.is_clean(),
        &folder.told(),
    )?;

    let mut said = Search::new(&stage.secrets)?;
    said.look("what this command has printed", narrator.said().as_bytes());
    narrator.check(
        "no-secret-printed",
        "nothing printed here holds one",
        said.is_clean(),
        "",
    )
}
