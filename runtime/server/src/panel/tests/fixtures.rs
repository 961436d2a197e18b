//! A workspace on a bad day: one connection well, one parked, one off, and outsiders who write markup everywhere.

mod flow;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::connection::ConnectionSpec;
use cofferdam_domain::lane::Note;
use cofferdam_domain::{
    Connection, DeliveryId, DeliveryState, Descriptor, Digest, FailureClass, LaneState, Timestamp, WorkspaceName,
};
use cofferdam_host::{Exports, LoadProblem};
use cofferdam_queue::{CursorFacts, Depth, StateSize};
use cofferdam_vault::{CredentialInfo, Fact, FactKind, Previous, Renewal};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;

use crate::admin::kept::{LatestPoll, Polling, StateKept};
use crate::admin::views::{ConnectionView, ConnectorView, ConnectorsView, Health, HeldLimit};
use crate::admin::{
    ConnectorVersions, Decision, DecisionKind, Held, Quarantined, RunsView, VersionFor, VersionState, VersionView,
    Waiting, Why,
};
use crate::panel::frame::{Frame, Section};
use crate::panel::sessions::Sessions;
use crate::subscriptions::FilterTally;
use crate::tokens::{Principal, Role, TokenHash};

pub(super) use flow::{dead_letters, events, trace};

pub(super) const HOSTILE: &str = "<script>alert(1)</script>";
pub(super) const FORM_TOKEN: &str = "form-token-of-the-session";

pub(super) fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-23T15:09:00.125Z").unwrap()
}

/// So many milliseconds before now.
fn ago(millis: u64) -> Timestamp {
    Timestamp::from_millis(now().as_millis() - millis)
}

pub(super) fn frame(role: Role, section: Section) -> Frame {
    let sessions = Sessions::default();
    let principal = Principal {
        name: "ann".into(),
        workspace: WorkspaceName::default(),
        role,
        created_at: Timestamp::ZERO,
    };
    let id = sessions.open(TokenHash::of("t0ken"), now(), &mut StdRng::seed_from_u64(1));
    let mut session = sessions.find(&id, now(), |_| Some(Arc::new(principal))).unwrap();
    session.form_token = FORM_TOKEN.into();
    Frame::new(&session, section, 3, now())
}

fn spec(name: &str, connector: &str) -> ConnectionSpec {
    let spec = json!({
        "name": name,
        "connector": connector,
        "owner": "Platform on call",
        "runbook": "https://runbooks.example/tickets",
        "subscribe": ["com.github.issues.*", "com.example.alert.raised"],
        "filter": format!("has(data.issue) && data.issue.title != '{HOSTILE}'"),
        "settings": { "channel": "#alerts", "title": HOSTILE },
        "policy": { "rate": { "count": 10, "per_ms": 1_000 }, "order_by": "subject", "pending_max": 5_000 },
        "upstreams": {
            "slack": { "base_url": "https://slack.com", "credential": "bot-token" },
            "mirror": {
                "base_url": "http://10.20.0.7:8080/mirror",
                "methods": ["POST"],
                "path_prefixes": ["/v2/messages"],
                "credential": "mirror-key",
                "attach": "header X-Api-Key",
                "networks": ["10.20.0.0/24"],
                "redirects": 2,
                "redirect_origins": ["http://10.20.0.8:8080"],
            },
        },
        "inbound": { "scheme": "github", "credential": "signing-secret" },
    });
    serde_json::from_value(spec).unwrap()
}

fn view(name: &str, health: Health, reason: Option<&str>, depth: [u64; 4]) -> ConnectionView {
    let [pending, in_flight, dead, delivered] = depth;
    let note = |reason: &str| Note {
        class: FailureClass::Auth,
        reason: reason.into(),
        since: ago(500_000),
    };
    ConnectionView {
        connection: Connection {
            workspace: WorkspaceName::default(),
            spec: spec(name, "slack"),
            granted: Some(Digest::of(b"slack")),
            grant: cofferdam_domain::grant::Grant::default(),
            enabled: health != Health::Off,
            revision: 4,
            updated_at: ago(86_400_000 * 2),
        },
        health,
        reason: reason.map(str::to_owned),
        runs: runs(),
        depth: Depth {
            pending,
            in_flight,
            dead,
            delivered,
            pending_bytes: pending * 1_840,
        },
        filter_answers: Some(FilterTally {
            wanted: 1_204,
            unwanted: 18_000,
            errors: 2,
            overruns: 1,
            last_problem: Some(format!("no such key: labels {HOSTILE}")),
            last_problem_at: Some(ago(90_000)),
        }),
        oauth2: std::collections::BTreeMap::new(),
        state_kept: Some(StateKept {
            bytes_max: 65_536,
            size: Some(StateSize {
                bytes: 1_204,
                keys: 7,
                changed_at: ago(90_000),
            }),
            problem: None,
        }),
        over_maximum: vec![HeldLimit {
            limit: "cpu_ms".into(),
            asked: 2_000,
            maximum: 1_500,
        }],
        polling: Some(Polling {
            schedule: format!("0 3 * * * (Europe/Berlin) {HOSTILE}"),
            next_due_at: None,
            latest: Some(LatestPoll {
                delivery: DeliveryId::from_bytes([7; 16]),
                correlation_id: "poll-1".parse().unwrap(),
                made_at: ago(90_000),
                state: DeliveryState::Pending { due_at: ago(0) },
                failure_class: Some(FailureClass::Dependency),
                failure: Some(format!("the feed answered 503 {HOSTILE}")),
            }),
            cursor: Some(CursorFacts {
                bytes: 24,
                hash: Digest::of(b"cursor"),
                set_at: ago(90_000),
            }),
            problem: None,
        }),
        lane: LaneState {
            parked: reason.map(note),
            ..LaneState::default()
        },
    }
}

