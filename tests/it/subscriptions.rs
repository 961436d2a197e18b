//! Who is owed what: wildcards, filters, and what happens to events that a filter cannot answer for.

use std::time::Duration;

use cofferdam_server::admin::views::ConnectionView;
use cofferdam_server::ingest::EventsAccepted;
use cofferdam_server::problem::Problem;
use cofferdam_server::subscriptions::{DryRun, Judged};
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Answer, Running, Setup, Upstream, api};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::connections::probe_server;

/// A connection of the probe that takes these types through this filter.
fn filtered(name: &str, upstream: &Upstream, subscribe: &str, filter: &str) -> String {
    format!(
        "name = \"{name}\"\nconnector = \"probe\"\nsubscribe = [\"{subscribe}\"]\nfilter = '''{filter}'''\n\n\
         [upstreams.target]\nbase_url = \"{}\"\nattach = \"none\"\nnetworks = [\"127.0.0.0/8\"]\nmethods = [\"GET\"]\n",
        upstream.url()
    )
}

/// To how many connections this event was owed.
async fn owed(server: &Running, id: &str, kind: &str, data: serde_json::Value) -> usize {
    server.api.send_event(id, kind, data).await.accepted[0].deliveries
}

async fn metrics(server: &Running) -> String {
    let request = api::client().get(format!("{}/metrics", server.api.admin));
    request.send().await.unwrap().text().await.unwrap()
}

async fn dry_run(server: &Running, token: &str, request: serde_json::Value) -> reqwest::Response {
    let url = format!("{}/v1/subscriptions/dry-run", server.api.admin);
    let request = api::client().post(url).bearer_auth(token).body(request.to_string());
    request.header("content-type", "application/json").send().await.unwrap()
}

#[tokio::test]
async fn an_event_is_owed_where_its_type_fits_and_the_filter_is_true_of_it() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    let filter = "data.amount > 100 && event.source == '/tests'";
    server.api.apply(&filtered("big", &target, "shop.*.paid", filter)).await;
    assert_eq!(
        owed(&server, "1", "shop.order.paid", json!({"amount": 101, "do": "call"})).await,
        1
    );
    assert_eq!(owed(&server, "2", "shop.order.paid", json!({"amount": 100})).await, 0);
    assert_eq!(
        owed(&server, "3", "shop.order.item.paid", json!({"amount": 101})).await,
        0
    );
    assert_eq!(
        owed(&server, "4", "shop.order.refunded", json!({"amount": 101})).await,
        0
    );

    let answers = server.api.connection("big").await.filter_answers.unwrap();
    assert_eq!(
        (answers.wanted, answers.unwanted, answers.errors, answers.overruns),
        (1, 1, 0, 0)
    );
    let text = metrics(&server).await;
    let line = "cofferdam_filter_answers_total{workspace=\"default\",connection=\"big\",answer=\"unwanted\"} 1";
    assert!(text.contains(line), "{text}");
    target.wait_for(1).await;
}

#[tokio::test]
async fn an_event_on_which_the_filter_fails_is_not_owed_but_counted_and_shown() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server
        .api
        .apply(&filtered("strict", &target, "*", "data.issue.number == 1"))
        .await;
    assert_eq!(owed(&server, "1", "t", json!({"issue": {}})).await, 0);
    assert_eq!(
        owed(&server, "2", "t", json!({"issue": {"number": 1}, "do": "call"})).await,
        1
    );
    let answers = server.api.connection("strict").await.filter_answers.unwrap();
    assert_eq!((answers.wanted, answers.errors), (1, 1));
    assert!(answers.last_problem.unwrap().contains("no key number"));
    assert!(answers.last_problem_at.is_some());
    assert!(metrics(&server).await.contains("answer=\"error\"} 1"));

    // Another filter holds at once, and is counted from the beginning.
    let file = filtered(
        "strict",
        &target,
        "*",
        "has(data.issue.number) && data.issue.number == 1",
    );
    let applied = server.api.apply(&file).await;
    assert_eq!(applied.filter_answers, Some(Default::default()));
    assert_eq!(owed(&server, "3", "t", json!({"issue": {}})).await, 0);
    let answers = server.api.connection("strict").await.filter_answers.unwrap();
    assert_eq!((answers.unwanted, answers.errors), (1, 0));
}

