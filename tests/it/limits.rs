//! Limits of a call: each that is exceeded is a fault of its own with the number and the limit, a policy sets it, and the server
//! has the last word.

use std::net::SocketAddr;

use cofferdam_domain::{DeliveryState, ExchangeResult, FailureClass};
use cofferdam_server::admin::views::DeliveryTrace;
use cofferdam_server::problem::Problem;
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Answer, Feed, Running, Setup, Upstream, wait};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::connections::{probe, probe_server};
use crate::probes::{ONCE, act};

/// The code and the sentence of a connector fault; none of a delivery.
fn fault(trace: &DeliveryTrace) -> Option<(String, String)> {
    if matches!(trace.delivery.state, DeliveryState::Delivered { .. }) {
        return None;
    }
    let failure = trace.delivery.last_failure.clone().expect("it failed");
    assert_eq!(failure.class, FailureClass::ConnectorFault, "{failure:?}");
    Some((failure.code.unwrap(), failure.message))
}

fn flood(lines: u64, bytes: u64) -> Value {
    json!({"do": "flood-log", "lines": lines, "bytes": bytes})
}

/// Under each policy what is within the limit is done, and what is over it is the fault of that code, with these words.
#[tokio::test]
async fn each_limit_holds_at_its_number_and_one_more_is_a_fault_of_its_own() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    let ok = || json!({"do": "ok"});
    // A line takes its message and a field of six bytes.
    for (at, (limit, within, over, code, said)) in [
        (
            "host_calls = 5",
            flood(5, 1),
            flood(6, 1),
            "host-calls",
            "called the host 6 times; 5 are allowed",
        ),
        (
            "log_lines = 3",
            flood(3, 1),
            flood(4, 1),
            "log-lines",
            "wrote 4 log lines; 3 are allowed",
        ),
        (
            "log_bytes = 1024",
            flood(1, 1018),
            flood(1, 1019),
            "log-bytes",
            "wrote 1025 bytes of log; 1024 are allowed",
        ),
        (
            "host_call_bytes = 65536",
            flood(1, 60_000),
            flood(1, 70_000),
            "host-call-bytes",
            "moved more than 65536 bytes to the host at once",
        ),
        (
            "output_bytes = 1024",
            json!({"do": "big-return", "bytes": 1024}),
            json!({"do": "big-return", "bytes": 1025}),
            "output-bytes",
            "returned 1025 bytes; 1024 are allowed",
        ),
        (
            "cpu_ms = 100\nhost_calls = 10000000",
            ok(),
            json!({"do": "sleepless"}),
            "cpu",
            "; 100 ms are allowed",
        ),
        (
            "deadline_ms = 300\ncpu_ms = 60000",
            ok(),
            json!({"do": "loop"}),
            "deadline",
            "did not end within 300 ms",
        ),
        (
            "memory_bytes = 2097152",
            ok(),
            json!({"do": "grow"}),
            "memory",
            "bytes of memory; 2097152 are allowed",
        ),
        (
            "",
            ok(),
            json!({"do": "dig"}),
            "stack",
            "used more than 524288 bytes of stack",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        server
            .api
            .apply(&probe("p", &target, &format!("[policy]\n{limit}\n{ONCE}")))
            .await;
        assert_eq!(
            fault(&act(&server, &format!("{at} within"), within).await),
            None,
            "{limit}"
        );
        let (found, message) = fault(&act(&server, &format!("{at} over"), over).await).expect(limit);
        assert_eq!(found, code, "{limit}: {message}");
        assert!(message.contains(said), "{limit}: {message}");
    }
}

/// A component that is larger than it may be is not run at all.
#[tokio::test]
async fn what_a_component_is_made_of_is_bounded_too() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    for (limit, code, said) in [
        ("table_elements = 1", "table-elements", "table elements; 1 are allowed"),
        (
            "instances = 1",
            "instances",
            "is made of 2 instances or more; 1 are allowed",
        ),
    ] {
        let file = probe("p", &target, &format!("[policy]\n{limit}\n{ONCE}"));
        server.api.apply(&file).await;
        let (found, message) = fault(&act(&server, limit, json!({"do": "ok"})).await).expect(limit);
        assert_eq!(found, code, "{message}");
        assert!(message.contains(said), "{message}");
    }
    server.api.apply(&probe("p", &target, ONCE)).await;
    assert_eq!(
        fault(&act(&server, "with the defaults", json!({"do": "ok"})).await),
        None
    );
}

