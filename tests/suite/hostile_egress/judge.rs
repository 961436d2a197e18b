//! What is wrong with how a case went, if anything.

use cofferdam_domain::{Exchange, ExchangeResult};

use super::bed::{Called, Ran};
use super::case::{Answer, Case, Expected, Rounds};
use super::credential::Kind;
use super::door::{Came, Door, Report};
use super::text::fill;

/// Less memory than this means that the guest did not really search it, in bytes.
const SEARCHED_BYTES_MIN: usize = 64 * 1024;

/// Every way in which a case fell short; empty when it passed.
pub(crate) fn faults(case: &Case, ran: &Ran, door: &dyn Door) -> Vec<String> {
    let mut faults = Vec::new();
    let mut nth = 0;
    for called in &ran.calls {
        one_call(case, ran, called, door, &mut nth, &mut faults);
    }
    let asked = case.asks.len()
        * match case.rounds {
            Rounds::Once => 1,
            Rounds::EveryCut => ran.body.len() + 1,
        };
    if nth != asked {
        faults.push(format!("expected {asked} reports of the guest, seen {nth}"));
    }
    outside(case, ran, door, &mut faults);
    faults
}

fn one_call(case: &Case, ran: &Ran, called: &Called, door: &dyn Door, nth: &mut usize, faults: &mut Vec<String>) {
    if !called.whole {
        faults.push(format!("the guest did not come to its end: {}", called.told));
    }
    let mut trail = called.trail.iter();
    for report in &called.reports {
        // Which of the rounds' asks does not matter: they are all the same.
        let expected = case.expected_of(door.by_url(), *nth % case.asks.len());
        *nth += 1;
        came(expected, report, ran, door, faults);
        if *expected != Expected::Unsayable && case.seen.trail.is_none() {
            match trail.next() {
                Some(exchange) => recorded(expected, exchange, faults),
                None => faults.push("the request is not in the trail".to_owned()),
            }
        }
        got(report, ran, faults);
    }
    if let Some(last) = called.reports.last() {
        searched(last, ran, faults);
    }
    if let Some(wanted) = &case.seen.trail {
        let seen: Vec<_> = called.trail.iter().map(|exchange| in_short(&exchange.result)).collect();
        if seen != *wanted {
            faults.push(format!("expected the trail {wanted:?}, seen {seen:?}"));
        }
    } else if trail.next().is_some() {
        faults.push("there is more in the trail than was asked".to_owned());
    }
    let needles = ran.credential.needles();
    let record = serde_json::to_vec(&called.trail).unwrap_or_default();
    for (place, bytes) in [
        ("the record", record.as_slice()),
        ("what the call told", called.told.as_bytes()),
    ] {
        if let Some(found) = needles.find(bytes) {
            faults.push(format!("{found} is in {place}"));
        }
    }
}

fn in_short(result: &ExchangeResult) -> String {
    match result {
        ExchangeResult::Answered { status, .. } => status.to_string(),
        ExchangeResult::Refused { code, .. } => code.clone(),
        other => format!("{other:?}"),
    }
}

fn came(expected: &Expected, report: &Report, ran: &Ran, door: &dyn Door, faults: &mut Vec<String>) {
    match (expected, &report.came) {
        (Expected::Answered(answer), Came::Answer { status, headers, body }) => {
            let text = |text: &str| fill(text, ran.outside.port(), &ran.credential);
            let wanted = (answer.status, text(&answer.body));
            if wanted != (*status, body.clone()) {
                faults.push(format!(
                    "expected {}, seen {}",
                    told(wanted.0, &wanted.1),
                    told(*status, body)
                ));
            }
            answer_headers(answer, headers, &text, faults);
        }
        (Expected::Cleaned(wanted), Came::Answer { status, headers, body }) => {
            let values = headers.iter().flat_map(|(_, value)| value);
            let all: Vec<u8> = body.iter().chain(values).copied().collect();
            if wanted != status || !holds(&all, b"[redacted]") {
                faults.push(format!(
                    "expected {wanted} with something taken out, seen {}",
                    told(*status, body)
                ));
            }
        }
        (Expected::AnsweredWith(wanted, bytes), Came::Answer { status, body, .. }) => {
            if (*wanted, *bytes) != (*status, body.len()) {
                faults.push(format!(
                    "expected {wanted} and {bytes} bytes, seen {status} and {} bytes",
                    body.len()
                ));
            }
        }
        (expected, Came::Error(error)) if door.is(expected, error) => {}
        (expected, Came::Error(error)) => faults.push(format!("expected {expected:?}, seen {error}")),
        (expected, Came::Answer { status, body, .. }) => {
            faults.push(format!("expected {expected:?}, seen {}", told(*status, body)));
        }
    }
}

fn answer_headers(
    answer: &Answer,
    headers: &[(String, Vec<u8>)],
    text: &impl Fn(&str) -> Vec<u8>,
    faults: &mut Vec<String>,
) {
    for (name, value) in &answer.headers {
        let found: Vec<_> = headers
            .iter()
            .filter(|(given, _)| given == name)
            .map(|(_, value)| value)
            .collect();
        if found != [&text(value)] {
            let found: Vec<_> = found.iter().map(|value| String::from_utf8_lossy(value)).collect();
            faults.push(format!("expected the header {name}: {value}, seen {found:?}"));
        }
    }
    for name in &answer.without {
        if headers.iter().any(|(given, _)| given == name) {
            faults.push(format!("expected no header {name}, seen one"));
        }
    }
}