#[tokio::test]
async fn a_filter_that_cannot_be_compiled_is_refused_with_its_line_and_place() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    for (filter, place) in [
        ("data.amount >", "filter 1:"),
        ("data.amount > 1 && dat.x", "filter 1:20: no variable dat"),
        ("data.name.matches(data.pattern)", "must be a literal"),
    ] {
        let file = filtered("bad", &target, "*", filter);
        let request = server.api.request(Method::POST, "/v1/connections").body(file);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{filter}");
        let problem: Problem = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(problem.mistakes.len(), 1, "{problem:?}");
        assert_eq!(problem.mistakes[0].line, 4, "{problem:?}");
        assert!(problem.mistakes[0].text.contains(place), "{problem:?}");
    }
    let connections: Vec<ConnectionView> = server.api.get("/v1/connections").await;
    assert!(connections.is_empty());
}

#[tokio::test]
async fn a_filter_holds_after_a_restart() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&filtered("f", &target, "*", "data.n == 1")).await;
    let server = server.kill().await.start().await;
    assert_eq!(owed(&server, "1", "t", json!({"n": 2})).await, 0);
    assert_eq!(owed(&server, "2", "t", json!({"n": 1, "do": "call"})).await, 1);
}

#[tokio::test]
async fn a_hostile_filter_loses_no_event_and_holds_up_nobody_else() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    let hostile =
        "data.list.all(x, data.list.exists(y, y != x && data == data && data.list.exists_one(z, z == y)) || true)";
    let refused = filtered("hostile", &target, "*", hostile);
    let answer = server
        .api
        .request(Method::POST, "/v1/connections")
        .body(refused)
        .send()
        .await
        .unwrap();
    assert_eq!(
        answer.status(),
        StatusCode::BAD_REQUEST,
        "three loops within each other"
    );
    let hostile = "data.list.all(x, data.list.exists(y, y != x && data == data) || true)";
    server
        .api
        .apply(&filtered("hostile", &target, "hostile.*", hostile))
        .await;
    server
        .api
        .apply(&filtered("calm", &target, "calm", "data.n >= 0"))
        .await;
    server.api.post("/v1/connections/hostile/disable").await;

    let list: Vec<u32> = vec![0; 12_000];
    let flood = (0..16).map(|n| {
        let (api, data) = (server.api.clone(), json!({"list": list}));
        tokio::spawn(async move { api.send_event(&format!("h{n}"), "hostile.x", data).await })
    });
    let flood: Vec<_> = flood.collect();
    for n in 0..20 {
        let began = std::time::Instant::now();
        assert_eq!(
            owed(&server, &format!("c{n}"), "calm", json!({"n": n, "do": "call"})).await,
            1
        );
        // Far above what it takes; sixteen evaluations without a bound would take minutes.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    for sent in flood {
        assert_eq!(
            sent.await.unwrap().accepted[0].deliveries,
            1,
            "nothing is dropped by a bound"
        );
    }
    let view = server.api.connection("hostile").await;
    assert_eq!(view.depth.pending, 16);
    assert_eq!(view.filter_answers.unwrap().overruns, 16);
    let calm = server.api.connection("calm").await.filter_answers.unwrap();
    assert_eq!((calm.wanted, calm.overruns), (20, 0));
}