#[tokio::test]
async fn handles_that_a_guest_holds_at_once_are_counted_over_the_whole_call() {
    let server = Setup::new().plugin(&test_guest("wasi-probe")).start().await;
    let file = |more: &str| {
        format!("name = \"p\"\nconnector = \"wasi-probe\"\nsubscribe = [\"test.p\"]\n[policy]\n{more}\n{ONCE}")
    };
    let collect = |times: u64| json!({"do": "collect", "what": "timers", "times": times});
    server.api.apply(&file("handles = 50")).await;
    assert_eq!(fault(&act(&server, "few", collect(30)).await), None);
    let (code, message) = fault(&act(&server, "many", collect(51)).await).unwrap();
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("handles", "held more than 50 handles at once")
    );
    server.api.apply(&file("handles = 100")).await;
    assert_eq!(fault(&act(&server, "more are allowed", collect(51)).await), None);
}

#[tokio::test]
async fn an_answer_that_comes_in_counts_as_the_calls_memory() {
    const KIB: usize = 1024;
    let target = Upstream::start([], Answer::ok("x".repeat(3072 * KIB))).await;
    let server = probe_server().await;
    let file = |memory: usize| {
        probe(
            "p",
            &target,
            &format!("[policy]\nresponse_bytes_max = 16777216\nmemory_bytes = {memory}\n{ONCE}"),
        )
    };
    server.api.apply(&file(3584 * KIB)).await;
    // Its memory and the answer together are more than there is, long before it makes room for a copy.
    let trace = act(&server, "1", json!({"do": "call", "path": "/x"})).await;
    let (code, message) = fault(&trace).unwrap();
    assert_eq!(code, "memory", "{message}");
    let end = trace.attempts[0].ended.clone().unwrap();
    assert!(end.usage.memory_bytes <= 3584 * KIB as u64, "{:?}", end.usage);
    let cut = matches!(end.trail[0].result, ExchangeResult::Interrupted { .. });
    assert!(cut, "{:?}", end.trail);
    server.api.apply(&file(16 * 1024 * KIB)).await;
    assert_eq!(
        fault(&act(&server, "2", json!({"do": "call", "path": "/x"})).await),
        None
    );
}

/// An upstream that answers everything by the beginning of a large answer and by nothing more.
async fn stalls_after(bytes: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 4096];
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 16000000\r\n\r\n";
            // Whoever has enough of it may hang up in the middle.
            if stream.read(&mut asked).await.is_ok() && stream.write_all(head.as_bytes()).await.is_ok() {
                _ = stream.write_all(&vec![b'x'; bytes]).await;
            }
            open.push(stream);
        }
    });
    at
}