fn told(status: u16, body: &[u8]) -> String {
    const QUOTED_BYTES_MAX: usize = 200;
    let quoted = String::from_utf8_lossy(&body[..body.len().min(QUOTED_BYTES_MAX)]);
    format!("{status} with {} bytes {quoted:?}", body.len())
}

/// The host's own record must say the same, whatever the door made of it.
fn recorded(expected: &Expected, exchange: &Exchange, faults: &mut Vec<String>) {
    let agrees = match (expected, &exchange.result) {
        (Expected::Refused(wanted), ExchangeResult::Refused { code, .. }) => wanted == code,
        (Expected::Answered(answer), ExchangeResult::Answered { status, .. }) => answer.status == *status,
        (Expected::AnsweredWith(wanted, _) | Expected::Cleaned(wanted), ExchangeResult::Answered { status, .. }) => {
            wanted == status
        }
        (Expected::TimedOut { sent }, ExchangeResult::TimedOut { request_sent }) => sent == request_sent,
        (Expected::Unreachable, ExchangeResult::Unreachable { .. })
        | (Expected::Interrupted, ExchangeResult::Interrupted { .. })
        | (Expected::TooLarge, ExchangeResult::ResponseTooLarge { .. })
        | (Expected::Protocol, ExchangeResult::ProtocolError { .. }) => true,
        _ => false,
    };
    if !agrees {
        faults.push(format!(
            "expected {expected:?} in the record, seen {:?}",
            exchange.result
        ));
    }
    let reflected = match expected {
        Expected::Answered(answer) => answer.reflected,
        Expected::Cleaned(_) => true,
        _ => false,
    };
    if exchange.credential_reflected != reflected {
        faults.push(format!(
            "expected the record to say {reflected} of a reflected credential, seen {}",
            exchange.credential_reflected
        ));
    }
}

fn got(report: &Report, ran: &Ran, faults: &mut Vec<String>) {
    if let Some(found) = ran.credential.needles().find(&report.raw) {
        faults.push(format!("the guest got {found}"));
    }
}

/// What the guest found in its memory behind the last request of a call.
fn searched(report: &Report, ran: &Ran, faults: &mut Vec<String>) {
    let needles = ran.credential.needles();
    if needles.count() > 0 && report.searched < SEARCHED_BYTES_MIN {
        faults.push(format!(
            "the guest searched only {} bytes of its memory",
            report.searched
        ));
    }
    for at in &report.found {
        faults.push(format!("the guest's memory holds {}", needles.name(*at)));
    }
}

fn outside(case: &Case, ran: &Ran, door: &dyn Door, faults: &mut Vec<String>) {
    let mut count = |what: &str, wanted: Option<usize>, seen: usize| {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != seen) {
            faults.push(format!("expected {wanted} {what}, seen {seen}"));
        }
    };
    let expected = |nth| case.expected_of(door.by_url(), nth);
    let all_refused =
        (0..case.asks.len()).all(|nth| matches!(expected(nth), Expected::Refused(_) | Expected::Unsayable));
    let none_if_refused = |said: Option<usize>| said.or(all_refused.then_some(0));
    count("connections where nobody may go", Some(0), ran.outside.forbidden());
    count(
        "connections to the other server",
        Some(case.seen.elsewhere),
        ran.outside.elsewhere(),
    );
    count(
        "connections to the upstream",
        none_if_refused(case.seen.connections),
        ran.outside.connections(),
    );
    count(
        "requests to the upstream",
        none_if_refused(case.seen.requests),
        ran.outside.requests().len(),
    );
    count("lookups", none_if_refused(case.seen.lookups), ran.lookups);
    count(
        "readings of the credential",
        none_if_refused(case.seen.reveals),
        ran.credential.reveals(),
    );

    let text = |text: &String| fill(text, ran.outside.port(), &ran.credential);
    let requests = ran.outside.requests();
    for request in &requests {
        if let Some(problem) = ran.credential.misplaced(request) {
            faults.push(format!("the credential is not where it belongs: {problem}"));
        }
        for never in &case.seen.never_on_the_wire {
            if holds(request, &text(never)) {
                faults.push(format!(
                    "expected no {never:?} on the wire, seen {}",
                    String::from_utf8_lossy(request)
                ));
            }
        }
    }
    for wire in &case.seen.wire {
        let first = requests.first().map(Vec::as_slice).unwrap_or_default();
        if !holds(first, &text(wire)) {
            faults.push(format!(
                "expected {wire:?} on the wire, seen {}",
                String::from_utf8_lossy(first)
            ));
        }
    }
    let needles = ran.credential.needles();
    for request in ran.outside.requests_elsewhere() {
        if let Some(found) = needles.find(&request) {
            faults.push(format!("{found} went to the other server"));
        }
    }
    let answered = (0..case.asks.len()).any(|nth| matches!(expected(nth), Expected::Answered(_)));
    if answered && requests.is_empty() && case.kind != Kind::None {
        faults.push("the upstream was never asked".to_owned());
    }
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
