//! What a guest finds of WASI 0.2 and what it may do with it, against a host whose way out is a stand-in.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cofferdam_domain::event::{Event, Origin};
use cofferdam_domain::limits::REQUEST_BYTES_MAX;
use cofferdam_domain::{CallResult, CorrelationId, Digest, EventId, FaultKind, Timestamp, TraceContext};
use cofferdam_host::{
    CallLimits, CallReport, Connector, DeliverRequest, Engine, EngineSettings, Environment, HttpDestination, HttpError,
    HttpRequest, HttpResponse, SendFuture,
};
use cofferdam_tests::artifacts::{target_dir, test_guest};
use serde_json::{Value, json};
use tokio::sync::{Barrier, OnceCell};

fn limits() -> CallLimits {
    CallLimits {
        deadline: Duration::from_secs(20),
        cpu: Duration::from_secs(10),
        ..CallLimits::default()
    }
}

const MIB: usize = 1024 * 1024;

/// Requests that one call may have under way.
const AT_ONCE: usize = 8;

/// One for all tests of this file, since an engine reserves address space for its pool.
static HOUSE: OnceCell<(Engine, Connector)> = OnceCell::const_new();

async fn house() -> &'static (Engine, Connector) {
    HOUSE
        .get_or_init(|| async {
            let engine = Engine::new(&EngineSettings::new(target_dir().join("test-compiled"))).unwrap();
            let connector = load(&engine).await;
            (engine, connector)
        })
        .await
}

async fn load(engine: &Engine) -> Connector {
    Connector::load(engine, &test_guest("wasi-probe")).await.unwrap()
}

/// What the path asks for: `/ok`, `/hang`, `/meet`, `/burn` or `/big`.
struct Outside {
    asked: Mutex<Vec<(HttpDestination, HttpRequest)>>,
    inside: AtomicUsize,
    inside_most: AtomicUsize,
    meeting: Barrier,
}

/// Counts a request that is under way.
struct Inside<'a>(&'a AtomicUsize);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Environment for Outside {
    fn send(&self, request: HttpRequest) -> SendFuture<'_> {
        panic!("the probe names URLs: {request:?}")
    }

    fn send_to(&self, destination: HttpDestination, request: HttpRequest) -> SendFuture<'_> {
        Box::pin(async move {
            let path = destination.path_with_query.clone();
            self.asked.lock().unwrap().push((destination, request));
            let inside = Inside(&self.inside);
            let now = inside.0.fetch_add(1, Ordering::SeqCst) + 1;
            self.inside_most.fetch_max(now, Ordering::SeqCst);
            let body = match path.split('?').next().unwrap_or_default() {
                "/hang" => std::future::pending().await,
                "/refused" => {
                    return Err(HttpError::Refused {
                        code: "upstream-not-granted".to_owned(),
                        message: String::new(),
                    });
                }
                "/meet" => {
                    self.meeting.wait().await;
                    Vec::new()
                }
                "/burn" => {
                    let began = Instant::now();
                    while began.elapsed() < Duration::from_millis(400) {
                        std::hint::spin_loop();
                    }
                    Vec::new()
                }
                "/big" => vec![b'x'; MIB],
                _ => b"fine".to_vec(),
            };
            Ok(HttpResponse {
                status: 200,
                headers: vec![("x-answer".to_owned(), b"yes".to_vec())],
                body,
            })
        })
    }

    fn settings(&self) -> &str {
        "{}"
    }

    fn credential_exists(&self, _: &str) -> bool {
        false
    }
}

/// One call and what it did outside.
struct Called {
    report: CallReport<CallResult>,
    outside: Arc<Outside>,
}

