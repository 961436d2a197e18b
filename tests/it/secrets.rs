//! Credentials in the course of time: rotated with an overlap, expiring, reflected, and sealed under a new key.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use cofferdam_domain::Timestamp;
use cofferdam_server::admin::views::Health;
use cofferdam_server::admin::{FactPage, SecretSet};
use cofferdam_store::Store;
use cofferdam_tests::server::run_to_end;
use cofferdam_tests::{Answer, Running, Setup, Upstream, artifacts, wait};
use cofferdam_vault::{Change, CredentialInfo, Fact, FactKind, KeySource, Secret, Vault, VaultKey};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::connections::{GITHUB_SECRET, SLACK_OK, github_to_slack, issue_opened, probe, probe_server};

const CANARY: &str = "canary-5d1f0c77a9e34b28";

fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// A change of a secret by the API, and its status.
async fn change(server: &Running, method: Method, path: &str, value: &str) -> (StatusCode, Value) {
    let path = format!("/v1/connections/{path}");
    let sent = server.api.request(method, &path).body(value.to_owned()).send().await;
    let answer = sent.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    (status, serde_json::from_str(&text).unwrap())
}

async fn rotate(server: &Running, path: &str, overlap_s: u64, value: &str) -> SecretSet {
    let path = format!("{path}/rotate?overlap_s={overlap_s}");
    let (status, answer) = change(server, Method::POST, &path, value).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    serde_json::from_value(answer).unwrap()
}

async fn metrics(server: &Running) -> String {
    let answer = server.api.request(Method::GET, "/metrics").send().await;
    answer.unwrap().text().await.unwrap()
}

async fn facts(server: &Running, query: &str) -> Vec<Fact> {
    let page: FactPage = server.api.get(&format!("/v1/secrets/facts?{query}")).await;
    page.items
}

fn kinds(facts: &[Fact]) -> Vec<FactKind> {
    facts.iter().rev().map(|fact| fact.kind).collect()
}

