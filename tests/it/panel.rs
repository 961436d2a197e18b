//! The panel in a real browser: signed in with a token, a connection turned off keeps its event, turned on it delivers it.

use std::process::Stdio;

use cofferdam_domain::{DeliveryState, Digest};
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::oauth2::CLIENT_SECRET;
use cofferdam_tests::{Answer, AuthorizationServer, Running, Upstream, wait};
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::connections::{probe, probe_server};
use crate::folder::{asking_more, put, runs};

/// Chromium as its driver starts it; both are Debian's.
struct Browser {
    client: Client,
    _driver: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    async fn start() -> Self {
        let mut driver = Command::new("/usr/bin/chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver is installed: run `cargo xtask test`");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap().expect("chromedriver says its port");
            if let Some(rest) = line.split("started successfully on port ").nth(1) {
                break rest.trim_end_matches('.').to_owned();
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let profile = tempfile::tempdir().unwrap();
        let options = json!({
            "binary": "/usr/bin/chromium",
            "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
                "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,1000",
                // The panel works without JavaScript, so the test runs without it.
                "--blink-settings=scriptEnabled=false",
                format!("--user-data-dir={}", profile.path().display()),
            ],
        });
        let capabilities = [("goog:chromeOptions".to_owned(), options)].into_iter().collect();
        let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        let client = builder
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await;
        Self {
            client: client.expect("a session with Chromium"),
            _driver: driver,
            _profile: profile,
        }
    }

    /// A browser that is signed in and on this page of the panel.
    async fn on(server: &Running, page: &str) -> Self {
        let browser = Self::start().await;
        let url = format!("{}/panel/{page}", server.api.admin);
        browser.client.goto(&url).await.unwrap();
        let field = browser.client.wait().for_element(Locator::Css("#token")).await.unwrap();
        field.send_keys(&server.api.token).await.unwrap();
        browser.click("#sign-in button").await;
        browser
    }

    async fn click(&self, css: &str) {
        self.with(css, async |element| element.click().await).await;
    }

    async fn text(&self, css: &str) -> String {
        self.with(css, async |element| element.text().await).await
    }

    /// Does something with the element, and again if the page was left between finding it and that.
    async fn with<T>(&self, css: &str, what: impl AsyncFn(Element) -> Result<T, CmdError>) -> T {
        wait::until(css, async || {
            let found = self.client.wait().for_element(Locator::Css(css)).await;
            let element = found.unwrap_or_else(|error| panic!("{css} is not on the page: {error}"));
            match what(element).await {
                Ok(done) => Some(done),
                Err(error) if has_gone(&error) => None,
                Err(error) => panic!("{css}: {error}"),
            }
        })
        .await
    }

    /// Keeps a picture in the target folder, to be looked at.
    async fn picture(&self, name: &str) {
        let png = self.client.screenshot().await.unwrap();
        let dir = cofferdam_tests::artifacts::target_dir().join("pictures");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("{name}.png")), png).unwrap();
    }
}

/// Whether the element belonged to a page that has been left. The driver has two ways of saying it.
fn has_gone(error: &CmdError) -> bool {
    error.is_stale_element_reference() || error.to_string().contains("does not belong to the document")
}

