//! Every page, made from fixtures: what outsiders wrote stays text, a viewer has no buttons, and no page needs what the
//! content security policy forbids.

mod fixtures;

use askama::Template;

use super::badge::Tone;
use super::connection::{ConnectionPage, Shown};
use super::connection_delete::DeletePage;
use super::connections::{Back, ConnectionRow, ConnectionsPage};
use super::connectors::ConnectorsPage;
use super::dead_letters::DeadLettersPage;
use super::delivery::DeliveryRow;
use super::events::EventsPage;
use super::flash::Flash;
use super::frame::{Frame, Section};
use super::grant::GrantPage;
use super::problem_page::ProblemPage;
use super::redrives::{ConfirmPage, RedrivePage, RedriveRow, RedrivesPage};
use super::secret::SecretPage;
use super::sign_in::SignInPage;
use super::trace::TracePage;
use super::versions::VersionsPage;
use crate::admin::views::{ConnectionView, DeadLetterPage, Health};
use crate::admin::{LetterFilter, Preview, Redrive, RedriveKind};
use crate::problem::Problem;
use crate::timeline::{self, StepKind};
use crate::tokens::Role;
use fixtures::{FORM_TOKEN, HOSTILE, frame};

/// Every page that there is, by name, as a person with this role sees it.
fn pages(role: Role) -> Vec<(&'static str, String)> {
    let frame = |section| frame(role, section);
    vec![
        ("sign-in", sign_in()),
        (
            "problem",
            ProblemPage::from(Problem::not_found(format_args!("page {HOSTILE}")))
                .render()
                .unwrap(),
        ),
        (
            "connections",
            connections(frame(Section::Connections).flash(Some(Flash::TurnedOn))),
        ),
        (
            "no-connections",
            ConnectionsPage {
                frame: frame(Section::Connections),
                rows: Vec::new(),
            }
            .render()
            .unwrap(),
        ),
        ("connection", connection(frame(Section::Connections))),
        (
            "versions",
            VersionsPage::new(
                frame(Section::Connectors).titled("slack"),
                &fixtures::versions(),
                &fixtures::decisions(),
            )
            .render()
            .unwrap(),
        ),
        (
            "grant",
            GrantPage::new(frame(Section::Connections), "tickets".into(), &fixtures::version_for())
                .render()
                .unwrap(),
        ),
        (
            "connectors",
            ConnectorsPage::new(frame(Section::Connectors), &fixtures::connectors())
                .render()
                .unwrap(),
        ),
        ("events", events(frame(Section::Events))),
        (
            "trace",
            TracePage::new(frame(Section::Events), &fixtures::trace())
                .render()
                .unwrap(),
        ),
        ("dead-letters", dead_letters(frame(Section::DeadLetters))),
        ("redrive-confirm", redrive_confirm(frame(Section::DeadLetters))),
        (
            "redrive",
            RedrivePage::new(frame(Section::DeadLetters), &redrive("running"))
                .render()
                .unwrap(),
        ),
        (
            "redrives",
            RedrivesPage {
                rows: vec![RedriveRow::new(&redrive("done"), frame(Section::DeadLetters).now)],
                frame: frame(Section::DeadLetters),
            }
            .render()
            .unwrap(),
        ),
        (
            "secret",
            SecretPage {
                frame: frame(Section::Connections),
                connection: "tickets".into(),
                credential: "bot-token".into(),
                version: Some(3),
            }
            .render()
            .unwrap(),
        ),
        (
            "connection-delete",
            DeletePage {
                frame: frame(Section::Connections),
                name: "tickets".into(),
                waiting: 2,
            }
            .render()
            .unwrap(),
        ),
    ]
}

fn sign_in() -> String {
    let page = SignInPage {
        title: "Sign in".into(),
        next: super::destination::Destination::parse("/panel/traces/a"),
        form_token: FORM_TOKEN.into(),
        flash: Some(Flash::SignedOut),
        problem: Some("This token is not known.".into()),
    };
    page.render().unwrap()
}