/// A `cofferdam` command against this server, with something on its standard input: exit code, standard output and error.
async fn command(server: &Running, words: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(artifacts::command())
        .args(words)
        .env("COFFERDAM_URL", &server.api.admin)
        .env("COFFERDAM_TOKEN", &server.api.token)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that wants no input has closed it already.
    let _closed = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// `cofferdam vault rekey` on the data folder.
fn rekey(setup: &Setup, to: &Path) -> Command {
    let mut command = Command::new(artifacts::command());
    command
        .args(["vault", "rekey", "--data"])
        .arg(setup.data())
        .arg("--to")
        .arg(to)
        .env_remove("COFFERDAM_VAULT_KEY")
        .env_remove("CREDENTIALS_DIRECTORY")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn github_status(server: &Running, secret: &str, delivery: &str) -> StatusCode {
    let body = issue_opened(7);
    server.api.send_github(secret, "issues", delivery, &body).await.status()
}

#[tokio::test]
async fn webhooks_are_taken_with_the_old_and_the_new_secret_until_the_overlap_ends() {
    let slack = Upstream::start([], Answer::ok(SLACK_OK)).await;
    let server = github_to_slack(&slack, "").await;
    let set = rotate(&server, "github/secrets/signing", 3600, "second").await;
    assert_eq!(set.version, 2);
    let until = set.previous_until.unwrap();
    assert!(until.since(now()) > Duration::from_secs(3500), "{until}");
    for (secret, delivery) in [("second", "a"), (GITHUB_SECRET, "b")] {
        assert_eq!(
            github_status(&server, secret, delivery).await,
            StatusCode::ACCEPTED,
            "{secret}"
        );
    }
    assert_eq!(github_status(&server, "third", "c").await, StatusCode::UNAUTHORIZED);

    // A second rotation in the window of the first: a value whose own window ends is refused, the others are taken.
    rotate(&server, "github/secrets/signing", 1, "third").await;
    assert_eq!(github_status(&server, "third", "d").await, StatusCode::ACCEPTED);
    wait::until("the end of the second secret's window", || async {
        (github_status(&server, "second", "e").await == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    assert_eq!(github_status(&server, GITHUB_SECRET, "f").await, StatusCode::ACCEPTED);
    assert_eq!(github_status(&server, "third", "g").await, StatusCode::ACCEPTED);
    let ended = wait::until("the fact that it ended", || async {
        let facts = facts(&server, "connection=github").await;
        facts
            .first()
            .filter(|fact| fact.kind == FactKind::OverlapEnded)
            .cloned()
    })
    .await;
    assert_eq!(ended.version, Some(2));

    // A value that is set ends all before it.
    server.api.set_secret("github", "signing", "fourth").await;
    for (secret, status) in [
        ("fourth", StatusCode::ACCEPTED),
        ("third", StatusCode::UNAUTHORIZED),
        (GITHUB_SECRET, StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(
            github_status(&server, secret, &format!("h-{secret}")).await,
            status,
            "{secret}"
        );
    }
}

#[tokio::test]
async fn a_request_that_leaves_carries_the_new_value_at_once() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "credential = \"key\"")).await;
    server.api.set_secret("p", "key", "the-first-value").await;
    for (at, value) in ["the-first-value", "the-second-value"].into_iter().enumerate() {
        if at > 0 {
            rotate(&server, "p/secrets/key", 3600, value).await;
        }
        let accepted = server.api.send_event(value, "test.p", json!({"do": "call"})).await;
        server
            .api
            .wait_delivered(accepted.accepted[0].correlation_id.as_str())
            .await;
        assert_eq!(target.asked()[at].header("authorization"), format!("Bearer {value}"));
    }
}

#[tokio::test]
async fn what_is_asked_of_a_secret_is_bounded_and_each_refusal_says_what_is_wrong() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "credential = \"key\"")).await;
    server.api.set_secret("p", "key", CANARY).await;
    for (method, path, status, code) in [
        (Method::POST, "p/secrets/other/rotate", 404, "not-found"),
        (
            Method::POST,
            "p/secrets/key/rotate?overlap_s=2592001",
            400,
            "bad-overlap",
        ),
        (
            Method::PUT,
            "p/secrets/key?expires_at=2020-01-01T00:00:00Z",
            400,
            "bad-expiry",
        ),
        (Method::PUT, "p/secrets/NO", 400, "bad-secret"),
        (Method::DELETE, "p/secrets/other", 404, "not-found"),
        (Method::PUT, "q/secrets/key", 404, "not-found"),
    ] {
        let (found, answer) = change(&server, method, path, "x").await;
        assert_eq!(
            (found.as_u16(), &answer["code"]),
            (status, &json!(code)),
            "{path}: {answer}"
        );
    }
    for path in ["p/secrets/key?expires_at=soon", "p/secrets/key/rotate?overlap=1"] {
        let method = if path.contains("rotate") {
            Method::POST
        } else {
            Method::PUT
        };
        let path = format!("/v1/connections/{path}");
        let answer = server.api.request(method, &path).body("x").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}");
    }
    let rotated = rotate(&server, "p/secrets/key", 2_592_000, "the-longest-overlap").await;
    assert_eq!(rotated.version, 2, "nothing of that has changed anything");
    for (query, status) in [
        ("limit=0", 400),
        ("limit=500", 200),
        ("limit=501", 400),
        ("before=7", 400),
    ] {
        let path = format!("/v1/secrets/facts?{query}");
        let answer = server.api.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{query}");
    }
}

#[tokio::test]
async fn the_command_line_sets_rotates_lists_and_removes_and_shows_what_happened() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "credential = \"key\"")).await;
    let ran = async |words: &[&str], input: &str| {
        let (code, out, err) = command(&server, words, input).await;
        assert_eq!(code, Some(0), "{words:?}: {err}");
        assert!(!format!("{out}{err}").contains(CANARY), "{words:?}");
        out
    };
    let set = ran(&["secret", "set", "p", "key", "--expires", "2099-06-01"], CANARY).await;
    assert_eq!(set, "p/key is set (version 1); it expires at 2099-06-01 00:00:00 UTC\n");
    let rotated = ran(&["secret", "rotate", "p", "key", "--overlap", "7d"], "another\n").await;
    assert!(
        rotated.contains("version 2") && rotated.contains("the value before is accepted until"),
        "{rotated}"
    );
    let listed = ran(&["secret", "list", "--json"], "").await;
    let listed: Vec<CredentialInfo> = serde_json::from_str(&listed).unwrap();
    assert_eq!((listed[0].version, listed[0].previous.len()), (2, 1));
    assert!(listed[0].previous_until(now()).unwrap().since(now()) > Duration::from_secs(6 * 86_400));

    let (code, _, refused) = command(&server, &["secret", "remove", "p", "key"], "").await;
    assert_eq!(code, Some(1));
    assert!(refused.contains("say --yes"), "{refused}");
    assert_eq!(
        ran(&["secret", "remove", "p", "key", "--yes"], "").await,
        "p/key is removed\n"
    );
    let (code, _, missing) = command(&server, &["secret", "rotate", "p", "key"], "x").await;
    assert_eq!(code, Some(1));
    assert!(
        missing.contains("no credential key of connection p is set"),
        "{missing}"
    );

    let history = ran(&["secret", "history", "p", "key"], "").await;
    let rows: Vec<&str> = history.lines().skip(1).collect();
    for (row, what) in rows.iter().zip(["removed", "rotated", "set"]) {
        assert!(row.contains(what) && row.contains("first-admin"), "{history}");
    }
    let first = ran(&["secret", "history", "--limit", "1", "--json"], "").await;
    let first: FactPage = serde_json::from_str(&first).unwrap();
    let before = first.next.unwrap().to_string();
    let rest = ran(&["secret", "history", "--before", &before, "--json"], "").await;
    let rest: FactPage = serde_json::from_str(&rest).unwrap();
    assert_eq!(kinds(&rest.items), [FactKind::Set, FactKind::Rotated]);
    let (code, _, empty) = command(&server, &["secret", "set", "p", "key"], "\n").await;
    assert_eq!(code, Some(1));
    assert!(empty.contains("the value is empty; nothing was changed"), "{empty}");
}