#[tokio::test]
async fn in_chromium_a_connection_turned_off_keeps_its_event_and_turned_on_delivers_it() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("tickets", &target, "")).await;
    let browser = Browser::start().await;

    browser.client.goto(&server.api.admin).await.unwrap();
    let field = browser.client.wait().for_element(Locator::Css("#token")).await.unwrap();
    field.send_keys(&server.api.token).await.unwrap();
    browser.picture("sign-in").await;
    browser.click("#sign-in button[name='sign-in'], #sign-in button").await;
    browser.text("#connection-tickets").await;
    browser.picture("connections").await;

    browser.click("#toggle-tickets button[aria-checked='true']").await;
    browser.text("#toggle-tickets button[aria-checked='false']").await;
    let accepted = server.api.send_event("1", "test.tickets", json!({"do": "call"})).await;
    let correlation = accepted.accepted[0].correlation_id.to_string();
    let trace = server.api.trace(&correlation).await;
    assert!(matches!(
        trace.events[0].deliveries[0].delivery.state,
        DeliveryState::Pending { .. }
    ));
    assert!(target.asked().is_empty());

    browser.click("#nav-connections").await;
    let waiting = browser.text("#connection-tickets [data-label='Waiting']").await;
    assert_eq!(waiting, "1", "the page says that one waits");
    browser.picture("turned-off").await;
    browser.click("#toggle-tickets button[aria-checked='false']").await;
    browser.text("#toggle-tickets button[aria-checked='true']").await;
    server.api.wait_delivered(&correlation).await;
    assert_eq!(target.asked().len(), 1);

    // The on-call engineer's way: paste the id, read what happened.
    browser.click("#nav-events").await;
    let search = browser
        .client
        .wait()
        .for_element(Locator::Css("#correlation_id"))
        .await
        .unwrap();
    search.send_keys(&correlation).await.unwrap();
    browser.click("#search button").await;
    let timeline = browser.text("#timeline").await;
    for part in ["accepted", "attempt", "request", "delivered", "200"] {
        assert!(
            timeline.to_lowercase().contains(part),
            "{part} is not in the timeline: {timeline}"
        );
    }
    browser.picture("timeline").await;
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn in_chromium_a_dead_letter_is_replayed() {
    let target = Upstream::start([Answer::status(422)], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("tickets", &target, "")).await;
    let accepted = server.api.send_event("1", "test.tickets", json!({"do": "call"})).await;
    let correlation = accepted.accepted[0].correlation_id.to_string();
    let id = server.api.wait_dead(&correlation).await.delivery.id;

    let browser = Browser::on(&server, "dead-letters").await;
    assert!(browser.text(&format!("#dead-letter-{id}")).await.contains("schema"));
    browser.picture("dead-letters").await;
    browser.click(&format!("#replay-{id} button")).await;
    browser.text("#flash").await;
    let delivered = server.api.wait_delivered(&correlation).await;
    assert_eq!(delivered.delivery.interventions.len(), 1);
    wait::until("an empty list", || async {
        server.api.dead_letters().await.is_empty().then_some(())
    })
    .await;
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn in_chromium_many_dead_letters_are_replayed_at_once_and_a_connection_is_deleted() {
    let target = Upstream::start([Answer::status(422), Answer::status(422)], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("tickets", &target, "")).await;
    let mut correlations = Vec::new();
    for id in ["1", "2"] {
        let accepted = server.api.send_event(id, "test.tickets", json!({"do": "call"})).await;
        let correlation = accepted.accepted[0].correlation_id.to_string();
        server.api.wait_dead(&correlation).await;
        correlations.push(correlation);
    }

    let browser = Browser::on(&server, "dead-letters").await;
    browser.click("#connection option[value='tickets']").await;
    browser.click("#filter button").await;
    browser.text("#clear-filter").await;
    browser.click("#replay-all").await;
    assert_eq!(
        browser.text("#redrive-count").await,
        "2",
        "the page says how many before it asks"
    );
    assert!(browser.text("article.panel").await.contains("tickets"), "and which");
    browser.picture("redrive-confirm").await;
    browser.click("#confirm-redrive button").await;
    for correlation in &correlations {
        let delivered = server.api.wait_delivered(correlation).await;
        assert_eq!(delivered.delivery.interventions.len(), 1);
    }
    // The page loads itself anew until the job has ended.
    wait::until("the end of the redrive", || async {
        let heading = browser.text("h1").await.to_lowercase();
        heading.contains("done").then_some(())
    })
    .await;
    browser.picture("redrive").await;

    server.api.post("/v1/connections/tickets/disable").await;
    server.api.send_event("3", "test.tickets", json!({"do": "call"})).await;
    let page = format!("{}/panel/connections/tickets", server.api.admin);
    browser.client.goto(&page).await.unwrap();
    browser.picture("connection").await;
    browser.click("#delete-link").await;
    assert!(
        browser.text("#still-waiting").await.contains('1'),
        "the page says what waits before it asks"
    );
    browser.picture("connection-delete").await;
    browser.click("#confirm-delete button").await;
    let said = browser.text("#flash").await;
    assert!(said.contains("Deleted"), "{said}");
    let letters = wait::until("the dead letter of what waited", || async {
        let letters = server.api.dead_letters().await;
        (letters.len() == 1).then_some(letters)
    })
    .await;
    let failure = letters[0].delivery.last_failure.as_ref().unwrap();
    assert_eq!(failure.code.as_deref(), Some("connection-deleted"));
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn in_chromium_an_account_is_connected_across_sites_and_the_page_says_so() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = AuthorizationServer::start().await;
    let running = probe_server().await;
    // A browser takes another name for another site, whatever address it has: what comes back from it carries no cookie but
    // the one that is meant to.
    let oauth2 = server.table("target", "authorization-code");
    let oauth2 = oauth2.replace(
        "authorize_url = \"http://127.0.0.1",
        "authorize_url = \"http://localhost",
    );
    let file = probe("p", &target, &format!("credential = \"tokens\"\n{oauth2}"));
    running
        .api
        .apply(&file.replace("attach = \"bearer\"", "attach = \"oauth2\""))
        .await;
    running.api.set_secret("p", "app", CLIENT_SECRET).await;

    let browser = Browser::start().await;
    let page = format!("{}/panel/connections/p", running.api.admin);
    browser.client.goto(&page).await.unwrap();
    let field = browser.client.wait().for_element(Locator::Css("#token")).await.unwrap();
    field.send_keys(&running.api.token).await.unwrap();
    browser.click("#sign-in button").await;
    assert!(browser.text("#tokens-target").await.contains("not connected"));
    browser.click("#connect-target button").await;
    let words = browser.text("#content").await;
    assert!(words.contains("localhost") && words.contains("read"), "{words}");
    browser.picture("consent-begin").await;
    let link = browser.client.wait().for_element(Locator::Css("#go")).await.unwrap();
    let link = link.attr("href").await.unwrap().unwrap();
    // Somebody else who has the link cannot end it: it belongs to this browser.
    let elsewhere = cofferdam_tests::api::client().get(&link).send().await.unwrap();
    assert_eq!(elsewhere.status(), 400);
    browser.click("#go").await;
    let words = browser.text("#consent").await;
    assert!(words.contains("The account is connected"), "{words}");
    browser.picture("consent-end").await;
    browser.click("a.button").await;
    let words = browser.text("#tokens-target").await;
    assert!(
        words.contains("ready") && words.contains("connected by first-admin"),
        "{words}"
    );
    browser.picture("connected").await;
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn in_chromium_a_version_that_asks_for_more_is_granted_and_rolled_back_from() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("tickets", &target, "")).await;
    let first = std::fs::read(test_guest("probe")).unwrap();
    let more = asking_more();
    put(&server, "probe.wasm", &more);
    wait::until("the new version to wait", || async {
        server.api.connection("tickets").await.runs.waiting
    })
    .await;
    let browser = Browser::on(&server, "connections/tickets").await;
    let waiting = browser.text("#waiting").await;
    assert!(
        waiting.contains("asks for more than was granted: upstream target: the method PURGE"),
        "{waiting}"
    );
    browser.picture("version-waits").await;
    browser.click("#decide").await;
    assert!(browser.text("#more").await.contains("the method PURGE"));
    browser.picture("version-grant").await;
    browser.click("#grant button").await;
    browser.text("#flash").await;
    runs(&server, "tickets", &more).await;

    browser.click("#runs a").await;
    browser.text("#versions").await;
    browser.picture("versions").await;
    browser
        .click(&format!("#roll-back-{} button", Digest::of(&first)))
        .await;
    assert!(browser.text("#held").await.contains("Rolled back"));
    runs(&server, "tickets", &first).await;
    browser.picture("rolled-back").await;
    let decisions = browser.text("#decisions").await;
    for part in ["granted", "rolled back", "PURGE", "first-admin"] {
        assert!(decisions.contains(part), "{part}: {decisions}");
    }
    browser.click("#end-rollback button").await;
    browser.text("#flash").await;
    runs(&server, "tickets", &more).await;

    // What was granted can be refused again, with a reason.
    let page = format!(
        "{}/panel/connections/tickets/versions/{}",
        server.api.admin,
        Digest::of(&more)
    );
    browser.client.goto(&page).await.unwrap();
    let field = browser
        .client
        .wait()
        .for_element(Locator::Css("#reason"))
        .await
        .unwrap();
    field.send_keys("not reviewed").await.unwrap();
    browser.click("#refuse button").await;
    assert!(browser.text("#waiting").await.contains("was refused"));
    runs(&server, "tickets", &first).await;
    browser.client.clone().close().await.unwrap();
}