fn connections(frame: Frame) -> String {
    let views = fixtures::connections();
    let rows = views
        .iter()
        .map(|view| ConnectionRow::new(view, Some("1.4.0".into()), Back::List))
        .collect();
    ConnectionsPage { frame, rows }.render().unwrap()
}

fn connection(frame: Frame) -> String {
    connection_of(frame, &fixtures::connections()[1])
}

fn connection_of(frame: Frame, view: &ConnectionView) -> String {
    let (now, trace) = (frame.now, fixtures::trace());
    let event = &trace.events[0];
    let deliveries = event
        .deliveries
        .iter()
        .map(|it| DeliveryRow::new(&it.delivery, Some(event.event.kind.clone()), now));
    let shown = Shown {
        view,
        version: Some("1.4.0".into()),
        descriptor: Some(&fixtures::connectors().connectors[0].descriptor),
        credentials: &fixtures::credentials(),
        budgets: &fixtures::budgets(),
        facts: &fixtures::facts(),
        deliveries: deliveries.collect(),
    };
    ConnectionPage::new(frame.titled("tickets"), shown).render().unwrap()
}

fn events(frame: Frame) -> String {
    let mut page = EventsPage::new(frame, &fixtures::events());
    page.search = Some((HOSTILE.into(), "a correlation id is something else".into()));
    page.render().unwrap()
}

fn dead_letters(frame: Frame) -> String {
    let filter = LetterFilter {
        connection: Some("tickets".parse().unwrap()),
        ..LetterFilter::default()
    };
    let page = DeadLetterPage {
        letters: fixtures::dead_letters(),
        next: Some("7.x".into()),
    };
    let connections = vec!["tickets".parse().unwrap(), "slack-alerts".parse().unwrap()];
    DeadLettersPage::new(frame, &page, &filter, connections)
        .render()
        .unwrap()
}

fn redrive_confirm(frame: Frame) -> String {
    let filter = LetterFilter {
        event_type: Some("<script>alert(1)</script>*".parse().unwrap()),
        ..LetterFilter::default()
    };
    let preview = Preview {
        count: 3,
        at_least: true,
        sample: fixtures::dead_letters(),
    };
    let page = ConfirmPage::new(frame, RedriveKind::Discard, &filter, &preview);
    page.render().unwrap()
}

fn redrive(state: &str) -> Redrive {
    serde_json::from_value(serde_json::json!({
        "id": 7, "workspace": "default", "what": "replay", "by": HOSTILE, "created_at": 0, "rate_per_s": 50,
        "scope": {"by": "filter", "filter": {"connection": "tickets"}},
        "state": state, "waiting": HOSTILE, "examined": 9, "changed": 4, "last_error": HOSTILE
    }))
    .unwrap()
}

#[test]
fn a_filter_survives_its_way_to_the_confirmation_and_from_there_to_the_job() {
    let html = redrive_confirm(frame(Role::Admin, Section::DeadLetters));
    let action = "/panel/redrives?type=%3Cscript%3Ealert%281%29%3C%2Fscript%3E%2A&";
    assert!(html.contains(action) && html.contains("what=discard\""), "{html}");
    assert!(html.contains("at least"));
}

#[test]
fn only_the_page_of_a_redrive_that_runs_reloads_itself_and_offers_to_cancel() {
    for (state, running) in [
        ("running", true),
        ("done", false),
        ("cancelled", false),
        ("failed", false),
    ] {
        let page = RedrivePage::new(frame(Role::Admin, Section::DeadLetters), &redrive(state));
        let html = page.render().unwrap();
        for part in ["http-equiv=\"refresh\"", "/panel/redrives/7/cancel"] {
            assert_eq!(html.contains(part), running, "{state} {part}");
        }
    }
}

#[test]
fn what_outsiders_wrote_stays_text() {
    for (name, html) in pages(Role::Admin) {
        assert!(!html.contains(HOSTILE) && !html.contains("<script"), "{name}");
    }
    for name in [
        "problem",
        "connection",
        "connections",
        "connectors",
        "events",
        "trace",
        "dead-letters",
    ] {
        let pages = pages(Role::Admin);
        let (_, html) = pages.iter().find(|(page, _)| *page == name).unwrap();
        assert!(html.contains("alert(1)"), "{name} does not show what the test is about");
    }
}