#[tokio::test]
async fn an_expiry_is_a_fact_a_metric_and_a_line_of_the_log_and_stops_nothing() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "credential = \"key\"")).await;
    let expires_at = now().after(Duration::from_millis(1500));
    let (status, answer) = change(
        &server,
        Method::PUT,
        &format!("p/secrets/key?expires_at={expires_at}"),
        CANARY,
    )
    .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let expired = wait::until("the expiry", || async {
        let facts = facts(&server, "credential=key").await;
        facts.first().filter(|fact| fact.kind == FactKind::Expired).cloned()
    })
    .await;
    assert_eq!(expired.version, Some(1));
    assert!(expired.at >= expires_at && expired.detail.unwrap().contains(&expires_at.to_string()));
    let seconds = expires_at.as_millis() / 1000;
    for line in [
        "cofferdam_credential_facts_total{kind=\"expired\"} 1".to_owned(),
        "cofferdam_credential_facts_total{kind=\"set\"} 1".to_owned(),
        format!(
            "cofferdam_credential_expiry_timestamp_seconds{{workspace=\"default\",connection=\"p\",credential=\"key\"}} {seconds}"
        ),
    ] {
        wait::until(&line, || async { metrics(&server).await.contains(&line).then_some(()) }).await;
    }
    wait::until("the warning", || async {
        server.log().contains("credential expired").then_some(())
    })
    .await;
    let accepted = server.api.send_event("1", "test.p", json!({"do": "call"})).await;
    server
        .api
        .wait_delivered(accepted.accepted[0].correlation_id.as_str())
        .await;
    assert_eq!(target.asked()[0].header("authorization"), format!("Bearer {CANARY}"));
}

#[tokio::test]
async fn an_upstream_that_reflects_again_and_again_is_one_fact_and_every_time_counted() {
    let target = Upstream::start([], Answer::echo()).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "credential = \"key\"")).await;
    server.api.set_secret("p", "key", CANARY).await;
    for number in 0..3 {
        let event = server
            .api
            .send_event(&number.to_string(), "test.p", json!({"do": "call"}))
            .await;
        server
            .api
            .wait_delivered(event.accepted[0].correlation_id.as_str())
            .await;
    }
    let counted = "cofferdam_credential_facts_total{kind=\"reflected\"} 3";
    wait::until("the third reflection", || async {
        metrics(&server).await.contains(counted).then_some(())
    })
    .await;
    let facts = facts(&server, "").await;
    assert_eq!(kinds(&facts), [FactKind::Set, FactKind::Reflected]);
    let text = serde_json::to_string(&facts).unwrap();
    assert!(
        text.contains("the upstream target sent it back") && !text.contains(CANARY),
        "{text}"
    );
}

#[tokio::test]
async fn a_lane_goes_on_after_a_crash_between_the_change_of_its_credential_and_its_release() {
    let target = Upstream::start([Answer::status(401)], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "credential = \"key\"")).await;
    server.api.set_secret("p", "key", "wrong").await;
    let accepted = server.api.send_event("1", "test.p", json!({"do": "call"})).await;
    let correlation = accepted.accepted[0].correlation_id.to_string();
    // A read may be ahead of the disk by a commit; the count is not.
    let parked = async |server: &Running| {
        let view = server.api.connection("p").await;
        (view.health == Health::Parked && view.depth.pending == 1).then_some(())
    };
    wait::until("the parked lane", || parked(&server)).await;
    let setup = server.kill().await;

    // A restart alone changes nothing: the credential is the one that the lane was parked for.
    let server = setup.start().await;
    assert!(parked(&server).await.is_some());
    let setup = server.kill().await;

    // What such a crash leaves: the change is durable and the release is not.
    let store = Store::open_existing(setup.data()).unwrap();
    let key = VaultKey::load(KeySource::File(setup.data().join("vault.key"))).unwrap();
    let vault = Vault::open(store.clone(), key).await.unwrap();
    let change = Change::new(Secret::new(b"right".to_vec()).unwrap(), now());
    let (workspace, connection, credential) = (Default::default(), "p".parse().unwrap(), "key".parse().unwrap());
    vault.put(&workspace, &connection, &credential, change).await.unwrap();
    store.close();
    drop((vault, store));

    let server = setup.start().await;
    server.api.wait_delivered(&correlation).await;
    assert_eq!(target.asked().last().unwrap().header("authorization"), "Bearer right");
}