impl Called {
    fn summary(&self) -> &str {
        match self.report.result.as_ref().unwrap() {
            CallResult::Done(receipt) => receipt.summary.as_deref().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn failure_code(&self) -> &str {
        match self.report.result.as_ref().unwrap() {
            CallResult::Failed(failure) => failure.code.as_deref().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn fault(&self) -> (FaultKind, &str) {
        match self.report.result.as_ref().unwrap() {
            CallResult::Faulted(fault) => (fault.kind, &fault.message),
            other => panic!("{other:?}"),
        }
    }

    fn asked(&self) -> Vec<(HttpDestination, HttpRequest)> {
        self.outside.asked.lock().unwrap().clone()
    }
}

async fn act(data: Value) -> Called {
    act_within(data, limits()).await
}

async fn act_within(data: Value, limits: CallLimits) -> Called {
    let (engine, connector) = house().await;
    let outside = Arc::new(Outside {
        asked: Mutex::default(),
        inside: AtomicUsize::new(0),
        inside_most: AtomicUsize::new(0),
        meeting: Barrier::new(AT_ONCE),
    });
    let body = data.to_string().into_bytes();
    let request = DeliverRequest {
        event: event(&body),
        body,
        number: 1,
        idempotency_key: "key".to_owned(),
        deadline: Timestamp::ZERO,
    };
    let environment: Arc<dyn Environment> = outside.clone();
    let slot = engine.lane_slots().try_take().unwrap();
    let report = connector.deliver(request, environment, limits, slot).await;
    Called { report, outside }
}

fn event(body: &[u8]) -> Event {
    let rng = &mut rand::rng();
    Event {
        id: EventId::mint(Timestamp::ZERO, rng),
        workspace: cofferdam_domain::WorkspaceName::default(),
        correlation_id: CorrelationId::mint(Timestamp::ZERO, rng),
        trace: TraceContext::mint(rng),
        kind: "test.wasi".to_owned(),
        source: "/test".to_owned(),
        subject: None,
        time: None,
        received_at: Timestamp::ZERO,
        origin: Origin::Api("test".to_owned()),
        data_content_type: "application/json".to_owned(),
        data_schema: None,
        extensions: std::collections::BTreeMap::new(),
        body_bytes: body.len() as u64,
        body_hash: Digest::of(body),
        dedupe_key: None,
    }
}

fn fetch(path: &str) -> Value {
    json!({"url": format!("http://up.test{path}")})
}

fn does(what: &str, mut act: Value) -> Value {
    act["do"] = what.into();
    act
}

#[tokio::test]
async fn a_descriptor_sees_a_clock_that_stands_still_and_the_same_numbers_every_time() {
    let (engine, first) = house().await;
    let second = load(engine).await;
    assert_eq!(first.descriptor.summary, second.descriptor.summary);
    assert!(
        first.descriptor.summary.starts_with("At 0.0 and 0, ["),
        "{}",
        first.descriptor.summary
    );
}

#[tokio::test]
async fn there_is_no_environment_no_file_no_terminal_and_no_input() {
    assert_eq!(
        act(json!({"do": "environment"})).await.summary(),
        "0 variables, 0 arguments, no directory, 0 files open, no terminal, input ended"
    );
}

#[tokio::test]
async fn every_socket_and_every_lookup_of_a_name_is_refused() {
    assert_eq!(
        act(json!({"do": "sockets"})).await.summary(),
        "tcp4 access-denied, tcp6 access-denied, udp4 access-denied, udp6 access-denied, name access-denied"
    );
}

#[tokio::test]
async fn clocks_go_and_waiting_is_no_computing() {
    let strict = CallLimits {
        cpu: Duration::from_millis(500),
        ..limits()
    };
    let called = act_within(json!({"do": "sleep", "ms": 1000}), strict).await;
    let summary = called.summary();
    let words: Vec<_> = summary.split(' ').collect();
    assert!(words[1].parse::<u64>().unwrap() >= 1000, "{summary}");
    assert!(words[4].parse::<u64>().unwrap() > 1_700_000_000, "{summary}");
}

#[tokio::test]
async fn random_bytes_are_bounded() {
    assert_eq!(
        act(json!({"do": "random", "bytes": 65536})).await.summary(),
        "65536 true"
    );
    let called = act(json!({"do": "random", "bytes": 65537})).await;
    assert_eq!(
        called.fault(),
        (FaultKind::Trap, "asked for more than 65536 random bytes at once")
    );
}

#[tokio::test]
async fn an_exit_is_a_fault_whatever_its_status() {
    for (status, message) in [
        (true, "exited with status 0 instead of returning"),
        (false, "exited with status 1 instead of returning"),
    ] {
        let called = act(json!({"do": "exit", "status": status})).await;
        assert_eq!(called.fault(), (FaultKind::Trap, message));
    }
}

#[tokio::test]
async fn what_is_printed_is_in_the_log_within_its_bounds() {
    let called = act(json!({"do": "print", "stdout": "one\ntwo", "stderr": "three\n"})).await;
    let mut lines: Vec<_> = called
        .report
        .logs
        .iter()
        .map(|line| (line.level.as_str(), line.message.as_str(), line.fields[0].1.as_str()))
        .collect();
    // A line that has not ended is written when the call has.
    lines.sort_unstable();
    let expected = [
        ("info", "one", "stdout"),
        ("info", "two", "stdout"),
        ("warn", "three", "stderr"),
    ];
    assert_eq!(lines, expected);
    let flood = act(json!({"do": "print", "stdout": "line\n".repeat(1000)})).await;
    assert_eq!((flood.report.logs.len(), flood.report.logs_dropped), (64, 936));
}

#[tokio::test]
async fn resources_of_wasi_are_bounded_in_number() {
    for (what, fit, over) in [
        ("fields", 500, 520),
        ("streams", 500, 520),
        ("networks", 500, 520),
        // A timer is two: what waits and what is waited for.
        ("timers", 250, 260),
    ] {
        let collect = |times: u64| json!({"do": "collect", "what": what, "times": times});
        assert_eq!(act(collect(fit)).await.summary(), format!("{fit} kept"));
        assert_eq!(
            act(collect(over)).await.fault(),
            (FaultKind::Handles, "held more than 512 WASI resources at once"),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_request_reaches_the_environment_as_it_was_written_and_its_answer_the_guest() {
    let called = act(does(
        "fetch",
        json!({"url": "http://Up.test:8080/a/../b?c=d", "method": "PUT", "headers": [["X-A", "1"], ["x-a", "2"]],
               "body": "hello"}),
    ))
    .await;
    assert_eq!(called.summary(), "200 fine");
    let logged = |text: &str| called.report.logs.iter().any(|line| line.message == text);
    assert!(logged("header x-answer: yes") && logged("got 200 fine"));
    let (destination, request) = called.asked().remove(0);
    let expected = HttpDestination {
        scheme: "http".to_owned(),
        authority: "Up.test:8080".to_owned(),
        path_with_query: "/a/../b?c=d".to_owned(),
    };
    assert_eq!(destination, expected);
    assert_eq!(
        (request.method.as_str(), request.body.as_slice()),
        ("PUT", &b"hello"[..])
    );
    let headers = [("x-a".to_owned(), b"1".to_vec()), ("x-a".to_owned(), b"2".to_vec())];
    assert_eq!(request.headers, headers);
}

#[tokio::test]
async fn what_is_not_said_of_a_url_is_https_and_nothing() {
    let called = act(does("fetch", json!({"method": "PURGE"}))).await;
    assert_eq!(called.summary(), "200 fine");
    let (destination, request) = called.asked().remove(0);
    assert_eq!(
        (destination.scheme.as_str(), request.method.as_str()),
        ("https", "PURGE")
    );
    assert!(destination.authority.is_empty() && destination.path_with_query.is_empty());
}

#[tokio::test]
async fn a_refusal_is_an_error_code_and_no_fault() {
    let called = act(does("fetch", fetch("/refused"))).await;
    assert_eq!(called.failure_code(), "HTTP-request-denied");
}

#[tokio::test]
async fn time_outs_bound_the_exchange_as_a_whole() {
    for (options, expected) in [
        (json!({}), None),
        (json!({"connect_timeout_ms": 5}), None),
        (json!({"between_bytes_timeout_ms": 5}), None),
        (json!({"first_byte_timeout_ms": 0}), Some(0)),
        (json!({"first_byte_timeout_ms": 7}), Some(7)),
        (
            json!({"first_byte_timeout_ms": 7, "connect_timeout_ms": 5, "between_bytes_timeout_ms": 1}),
            Some(12),
        ),
    ] {
        let mut request = fetch("/ok");
        request
            .as_object_mut()
            .unwrap()
            .extend(options.as_object().unwrap().clone());
        let called = act(does("fetch", request)).await;
        let timeout = called.asked()[0].1.timeout;
        assert_eq!(timeout, expected.map(Duration::from_millis), "{options}");
    }
}

#[tokio::test]
async fn a_body_over_the_cap_is_cut_right_behind_it_for_the_gate_to_refuse() {
    for (bytes, taken) in [
        (REQUEST_BYTES_MAX, REQUEST_BYTES_MAX),
        (REQUEST_BYTES_MAX + 1, REQUEST_BYTES_MAX + 1),
        (REQUEST_BYTES_MAX + MIB, REQUEST_BYTES_MAX + 1),
    ] {
        let mut request = fetch("/ok");
        request["body_bytes"] = bytes.into();
        request["method"] = "POST".into();
        let called = act(does("fetch", request)).await;
        assert_eq!(called.asked()[0].1.body.len(), taken);
    }
}

#[tokio::test]
async fn a_body_that_is_not_whole_is_never_sent() {
    for (more, code) in [
        (json!({"body": "abc", "abandon": true}), "HTTP-protocol-error"),
        (
            json!({"body": "abc", "trailer": true}),
            "HTTP-request-trailer-section-size",
        ),
        (
            json!({"body": "abc", "headers": [["content-length", "5"]]}),
            "HTTP-request-body-size 3",
        ),
        (
            json!({"headers": [["content-length", "5"]]}),
            "HTTP-request-body-size 0",
        ),
    ] {
        let mut request = fetch("/ok");
        request
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let called = act(does("fetch", request)).await;
        assert_eq!(called.failure_code(), code, "{more}");
        assert!(called.asked().is_empty(), "{more}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_enter_in_the_order_in_which_they_were_begun_and_eight_at_once() {
    let requests: Vec<_> = (0..2 * AT_ONCE)
        .map(|at| {
            let mut request = fetch(&format!("/meet?{at}"));
            // The larger the body, the later it is whole.
            request["body_bytes"] = ((2 * AT_ONCE - at) * 40_000).into();
            request
        })
        .collect();
    let called = act(json!({"do": "fetch-all", "requests": requests})).await;
    assert_eq!(called.summary(), vec!["200"; 2 * AT_ONCE].join(", "));
    let order: Vec<_> = called
        .asked()
        .into_iter()
        .map(|(destination, _)| destination.path_with_query)
        .collect();
    let expected: Vec<_> = (0..2 * AT_ONCE).map(|at| format!("/meet?{at}")).collect();
    assert_eq!(order, expected);
    assert_eq!(called.outside.inside_most.load(Ordering::SeqCst), AT_ONCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_that_are_given_up_hold_up_none_and_are_bounded_in_number() {
    let give_up = |times: usize| json!({"do": "give-up", "request": fetch("/ok"), "times": times});
    assert_eq!(act(give_up(255)).await.summary(), "200, after 255");
    assert_eq!(
        act(give_up(300)).await.summary(),
        "error connection-limit-reached, after 256"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_goes_on_behind_the_end_of_a_call() {
    let abandoned = vec![fetch("/hang"); AT_ONCE - 1];
    let called = act(json!({"do": "abandon", "requests": abandoned, "then": fetch("/ok")})).await;
    assert_eq!(called.summary(), "abandoned, then 200 fine");
    assert_eq!(called.asked().len(), AT_ONCE, "all of them were under way");
    assert_eq!(called.outside.inside.load(Ordering::SeqCst), 0);

    let short = CallLimits {
        deadline: Duration::from_millis(300),
        ..limits()
    };
    let called = act_within(does("fetch", fetch("/hang")), short).await;
    assert_eq!(called.fault().0, FaultKind::Deadline);
    assert_eq!(called.asked().len(), 1);
    assert_eq!(called.outside.inside.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_the_host_holds_for_a_call_counts_as_its_memory() {
    let tight = CallLimits {
        memory_bytes: 12 * MIB,
        ..limits()
    };
    let hoard = |times: usize| json!({"do": "hoard", "request": fetch("/big"), "times": times});
    assert_eq!(act_within(hoard(4), tight).await.summary(), "4 answers kept");
    let called = act_within(hoard(16), tight).await;
    let (kind, message) = called.fault();
    assert_eq!(kind, FaultKind::Memory);
    assert!(message.ends_with("12582912 are allowed"), "{message}");
    // One after the other they fit, however many there are.
    let mut one = fetch("/big");
    one["method"] = "GET".into();
    let called = act_within(json!({"do": "fetch-all", "requests": [one.clone(), one]}), tight).await;
    assert_eq!(called.summary(), "200, 200");
    assert!(called.report.usage.memory_bytes <= 12 * MIB as u64);
}

#[tokio::test]
async fn every_call_of_the_host_counts_whoever_wrote_its_function() {
    for call in ["now", "random", "ready", "check-write"] {
        let repeat = |times: u64| json!({"do": "repeat", "call": call, "times": times});
        let few = CallLimits {
            host_calls: 200,
            ..limits()
        };
        let called = act_within(repeat(100), few).await;
        assert_eq!(called.summary(), "100 times", "{call}");
        let called = act_within(repeat(201), few).await;
        let expected = "called the host 201 times; 200 are allowed";
        assert_eq!(called.fault(), (FaultKind::HostCalls, expected), "{call}");
    }
}

#[tokio::test]
async fn what_the_host_computes_for_a_request_is_charged_to_the_call() {
    let strict = CallLimits {
        cpu: Duration::from_millis(200),
        ..limits()
    };
    let called = act_within(does("fetch", fetch("/burn")), strict).await;
    assert_eq!(called.fault().0, FaultKind::Cpu);
}