#[test]
fn a_viewer_sees_every_page_and_can_only_sign_out() {
    for (name, html) in pages(Role::Viewer) {
        let changes: Vec<_> = html
            .split("method=\"post\"")
            .skip(1)
            .filter(|form| !form.contains("/panel/sign-"))
            .collect();
        let forms = html.matches("method=\"post\"").count();
        let alone = matches!(name, "sign-in" | "problem");
        assert!(changes.is_empty() && (alone || forms == 1), "{name}: {forms} forms");
        assert!(!html.contains("Replay") && !html.contains("role=\"switch\""), "{name}");
    }
}

#[test]
fn every_form_that_changes_something_carries_the_form_token() {
    for (name, html) in pages(Role::Admin) {
        for form in html.split("<form ").skip(1) {
            let form = form.split("</form>").next().unwrap();
            let carries = form.contains(&format!("name=\"form_token\" value=\"{FORM_TOKEN}\""));
            assert_eq!(carries, form.contains("method=\"post\""), "{name}: {form}");
        }
    }
}

#[test]
fn no_page_needs_what_the_content_security_policy_forbids() {
    for (name, html) in pages(Role::Admin) {
        for forbidden in [
            "<script",
            "<style",
            " style=",
            " onclick=",
            " onload=",
            "javascript:",
            "<iframe",
            "src=\"http",
        ] {
            assert!(!html.contains(forbidden), "{name} holds {forbidden}");
        }
    }
}