#[tokio::test]
async fn a_rekeyed_vault_serves_with_the_new_key_and_the_old_one_is_refused_with_the_file_to_use() {
    let slack = Upstream::start([], Answer::ok(SLACK_OK)).await;
    let server = github_to_slack(&slack, "").await;
    rotate(&server, "github/secrets/signing", 3600, "second").await;
    let in_use = rekey(server.setup(), &server.setup().data().join("k"));
    let (code, stderr) = run_to_end(in_use).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("in use by another process"), "{stderr}");

    let (_, _, setup) = server.stop().await;
    let (old, new) = (setup.data().join("vault.key"), setup.data().join("vault.key.new"));
    assert!(!new.exists(), "no key is made for a vault that is not rekeyed");
    let before = fs::read(&old).unwrap();
    let output = rekey(&setup, &new).output().await.unwrap();
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(
        out.contains("2 records are sealed under the new key") && out.contains("Next: "),
        "{out}"
    );
    assert_eq!(fs::read(&old).unwrap(), before, "the old key's file is as it was");

    let (code, stderr) = run_to_end(setup.command()).await;
    let lines: Vec<_> = stderr.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!((code, lines.len()), (Some(1), 1), "{stderr}");
    for part in [
        old.to_str().unwrap(),
        new.to_str().unwrap(),
        "sealed under another key",
        "nothing was changed",
    ] {
        assert!(lines[0].contains(part), "{part} is not said: {stderr}");
    }
    let again = rekey(&setup, &new).output().await.unwrap();
    assert_eq!(again.status.code(), Some(0));
    assert!(
        String::from_utf8(again.stdout)
            .unwrap()
            .contains("had this key already")
    );

    let config = format!("\n[vault]\nkey_file = \"{}\"\n", new.display());
    let server = setup.config(&config).start().await;
    for (secret, delivery) in [("second", "a"), (GITHUB_SECRET, "b")] {
        assert_eq!(
            github_status(&server, secret, delivery).await,
            StatusCode::ACCEPTED,
            "{secret}"
        );
    }
    wait::until("the message", || async { (!slack.asked().is_empty()).then_some(()) }).await;
    assert_eq!(slack.asked()[0].header("authorization"), "Bearer xoxb-the-bot-token");
}

#[tokio::test]
async fn a_rekey_that_is_killed_at_its_switch_leaves_a_vault_that_one_of_the_keys_opens() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "credential = \"key\"")).await;
    for number in 0..70 {
        server.api.set_secret("p", &format!("key-{number}"), CANARY).await;
    }
    server.api.set_secret("p", "key", CANARY).await;
    let (_, _, setup) = server.stop().await;
    let (old, new) = (setup.data().join("vault.key"), setup.data().join("vault.key.new"));

    let mut child = rekey(&setup, &new).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().expect("it says when it switches");
    assert!(line.contains("the new key takes the place of the old one"), "{line}");
    child.kill().await.unwrap();

    // Exactly one opens it, and a server that starts with that one has everything.
    let opens = async |file: &Path| {
        let store = Store::open_existing(setup.data()).unwrap();
        let key = VaultKey::load(KeySource::File(file.to_owned())).unwrap();
        let opened = Vault::open(store.clone(), key).await;
        store.close();
        opened.is_ok()
    };
    let (with_old, with_new) = (opens(&old).await, opens(&new).await);
    assert!(with_old != with_new, "old {with_old}, new {with_new}");
    let output = rekey(&setup, &new).output().await.unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let config = format!("\n[vault]\nkey_file = \"{}\"\n", new.display());
    let server = setup.config(&config).start().await;
    let listed: Vec<CredentialInfo> = server.api.get("/v1/secrets").await;
    assert_eq!(listed.len(), 71);
    let accepted = server.api.send_event("1", "test.p", json!({"do": "call"})).await;
    server
        .api
        .wait_delivered(accepted.accepted[0].correlation_id.as_str())
        .await;
    assert_eq!(target.asked()[0].header("authorization"), format!("Bearer {CANARY}"));
}

