//! When producers are told to come back: marks of lanes and of the server, head-room for those that do not come back, a disk
//! that is almost full, and what is a duplicate.

use cofferdam_domain::Event;
use cofferdam_server::ingest::EventsAccepted;
use cofferdam_server::problem::Problem;
use cofferdam_tests::artifacts::{plugin, test_guest};
use cofferdam_tests::{Answer, Running, Setup, Upstream, api, wait};
use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::connections::{GITHUB_SECRET, issue_opened, probe, slack_file};

/// A server with this configuration and the connections `full`, which is off, and `free`.
async fn server(config: &str, full: &str) -> (Running, Upstream) {
    let target = Upstream::start([], Answer::status(200)).await;
    let setup = Setup::new().plugin(&test_guest("probe")).config(config);
    let server = setup.start().await;
    server.api.apply(&probe("full", &target, full)).await;
    server.api.apply(&probe("free", &target, "")).await;
    server.api.post("/v1/connections/full/disable").await;
    (server, target)
}

/// Sends events of these types in one batch.
async fn send(server: &Running, id: &str, kinds: &[&str]) -> Response {
    let events: Vec<_> = kinds
        .iter()
        .enumerate()
        .map(|(n, kind)| {
            json!({"specversion": "1.0", "id": format!("{id}-{n}"), "source": "/tests", "type": kind, "data": {"do": "call"}})
        })
        .collect();
    let request = server.api.public("/v1/events").bearer_auth(&server.api.token);
    let request = request.header("content-type", "application/cloudevents-batch+json");
    request.body(json!(events).to_string()).send().await.unwrap()
}

/// The refusal, which says when to come back, in its header as in its body.
async fn refused(answer: Response, status: StatusCode, code: &str) -> Problem {
    assert_eq!(answer.status(), status, "{code}");
    let header: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let problem: Problem = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(problem.code, code, "{problem:?}");
    assert!((1..=300).contains(&header), "{problem:?}");
    assert_eq!(problem.retry_after_s, Some(header));
    assert!(problem.detail.contains("nothing was accepted"), "{problem:?}");
    problem
}