#[tokio::test]
async fn a_dry_run_says_what_would_match_and_changes_nothing() {
    let server = probe_server().await;
    for (id, kind, data) in [
        ("1", "shop.order.paid", json!({"amount": 5})),
        ("2", "shop.order.paid", json!({"amount": 500})),
        ("3", "shop.order.paid", json!({"total": 1})),
        ("4", "shop.order.lost", json!({"amount": 500})),
    ] {
        assert_eq!(owed(&server, id, kind, data).await, 0);
    }
    let token = server.api.token.clone();
    let request = json!({"subscribe": ["shop.*.paid"], "filter": "data.amount > 100"});
    let run: DryRun = api::read(dry_run(&server, &token, request).await).await;
    assert_eq!((run.examined, run.of_type, run.matched, run.failed), (4, 3, 1, 1));
    assert!(run.complete);
    // Events of the same millisecond have no order.
    let of = |judged| run.events.iter().find(|event| event.judged == judged);
    assert_eq!(run.events.len(), 2);
    assert_eq!(of(Judged::Match).unwrap().kind, "shop.order.paid");
    let failed = of(Judged::Failed).unwrap();
    assert!(failed.problem.as_deref().unwrap().contains("no key amount"));
    let latest: DryRun = api::read(dry_run(&server, &token, json!({"limit": 1})).await).await;
    assert_eq!((latest.examined, latest.matched, latest.events.len()), (1, 1, 1));

    for (bad, field) in [
        (json!({"filter": "data.("}), "filter"),
        (json!({"limit": 0}), "limit"),
        (json!({"limit": 1001}), "limit"),
    ] {
        let answer = dry_run(&server, &token, bad).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let problem: Problem = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(problem.field.as_deref(), Some(field));
    }
    let body = json!({"name": "v", "role": "viewer"}).to_string();
    let request = server
        .api
        .request(Method::POST, "/v1/tokens")
        .header("content-type", "application/json");
    let made: serde_json::Value = api::read(request.body(body).send().await.unwrap()).await;
    let answer = dry_run(&server, made["token"].as_str().unwrap(), json!({})).await;
    assert_eq!(
        answer.status(),
        StatusCode::FORBIDDEN,
        "a filter tells what is in bodies"
    );
}

#[tokio::test]
async fn the_command_line_shows_a_dry_run() {
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    owed(&server, "1", "shop.order.paid", json!({"amount": 500})).await;
    let arguments = [
        "connection",
        "match",
        "--subscribe",
        "shop.*",
        "--filter",
        "data.amount > 100",
    ];
    let text = server.says(&arguments).await;
    assert!(
        text.contains("Of the latest 1 event, 1 of these types: 1 delivered"),
        "{text}"
    );
    assert!(text.contains("shop.order.paid"), "{text}");
}

#[tokio::test]
async fn deliveries_that_share_the_order_key_do_not_overtake_each_other() {
    let target = Upstream::start([Answer::held()], Answer::status(200)).await;
    let server = probe_server().await;
    let file = filtered("ordered", &target, "*", "true").replace("\"GET\"", "\"POST\"");
    server
        .api
        .apply(&format!("{file}\n[policy]\norder_by = \"partitionkey\"\n"))
        .await;
    let send = |id: &'static str, key: &'static str| {
        let request = server.api.public("/v1/events").bearer_auth(&server.api.token);
        let request = request
            .header("ce-specversion", "1.0")
            .header("ce-id", id)
            .header("ce-source", "/s");
        let request = request
            .header("ce-type", "t")
            .header("ce-partitionkey", key)
            .header("content-type", "application/json");
        let body = json!({"do": "call", "method": "POST", "body": id}).to_string();
        async move { api::read::<EventsAccepted>(request.body(body).send().await.unwrap()).await }
    };
    let bodies = |asked: Vec<cofferdam_tests::upstream::Asked>| -> Vec<String> {
        asked
            .iter()
            .map(|asked| String::from_utf8_lossy(&asked.body).into_owned())
            .collect()
    };
    send("a1", "a").await;
    target.wait_for(1).await;
    send("a2", "a").await;
    send("b1", "b").await;
    // b1 was accepted after a2 and passes it: a2 waits for a1, which the upstream holds.
    assert_eq!(bodies(target.wait_for(2).await), ["a1", "b1"]);
    target.release();
    assert_eq!(bodies(target.wait_for(3).await), ["a1", "b1", "a2"]);
}