#[tokio::test]
async fn a_key_comes_from_systemds_credential_and_a_missing_one_is_not_made_up() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let credential = dir.path().join("cofferdam-vault-key");
    VaultKey::create_file(&credential).unwrap();
    // As systemd hands it out: the group's bits show the mask of an access list.
    fs::set_permissions(&credential, fs::Permissions::from_mode(0o440)).unwrap();
    let setup = Setup::new().environment(vec![("CREDENTIALS_DIRECTORY", dir.path().into())]);
    let server = setup.start().await;
    let (code, log, setup) = server.stop().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(
        !setup.data().join("vault.key").exists(),
        "the key is not on the disk that it protects"
    );

    fs::remove_file(&credential).unwrap();
    let (code, stderr) = run_to_end(setup.command()).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("vault.key cannot be read"), "{stderr}");
    assert!(
        !setup.data().join("vault.key").exists(),
        "a lost key is not silently replaced"
    );
}

/// What a person who is signed in to the panel sends.
struct Panel {
    client: reqwest::Client,
    base: String,
    cookie: String,
}

impl Panel {
    async fn sign_in(server: &Running) -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let base = server.api.admin.clone();
        let page = client.get(format!("{base}/panel/sign-in")).send().await.unwrap();
        let before = cookies(&page);
        let token = form_token(&page.text().await.unwrap());
        let form = format!("form_token={token}&token={}", server.api.token);
        let request = client.post(format!("{base}/panel/sign-in")).header("cookie", before);
        let answer = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let cookie = cookies(&answer);
        Self { client, base, cookie }
    }

    async fn page(&self, path: &str) -> String {
        let request = self.client.get(format!("{}{path}", self.base));
        let answer = request.header("cookie", &self.cookie).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    }

    async fn send(&self, path: &str, form: &str) -> reqwest::Response {
        let request = self
            .client
            .post(format!("{}{path}", self.base))
            .header("cookie", &self.cookie);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(form.to_owned()).send().await.unwrap()
    }
}

fn cookies(answer: &reqwest::Response) -> String {
    let set = answer.headers().get_all("set-cookie").iter();
    let pairs: Vec<_> = set
        .filter_map(|value| value.to_str().unwrap().split(';').next())
        .collect();
    pairs.join("; ")
}

fn form_token(html: &str) -> String {
    let rest = html.split("name=\"form_token\" value=\"").nth(1).expect("a form");
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn in_the_panel_a_secret_is_set_and_rotated_by_a_form_of_the_session_only_and_never_shown() {
    let slack = Upstream::start([], Answer::ok(SLACK_OK)).await;
    let server = github_to_slack(&slack, "").await;
    let panel = Panel::sign_in(&server).await;
    let path = "/panel/connections/github/secrets/signing";
    let token = form_token(&panel.page(path).await);
    for forged in ["value=forged&overlap_h=0", "form_token=guess&value=forged&overlap_h=0"] {
        assert_eq!(
            panel.send(path, forged).await.status(),
            StatusCode::FORBIDDEN,
            "{forged}"
        );
    }
    let form = format!("form_token={token}&value={CANARY}&overlap_h=24&expires=2099-06-01");
    let answer = panel.send(path, &form).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let to = answer.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(to, "/panel/connections/github?flash=secret-rotated");
    for (secret, delivery) in [(CANARY, "a"), (GITHUB_SECRET, "b")] {
        assert_eq!(
            github_status(&server, secret, delivery).await,
            StatusCode::ACCEPTED,
            "{secret}"
        );
    }
    let html = panel.page(&to).await;
    assert!(
        html.contains("until <time") && html.contains("2099-06-01T00:00:00.000Z"),
        "{html}"
    );
    assert!(html.contains("rotated") && html.contains("first-admin"), "{html}");
    assert!(!html.contains(CANARY) && !panel.page(path).await.contains(CANARY));

    let form = format!("form_token={token}&value=last&overlap_h=0&expires=");
    let answer = panel.send(path, &form).await;
    assert_eq!(
        answer.headers()["location"],
        "/panel/connections/github?flash=secret-set"
    );
    assert_eq!(github_status(&server, CANARY, "c").await, StatusCode::UNAUTHORIZED);
    let facts = facts(&server, "connection=github").await;
    assert_eq!(kinds(&facts), [FactKind::Set, FactKind::Rotated, FactKind::Set]);
}