#[tokio::test]
async fn answers_that_never_end_count_as_the_calls_memory_all_together() {
    const MIB: usize = 1024 * 1024;
    let upstream = stalls_after(MIB).await;
    let server = Setup::new().plugin(&test_guest("wasi-probe")).start().await;
    let requests = vec![json!({"url": format!("http://{upstream}/")}); 8];
    for (memory, class, code) in [
        (6 * MIB, FailureClass::ConnectorFault, "memory"),
        // They fit, and so what is wrong with them is that they do not end.
        (16 * MIB, FailureClass::Timeout, "timed-out"),
    ] {
        let file = format!(
            "name = \"p\"\nconnector = \"wasi-probe\"\nsubscribe = [\"test.p\"]\n[upstreams.target]\nattach = \"none\"\n\
             base_url = \"http://{upstream}\"\nnetworks = [\"127.0.0.0/8\"]\nmethods = [\"GET\"]\n[policy]\n\
             response_bytes_max = 16777216\nmemory_bytes = {memory}\ndeadline_ms = 2000\n{ONCE}"
        );
        server.api.apply(&file).await;
        let acted = act(&server, code, json!({"do": "fetch-all", "requests": requests})).await;
        let failure = acted.delivery.last_failure.unwrap();
        assert_eq!(
            (failure.class, failure.code.as_deref()),
            (class, Some(code)),
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn drafts_over_the_limit_are_a_fault_and_the_page_is_not_taken() {
    let feed = Feed::start(0, 1).await;
    let server = Setup::new().plugin(&test_guest("feed")).start().await;
    for (at, (limit, count, expected)) in [
        ("", 1001, Some("returned 1001 event drafts; 1000 are allowed")),
        ("drafts = 2", 3, Some("returned 3 event drafts; 2 are allowed")),
        ("drafts = 3", 3, None),
        ("drafts = 1001", 1001, None),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("feed-{at}");
        feed.instead("", 200, &json!({"do": "many", "count": count}));
        let file = format!(
            "name = \"{name}\"\nconnector = \"feed\"\n[upstreams.feed]\nbase_url = \"{}\"\nattach = \"none\"\nnetworks = [\"127.0.0.0/8\"]\n\
             [poll]\nevery = \"1h\"\n[policy]\n{limit}\n{ONCE}",
            feed.url()
        );
        server.api.apply(&file).await;
        // The first poll comes by itself.
        let poll = wait::until("the poll's end", || async {
            let latest = server.api.connection(&name).await.polling?.latest?;
            let poll = server.api.delivery(latest.delivery).await;
            let state = &poll.delivery.state;
            matches!(state, DeliveryState::Delivered { .. } | DeliveryState::Dead { .. }).then_some(poll)
        })
        .await;
        let found = fault(&poll);
        let expected = expected.map(|said| ("drafts".to_owned(), said.to_owned()));
        assert_eq!(found, expected, "{limit}");
    }
}

async fn refused(server: &Running, file: &str) -> Problem {
    let request = server.api.request(reqwest::Method::POST, "/v1/connections");
    let answer = request.body(file.to_owned()).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_file_that_asks_for_more_than_the_server_allows_is_refused_with_both_numbers_at_its_line() {
    let target = Upstream::start([], Answer::status(200)).await;
    let setup = Setup::new().plugin(&test_guest("probe"));
    let server = setup
        .config("\n[host.maximum]\nhost_calls = 200000\nlog_lines = 10\n")
        .start()
        .await;
    let file = probe(
        "p",
        &target,
        "[policy]\nhost_calls = 200001\nlog_lines = 11\ncpu_ms = 60001\n",
    );
    // What no server allows is told first.
    let problem = refused(&server, &file).await;
    assert_eq!(problem.mistakes.len(), 1, "{problem:?}");
    assert!(
        problem.mistakes[0].text.contains("it must be 10 to 60000"),
        "{problem:?}"
    );
    let file = file.replace("cpu_ms = 60001", "cpu_ms = 60000");
    let problem = refused(&server, &file).await;
    let line_of = |key: &str| 1 + file.lines().position(|line| line.starts_with(key)).unwrap();
    let found: Vec<_> = problem
        .mistakes
        .iter()
        .map(|mistake| (mistake.line, mistake.text.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (
                line_of("host_calls"),
                "policy.host_calls is 200001; this server allows 200000 (host.maximum.host_calls of its configuration)"
            ),
            (
                line_of("log_lines"),
                "policy.log_lines is 11; this server allows 10 (host.maximum.log_lines of its configuration)"
            ),
        ]
    );
    let fits = file.replace("200001", "200000").replace("= 11", "= 10");
    assert!(server.api.apply(&fits).await.over_maximum.is_empty());
}

#[tokio::test]
async fn a_lowered_maximum_holds_what_was_applied_before_and_the_connection_says_so() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    let file = probe("p", &target, &format!("[policy]\nhost_calls = 500\n{ONCE}"));
    assert!(server.api.apply(&file).await.over_maximum.is_empty());
    assert_eq!(fault(&act(&server, "before", flood(400, 1)).await), None);
    let (_, _, setup) = server.stop().await;

    let lowered = "\n[host.maximum]\nhost_calls = 300\nlog_lines = 9000\n";
    let server = setup.config(lowered).start().await;
    let view = server.api.connection("p").await;
    let held: Vec<_> = view
        .over_maximum
        .iter()
        .map(|held| (held.limit.as_str(), held.asked, held.maximum))
        .collect();
    // The second was never asked for: it is the default.
    assert_eq!(held, [("host_calls", 500, 300), ("log_lines", 10_000, 9_000)]);
    let (code, message) = fault(&act(&server, "after", flood(400, 1)).await).unwrap();
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("host-calls", "called the host 301 times; 300 are allowed")
    );
    assert_eq!(fault(&act(&server, "within", flood(300, 1)).await), None);
    // The same file cannot be applied again as it is.
    assert!(
        refused(&server, &file).await.mistakes[0]
            .text
            .contains("this server allows 300")
    );
    // With the other default it can: nobody asked for that.
    let view = server.api.apply(&file.replace("= 500", "= 200")).await;
    assert_eq!(view.over_maximum.len(), 1);
}