pub(super) fn connections() -> Vec<ConnectionView> {
    let parked = format!("auth since 2026-11-23T14:58:12.004Z: the upstream answered 401, invalid_auth {HOSTILE}");
    vec![
        view("slack-alerts", Health::Ok, None, [2, 1, 0, 18_204]),
        view("tickets", Health::Parked, Some(&parked), [41, 0, 3, 977]),
        view(
            "status-page",
            Health::BackingOff,
            Some("asked to wait until 2026-11-23T15:10:00.000Z"),
            [7, 0, 0, 310],
        ),
        view(
            "billing",
            Health::BreakerOpen,
            Some(
                "open since 2026-11-23T15:07:12.250Z, opened 3 times in a row; one delivery probes it at \
                 2026-11-23T15:09:40.000Z: the upstream answered 503",
            ),
            [1_204, 0, 0, 8_113],
        ),
        view(
            "old-webhook",
            Health::Attention,
            Some("gone since 2026-11-22T08:00:00.000Z: 410 Gone"),
            [0, 0, 0, 55],
        ),
        view(
            "archive",
            Health::Off,
            Some("turned off; its deliveries wait"),
            [12, 0, 0, 0],
        ),
        view(
            "crm",
            Health::NoConnector,
            Some("no connector crm is loaded; its deliveries wait"),
            [1, 0, 0, 0],
        ),
        view(
            "chat",
            Health::Changed,
            Some("connector slack: its file has changed since the connection was applied"),
            [5, 0, 0, 4_021],
        ),
    ]
}

fn descriptor(name: &str, summary: &str) -> Descriptor {
    let descriptor = json!({
        "name": name,
        "version": "1.4.0",
        "summary": summary,
        "settings_schema": {},
        "upstreams": [{
            "name": "slack",
            "base_url": "https://slack.com",
            "reason": "Posts one message for each event into the channel that the settings name.",
            "methods": ["POST"],
            "path_prefixes": ["/api/chat.postMessage"],
            "credential": "bearer",
        }, {
            "name": "files",
            "base_url": null,
            "reason": format!("Uploads attachments {HOSTILE}"),
            "methods": ["GET", "PUT"],
            "path_prefixes": [],
            "credential": "header X-Api-Key",
        }],
        "inbound": "github",
        "consumes": ["com.github.*"],
        "produces": ["com.slack.message.posted"],
        "wants_state": false,
        "poll_every_s": 300,
    });
    serde_json::from_value(descriptor).unwrap()
}

/// One version runs, another asks for more, and a third is in quarantine.
fn runs() -> RunsView {
    RunsView {
        digest: Some(Digest::of(b"slack")),
        version: Some("1.4.0".into()),
        waiting: Some(Waiting {
            digest: Digest::of(b"slack 2"),
            version: format!("2.0.0-{HOSTILE}"),
            why: Why::AsksForMore,
            difference: vec![format!("upstream slack: paths under /{HOSTILE}")],
        }),
        quarantined: vec![Quarantined {
            digest: Digest::of(b"slack 1.5"),
            at: ago(90_000),
            faults: 5,
            reason: format!("panicked: {HOSTILE}"),
            instead: Digest::of(b"slack"),
        }],
    }
}

fn version(state: VersionState, content: &[u8]) -> VersionView {
    VersionView {
        digest: Digest::of(content),
        version: format!("1.4.0-{HOSTILE}"),
        bytes: 59_392,
        first_seen: ago(90_000),
        file: format!("{HOSTILE}.wasm"),
        state,
        reason: (state == VersionState::Unusable).then(|| format!("does not compile: {HOSTILE}")),
        signer: (state == VersionState::Current).then(|| "RWQexample".into()),
        connections: vec!["tickets".parse().unwrap()],
        asks: vec![format!("upstream slack: POST of /{HOSTILE}, credential `bearer`")],
    }
}

