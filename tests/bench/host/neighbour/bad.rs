//! Who is beside the good connection: something of each theme of `cargo xtask suite hostile-guests`, one connection named `bad`.

use std::fs;

use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Setup, frame};
use serde_json::{Value, json};

/// What the bad one is.
pub(crate) enum Bad {
    /// A connector that does as its events tell it.
    Told { connector: &'static str, act: Value },
    /// A connector around this body, which events are sent to, or requests if it is a source.
    Written(&'static str),
}

/// A bad one, and the row of what its neighbour notices.
pub(crate) struct Beside {
    pub(crate) key: &'static str,
    pub(crate) bad: Bad,
    /// Lines of its table `[policy]`.
    pub(crate) policy: &'static str,
}

/// A source that never comes to an end with a request.
const RECEIVE_LOOPS: &str = "(func (export \"receive\") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)\n  \
                             (loop $on (br $on)) (unreachable))";

/// All of them. Where it says nothing else, each has the limits that everybody has.
pub(crate) fn all() -> Vec<Beside> {
    let told = |key, act| Beside::told(key, "probe", act);
    vec![
        told("neighbour_p99_ratio_loop", json!({"do": "loop"})),
        told("neighbour_p99_ratio_grow", json!({"do": "grow"})),
        told("neighbour_p99_ratio_recurse", json!({"do": "recurse"})),
        told("neighbour_p99_ratio_panic", json!({"do": "panic"})),
        told("neighbour_p99_ratio_sleepless", json!({"do": "sleepless"})),
        told("neighbour_p99_ratio_flood", json!({"do": "flood", "path": "/0"})),
        told(
            "neighbour_p99_ratio_log",
            json!({"do": "flood-log", "lines": 10_000, "bytes": 1000}),
        ),
        told(
            "neighbour_p99_ratio_return",
            json!({"do": "big-return", "bytes": 4_000_000}),
        ),
        told(
            "neighbour_p99_ratio_request",
            json!({"do": "big-request", "bytes": 12_000_000}),
        ),
        Beside::written(
            "neighbour_p99_ratio_table",
            include_str!("../../../guests/wat/table.wat"),
        ),
        Beside::written(
            "neighbour_p99_ratio_start",
            include_str!("../../../guests/wat/start-loops-later.wat"),
        ),
        Beside::written(
            "neighbour_p99_ratio_allocator",
            include_str!("../../../guests/wat/allocator-grows.wat"),
        ),
        Beside::written(
            "neighbour_p99_ratio_remains",
            include_str!("../../../guests/wat/remember.wat"),
        ),
        Beside {
            // A burst of requests shares what each of them has, and the last of them has to be waited for.
            policy: "cpu_ms = 100",
            ..Beside::written("neighbour_p99_ratio_source", RECEIVE_LOOPS)
        },
        Beside {
            // The same for what sleeps until it is ended.
            policy: "deadline_ms = 300",
            ..Beside::told(
                "neighbour_p99_ratio_sleep",
                "wasi-probe",
                json!({"do": "sleep", "ms": 3_600_000}),
            )
        },
        Beside::told(
            "neighbour_p99_ratio_print",
            "wasi-probe",
            json!({"do": "print", "stdout": "a line of text\n".repeat(100), "times": 99}),
        ),
    ]
}

/// As much work at once, and nothing bad about it: what being beside it costs is load, and not hostility.
pub(crate) fn honest() -> Beside {
    Beside::told(
        "neighbour_p99_ratio_honest",
        "probe",
        json!({"do": "call", "path": "/0"}),
    )
}

impl Beside {
    fn told(key: &'static str, connector: &'static str, act: Value) -> Self {
        Self {
            key,
            bad: Bad::Told { connector, act },
            policy: "",
        }
    }

    fn written(key: &'static str, body: &'static str) -> Self {
        Self {
            key,
            bad: Bad::Written(body),
            policy: "",
        }
    }

    /// Puts its connector into the plugins folder, beside the good one's.
    pub(crate) fn place(&self, setup: Setup) -> Setup {
        match &self.bad {
            Bad::Told { connector: "probe", .. } => setup,
            Bad::Told { connector, .. } => setup.plugin(&test_guest(connector)),
            Bad::Written(body) => {
                let component = frame::assembled(&frame::text("bad", body)).expect("the body is well-formed");
                fs::write(setup.plugins().join("bad.wasm"), component).expect("the folder is ours");
                setup
            }
        }
    }

    /// The file of its connection: work is tried once, and its breaker never opens, so that it is at its worst throughout.
    pub(crate) fn connection(&self, upstream: &str) -> String {
        let (connector, upstream) = match &self.bad {
            Bad::Told { connector, .. } => (
                *connector,
                format!(
                    "[upstreams.target]\nbase_url = \"{upstream}\"\nnetworks = [\"127.0.0.0/8\"]\nattach = \"none\"\n"
                ),
            ),
            Bad::Written(_) => ("bad", String::new()),
        };
        let takes = if self.is_source() {
            "[inbound]\nscheme = \"none\""
        } else {
            "subscribe = [\"test.bad\"]"
        };
        let policy = self.policy;
        format!(
            "name = \"bad\"\nconnector = \"{connector}\"\n{takes}\n{upstream}[policy]\n{policy}\n[policy.retry]\nschedule_ms = [0]\n\
             max_age_ms = 60000\nfaults_max = 1\n[policy.breaker]\nfailures = 0\n"
        )
    }

    /// Whether it takes requests, and not events.
    pub(crate) fn is_source(&self) -> bool {
        matches!(&self.bad, Bad::Written(body) if frame::receives(body))
    }

    /// The data of its events.
    pub(crate) fn data(&self) -> Value {
        match &self.bad {
            Bad::Told { act, .. } => act.clone(),
            Bad::Written(_) => json!({}),
        }
    }
}