#[test]
fn identifiers_are_unique_and_every_field_has_a_label() {
    for (name, html) in pages(Role::Admin) {
        let mut ids: Vec<_> = html
            .split(" id=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        ids.sort_unstable();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all, "{name} repeats an id");
        for field in html.split("<input ").skip(1).chain(html.split("<select ").skip(1)) {
            let tag = field.split('>').next().unwrap();
            let id = tag.split("id=\"").nth(1).and_then(|rest| rest.split('"').next());
            let labelled = id.is_some_and(|id| html.contains(&format!("<label for=\"{id}\"")));
            assert!(labelled || tag.contains("type=\"hidden\""), "{name}: {tag}");
        }
    }
}

#[test]
fn a_trace_shows_every_step_once_and_each_attempt_by_itself() {
    let trace = fixtures::trace();
    let page = TracePage::new(frame(Role::Viewer, Section::Events), &trace);
    let rows = page.groups.iter().flat_map(|group| &group.steps);
    let mut shown: Vec<_> = rows.map(|row| (row.exact.clone(), row.text.clone())).collect();
    let mut all: Vec<_> = timeline::steps(&trace)
        .into_iter()
        .map(|step| (step.at.to_string(), step.text))
        .collect();
    shown.sort();
    all.sort();
    assert_eq!(shown, all);
    assert!(page.groups.is_sorted_by_key(|group| group.at));
    for group in &page.groups {
        let attempts = group.steps.iter().filter(|row| row.badge == StepKind::Attempt.into());
        assert!(
            attempts.count() == usize::from(group.connection.is_some()),
            "{:?}",
            group.connection
        );
        assert!(group.steps.is_sorted_by_key(|row| &row.exact));
    }
}

#[test]
fn the_filter_of_dead_letters_survives_a_replay() {
    let html = dead_letters(frame(Role::Admin, Section::DeadLetters));
    assert!(html.contains("/replay?connection=tickets\""), "{html}");
}

#[test]
fn only_an_earlier_version_that_can_run_may_be_rolled_back_to() {
    let html = VersionsPage::new(
        frame(Role::Admin, Section::Connectors),
        &fixtures::versions(),
        &fixtures::decisions(),
    );
    let html = html.render().unwrap();
    assert_eq!(html.matches("/roll-back\"").count(), 1, "{html}");
    assert!(html.contains("/panel/connectors/slack/release"), "{html}");
}

#[test]
fn a_connections_page_says_which_version_waits_and_what_it_asks_for_more_and_leads_to_the_decision() {
    let html = connection(frame(Role::Admin, Section::Connections));
    for part in [
        "waits for a decision",
        "asks for more than was granted",
        "after 5 faults in a row",
        "/versions/",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
}

#[test]
fn a_changed_connector_asks_for_somebody_and_no_button_grants_it() {
    let views = fixtures::connections();
    let changed = views.iter().find(|view| view.health == Health::Changed).unwrap();
    let row = ConnectionRow::new(changed, Some("1.4.0".into()), Back::List);
    assert_eq!((row.badge.tone, row.badge.word), (Tone::Warning, "connector changed"));
    assert!(row.release.is_none());
}

#[test]
fn an_open_breaker_warns_says_what_is_next_and_may_be_closed_by_hand() {
    let views = fixtures::connections();
    let broken = views.iter().find(|view| view.health == Health::BreakerOpen).unwrap();
    let row = ConnectionRow::new(broken, Some("1.4.0".into()), Back::List);
    assert_eq!((row.badge.tone, row.badge.word), (Tone::Warning, "breaker open"));
    assert_eq!(row.release, Some("Try now"));
    let html = connections(frame(Role::Admin, Section::Connections));
    assert!(
        html.contains("one delivery probes it at 2026-11-23T15:09:40.000Z"),
        "{html}"
    );
}

#[test]
fn a_connections_page_shows_its_rate_order_breaker_and_marks_and_how_its_filter_has_answered() {
    let html = connection(frame(Role::Viewer, Section::Connections));
    for part in [
        "<dt>Rate</dt><dd>10 in 1 s</dd>",
        "<dt>Order</dt><dd>one after the other for each subject</dd>",
        "<dt>Breaker</dt><dd>opens after 10 failures in a row, for 10 s at first and 5 min at most</dd>",
        "<dt>Deliveries that may wait</dt><dd>5,000</dd>",
        "has(data.issue)",
        "1,204 let through, 18,000 held back, 2 failed and not delivered, 1 over a bound and delivered",
        "no such key: labels",
    ] {
        assert!(html.contains(part), "{part} in {html}");
    }
}

#[test]
fn a_connections_page_shows_its_credentials_what_expires_and_what_happened_to_them() {
    for (role, may_change) in [(Role::Admin, true), (Role::Viewer, false)] {
        let html = connection(frame(role, Section::Connections));
        for part in [
            "expires soon",
            "in 3 d",
            "until <time datetime=\"2026-11-23T21:09:00.125Z\"",
            "not set",
            "reflected",
            "sent it back",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        let link = "href=\"/panel/connections/tickets/secrets/mirror-key\"";
        assert_eq!(html.contains(link), may_change);
    }
}

#[test]
fn a_hook_is_shown_with_what_is_checked_and_one_that_checks_nothing_stands_out() {
    let html = connection(frame(Role::Viewer, Section::Connections));
    for part in ["POST /hooks/", "signed by GitHub", "scheme github", "signing-secret"] {
        assert!(html.contains(part), "{part} in {html}");
    }
    let mut open = fixtures::connections().remove(1);
    open.connection.spec.inbound = Some(serde_json::from_value(serde_json::json!({"scheme": "none"})).unwrap());
    let html = connection_of(frame(Role::Viewer, Section::Connections), &open);
    let badge = "</span>not checked: anybody who knows the address may send</span>";
    assert!(html.contains(badge) && !html.contains("Checked with"), "{html}");
    let row = ConnectionRow::new(&open, None, Back::List);
    assert!(row.unchecked);
    let inbound = serde_json::json!({"scheme": "twilio", "credential": "c", "external_url": "https://in.example/t"});
    open.connection.spec.inbound = Some(serde_json::from_value(inbound).unwrap());
    let html = connection_of(frame(Role::Viewer, Section::Connections), &open);
    assert!(html.contains("<code>https://in.example/t</code>"), "{html}");
}