async fn metrics(server: &Running) -> String {
    let request = api::client().get(format!("{}/metrics", server.api.admin));
    request.send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_full_lane_refuses_what_it_is_owed_as_a_whole_and_nothing_else() {
    let (server, _target) = server("\n[limits]\npending_per_connection = 10\n", "").await;
    assert_eq!(
        send(&server, "a", &["test.full"; 8]).await.status(),
        StatusCode::ACCEPTED
    );
    // 10 less the head-room of 10 percent is 9: there is room for one, and not for one of two.
    let answer = send(&server, "b", &["test.free", "test.full", "test.full"]).await;
    let problem = refused(answer, StatusCode::TOO_MANY_REQUESTS, "lane-full-count").await;
    assert!(problem.detail.contains("connection full"), "{problem:?}");
    let kept: Vec<Event> = server.api.get("/v1/events").await;
    assert_eq!(kept.len(), 8, "a batch is taken or refused as a whole");
    assert_eq!(send(&server, "c", &["test.full"]).await.status(), StatusCode::ACCEPTED);
    refused(
        send(&server, "d", &["test.full"]).await,
        StatusCode::TOO_MANY_REQUESTS,
        "lane-full-count",
    )
    .await;
    assert_eq!(
        send(&server, "e", &["test.free"; 20]).await.status(),
        StatusCode::ACCEPTED
    );
    let text = metrics(&server).await;
    let line = "cofferdam_ingest_refused_total{door=\"api\",reason=\"lane-full-count\"} 2";
    assert!(text.contains(line), "{text}");
    // Once it drains, the same producer is heard again.
    server.api.post("/v1/connections/full/enable").await;
    wait::until("room in the lane", || async {
        let answer = send(&server, "d", &["test.full"]).await;
        (answer.status() == StatusCode::ACCEPTED).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_mark_has_a_code_of_its_own() {
    for (config, policy, code) in [
        ("", "[policy]\npending_max = 2\n", "lane-full-count"),
        ("", "[policy]\npending_bytes_max = 20\n", "lane-full-bytes"),
        ("", "[policy]\npending_age_max_ms = 2\n", "lane-too-old"),
        ("\n[limits]\npending_bytes_per_connection = 20\n", "", "lane-full-bytes"),
        ("\n[limits]\npending_age_ms_per_connection = 2\n", "", "lane-too-old"),
        ("\n[limits]\npending = 2\n", "", "server-full-count"),
        ("\n[limits]\npending_bytes = 20\n", "", "server-full-bytes"),
    ] {
        let (server, _target) = server(config, policy).await;
        let mut n = 0;
        let answer = wait::until(code, || {
            n += 1;
            let (server, id) = (&server, n.to_string());
            async move {
                let answer = send(server, &id, &["test.full"]).await;
                (answer.status() != StatusCode::ACCEPTED).then_some(answer)
            }
        })
        .await;
        assert!(n > 1, "{code}: where nothing waits something is taken");
        refused(answer, StatusCode::TOO_MANY_REQUESTS, code).await;
        let line = format!("cofferdam_ingest_refused_total{{door=\"api\",reason=\"{code}\"}} 1");
        assert!(metrics(&server).await.contains(&line), "{code}");
    }
}

#[tokio::test]
async fn webhooks_still_find_the_head_room_that_api_callers_leave() {
    let slack = Upstream::start([], Answer::status(200)).await;
    let setup = Setup::new().plugin(&plugin("github")).plugin(&plugin("slack"));
    let setup = setup.config("\n[limits]\npending_per_connection = 4\nheadroom_percent = 50\n");
    let server = setup.start().await;
    let file = "name = \"github\"\nconnector = \"github\"\n[inbound]\nscheme = \"github\"\ncredential = \"signing\"\n";
    server.api.apply(file).await;
    server.api.set_secret("github", "signing", GITHUB_SECRET).await;
    server.api.apply(&slack_file(&slack, "")).await;
    server.api.post("/v1/connections/slack-alerts/disable").await;
    for n in 0..2 {
        assert_eq!(
            send(&server, &n.to_string(), &["com.github.x"]).await.status(),
            StatusCode::ACCEPTED
        );
    }
    refused(
        send(&server, "2", &["com.github.x"]).await,
        StatusCode::TOO_MANY_REQUESTS,
        "lane-full-count",
    )
    .await;
    for n in 0..2 {
        let body = issue_opened(n);
        let answer = server
            .api
            .send_github(GITHUB_SECRET, "issues", &format!("d-{n}"), &body)
            .await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
    }
    let body = issue_opened(9);
    let answer = server.api.send_github(GITHUB_SECRET, "issues", "d-9", &body).await;
    refused(answer, StatusCode::TOO_MANY_REQUESTS, "lane-full-count").await;
    // What cannot be read is nobody's delivery but a dead letter, and is kept although the lane is full.
    let answer = server.api.send_github(GITHUB_SECRET, "issues", "d-10", "no JSON").await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn an_almost_full_disk_stops_accepting_while_deliveries_go_on() {
    let (server, target) = server("", "").await;
    assert_eq!(send(&server, "a", &["test.full"]).await.status(), StatusCode::ACCEPTED);
    let ready = || async {
        let request = api::client().get(format!("{}/readyz", server.api.admin));
        request.send().await.unwrap().status()
    };
    assert_eq!(ready().await, StatusCode::OK);

    // No disk has a petabyte left.
    let setup = server
        .kill()
        .await
        .config("\n[store]\nfree_bytes_min = 1125899906842624\n");
    let server = setup.start().await;
    let problem = refused(
        send(&server, "b", &["test.free"]).await,
        StatusCode::SERVICE_UNAVAILABLE,
        "disk-almost-full",
    )
    .await;
    assert!(problem.detail.contains("disk"), "{problem:?}");
    let request = api::client().get(format!("{}/readyz", server.api.admin));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text().await.unwrap().contains("disk"), "readyz says why");
    server.api.post("/v1/connections/full/enable").await;
    target.wait_for(1).await;
    wait::until("the settle", || async {
        (server.api.connection("full").await.depth.delivered == 1).then_some(())
    })
    .await;
    let text = metrics(&server).await;
    let line = "cofferdam_ingest_refused_total{door=\"api\",reason=\"disk-almost-full\"} 1";
    assert!(
        text.contains(line) && text.contains("cofferdam_disk_free_bytes "),
        "{text}"
    );
    let told = server.log().matches("the disk is almost full").count();
    assert_eq!(told, 1, "once for each change");
}

#[tokio::test]
async fn retention_removes_what_is_done_and_counts_it_while_the_server_runs() {
    let (server, _target) = server("\n[retention]\nbodies_bytes = 1\n", "").await;
    assert_eq!(
        send(&server, "a", &["test.free", "test.full"]).await.status(),
        StatusCode::ACCEPTED
    );
    let line = "cofferdam_records_retired_total{kind=\"bodies\"} 1\n";
    wait::until("the body of the one that is done", || async {
        metrics(&server).await.contains(line).then_some(())
    })
    .await;
    // The other one waits, with its body.
    server.api.post("/v1/connections/full/enable").await;
    wait::until("the one that waited", || async {
        (server.api.connection("full").await.depth.delivered == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_forged_request_neither_learns_nor_uses_up_a_delivery_id() {
    let setup = Setup::new().plugin(&plugin("github"));
    let server = setup.start().await;
    let file = "name = \"github\"\nconnector = \"github\"\n[inbound]\nscheme = \"github\"\ncredential = \"signing\"\ndedupe_window_hours = 1\n";
    server.api.apply(file).await;
    server.api.set_secret("github", "signing", GITHUB_SECRET).await;
    let body = issue_opened(1);
    let genuine = |id: &'static str| server.api.send_github(GITHUB_SECRET, "issues", id, &body);
    let forged = |id: &'static str| server.api.send_github("guessed", "issues", id, &body);
    let first: EventsAccepted = api::read(genuine("known").await).await;
    assert!(!first.accepted[0].duplicate);

    let (known, fresh) = (forged("known").await, forged("fresh").await);
    assert_eq!(
        (known.status(), fresh.status()),
        (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED)
    );
    assert_eq!(known.text().await.unwrap(), fresh.text().await.unwrap());
    let after: EventsAccepted = api::read(genuine("fresh").await).await;
    assert!(!after.accepted[0].duplicate, "the forged one used the id up");
    let again: EventsAccepted = api::read(genuine("known").await).await;
    assert!(again.accepted[0].duplicate);

    let event = |id: &'static str| server.api.send_event(id, "t", json!({}));
    assert!(!event("1").await.accepted[0].duplicate && event("1").await.accepted[0].duplicate);
    let text = metrics(&server).await;
    for origin in ["api", "connection"] {
        let line = format!("cofferdam_events_duplicate_total{{origin=\"{origin}\"}} 1");
        assert!(text.contains(&line), "{text}");
    }
}