pub(super) fn versions() -> ConnectorVersions {
    ConnectorVersions {
        name: "slack".parse().unwrap(),
        file: Some(format!("{HOSTILE}.wasm")),
        current: Some(Digest::of(b"slack")),
        offered: Some(Digest::of(b"slack 2")),
        held: Some(Held {
            digest: Digest::of(b"slack"),
            by: HOSTILE.into(),
            at: ago(90_000),
            instead_of: Some(Digest::of(b"slack 2")),
            without_file: false,
        }),
        descriptor: None,
        versions: vec![
            version(VersionState::HeldBack, b"slack 2"),
            version(VersionState::Current, b"slack"),
            version(VersionState::Kept, b"slack 1.5"),
            version(VersionState::Unusable, b"slack 1"),
        ],
        problems: vec![LoadProblem {
            path: PathBuf::from("/plugins/slack.wasm"),
            reason: format!("does not compile: {HOSTILE}"),
        }],
    }
}

pub(super) fn decisions() -> Vec<Decision> {
    vec![Decision {
        at: ago(90_000),
        kind: DecisionKind::Refused,
        by: HOSTILE.into(),
        connector: "slack".parse().unwrap(),
        connection: Some("tickets".parse().unwrap()),
        digest: Some(Digest::of(b"slack 2")),
        difference: vec![format!("upstream slack: paths under /{HOSTILE}")],
        reason: Some(HOSTILE.into()),
    }]
}

pub(super) fn version_for() -> VersionFor {
    VersionFor {
        connector: "slack".parse().unwrap(),
        version: version(VersionState::Current, b"slack 2"),
        why: Some(Why::AsksForMore),
        difference: vec![format!("upstream slack: paths under /{HOSTILE}")],
    }
}

pub(super) fn connectors() -> ConnectorsView {
    let connector = |name: &str, summary: &str, connections: &[&str]| ConnectorView {
        held: None,
        versions: Vec::new(),
        descriptor: descriptor(name, summary),
        digest: Digest::of(name.as_bytes()),
        file: format!("{name}.wasm"),
        bytes: 59_392,
        exports: Exports {
            sink: true,
            source: true,
            poller: false,
        },
        connections: connections.iter().map(|name| name.parse().unwrap()).collect(),
    };
    ConnectorsView {
        connectors: vec![
            connector(
                "slack",
                "Posts events as messages into a Slack channel.",
                &["slack-alerts", "tickets"],
            ),
            connector("webhook", &format!("Sends events on {HOSTILE}."), &[]),
        ],
        absent: vec![versions()],
        loading: vec![format!("{HOSTILE}.wasm")],
        read: true,
        problems: vec![LoadProblem {
            path: PathBuf::from("/plugins/broken.wasm"),
            reason: format!("does not export cofferdam:connector/describe@0.1.0; it is not a connector {HOSTILE}"),
        }],
    }
}

pub(super) fn budgets() -> Vec<crate::budgets::BudgetView> {
    let upstream = &connectors().connectors[0].descriptor.upstreams[0].name;
    let budget = serde_json::json!({
        "share": "chat",
        "used_by": [{"connection": "tickets", "upstream": upstream}, {"connection": "alerts", "upstream": upstream}],
        "limits": {"rate": {"count": 60, "per_ms": 60_000}, "concurrency": 4},
        "tokens": 12, "in_use": 3, "waiting": 1,
        "hold": {"until": ago(0).as_millis() + 90_000, "reason": "spent"},
        "upstream": {"remaining": 0, "resets_at": ago(0).as_millis() + 90_000, "at": ago(5_000).as_millis()},
    });
    vec![serde_json::from_value(budget).unwrap()]
}

pub(super) fn credentials() -> Vec<CredentialInfo> {
    ["bot-token", "signing-secret"]
        .map(|name| CredentialInfo {
            workspace: WorkspaceName::default(),
            connection: "tickets".parse().unwrap(),
            name: name.parse().unwrap(),
            version: 3,
            created_at: ago(86_400_000 * 30),
            updated_at: ago(3_600_000 * 5),
            expires_at: Some(now().after(Duration::from_secs(3 * 86_400))),
            renewal: Renewal::ByPerson,
            refreshed: false,
            previous: vec![Previous {
                version: 2,
                until: now().after(Duration::from_secs(6 * 3_600)),
            }],
        })
        .into()
}

pub(super) fn facts() -> Vec<Fact> {
    vec![Fact {
        id: "000000000000002a".parse().unwrap(),
        at: ago(90_000),
        workspace: WorkspaceName::default(),
        connection: "tickets".parse().unwrap(),
        credential: "bot-token".parse().unwrap(),
        kind: FactKind::Reflected,
        version: Some(3),
        by: Some(HOSTILE.into()),
        detail: Some(format!("the upstream slack sent it back {HOSTILE}")),
    }]
}
