//! A connection's policy and filter in words.

use std::time::Duration;

use cofferdam_domain::connection::{BreakerPolicy, OrderBy, Rate};
use cofferdam_domain::{Policy, Timestamp};

use super::units;
use crate::admin::views::{ConnectionView, HeldLimit};
use crate::subscriptions::FilterTally;

/// Names and values, in the order in which they matter to a delivery.
pub(super) fn policy(policy: &Policy) -> Vec<(&'static str, String)> {
    let waits = policy.retry.schedule_ms.iter().map(|millis| {
        if *millis == 0 {
            "at once".to_owned()
        } else {
            span(*millis)
        }
    });
    vec![
        ("Attempts at once", policy.concurrency.to_string()),
        (
            "Rate",
            policy.rate.map_or_else(|| "as fast as they come".to_owned(), rate),
        ),
        ("Order", policy.order_by.map_or("none", order).to_owned()),
        ("Breaker", breaker(policy.breaker)),
        ("Time per attempt", span(policy.deadline_ms)),
        ("Time per request", span(policy.request_timeout_ms)),
        ("CPU per attempt", span(policy.cpu_ms)),
        ("Memory per attempt", units::bytes(policy.memory_bytes)),
        ("Largest response", units::bytes(policy.response_bytes_max)),
        ("Host calls per attempt", units::count(policy.host_calls)),
        ("Largest host call", units::bytes(policy.host_call_bytes)),
        (
            "Log per attempt",
            format!(
                "{} lines, {}",
                units::count(policy.log_lines),
                units::bytes(policy.log_bytes)
            ),
        ),
        (
            "Output per attempt",
            format!(
                "{}, {} event drafts",
                units::bytes(policy.output_bytes),
                units::count(policy.drafts)
            ),
        ),
        ("Table elements per attempt", units::count(policy.table_elements)),
        ("Core instances per attempt", units::count(policy.instances)),
        ("Handles per attempt", units::count(policy.handles)),
        (
            "Calls of one instance",
            match policy.reuse_calls {
                0 | 1 => "one: each has a fresh instance".to_owned(),
                calls => units::count(calls.into()),
            },
        ),
        ("Waits before attempts", waits.collect::<Vec<_>>().join(", ")),
        ("Given up after", span(policy.retry.max_age_ms)),
        ("Connector faults allowed", policy.retry.faults_max.to_string()),
        ("Interruptions allowed", policy.retry.interruptions_max.to_string()),
        ("Deliveries that may wait", mark(policy.pending_max, units::count)),
        ("Bytes that may wait", mark(policy.pending_bytes_max, units::bytes)),
        ("The first may be due for", mark(policy.pending_age_max_ms, span)),
    ]
}

/// What the server allows less of than the policy says.
pub(super) fn over_maximum(view: &ConnectionView) -> impl Iterator<Item = (&'static str, String)> {
    view.over_maximum.iter().map(|held| {
        let HeldLimit { limit, asked, maximum } = held;
        ("Held by the server", format!("{limit} to {maximum}, of {asked}"))
    })
}

/// What its connector keeps between calls, and when it is polled: names and values, none where nothing is granted.
pub(super) fn kept(view: &ConnectionView, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some(state) = &view.state_kept {
        let held = state.size.map_or_else(
            || "nothing yet".to_owned(),
            |size| format!("{} in {} entries", units::bytes(size.bytes), units::count(size.keys)),
        );
        rows.push((
            "State",
            format!(
                "{held}, of {}; its calls are made one at a time",
                units::bytes(state.bytes_max)
            ),
        ));
        rows.extend(state.problem.clone().map(|problem| ("State trouble", problem)));
    }
    let Some(polling) = &view.polling else {
        return rows;
    };
    rows.push(("Polled", polling.schedule.clone()));
    let next = match (polling.next_due_at, &polling.latest) {
        (Some(due), _) if due <= now => "now".to_owned(),
        (Some(due), _) => format!("in {}", units::span(due.since(now))),
        (None, Some(latest)) if !view.connection.enabled => {
            format!("none while it is off; the latest {}", latest.state.as_str())
        }
        (None, Some(latest)) => format!("after the present one, {}", latest.state.as_str()),
        (None, None) => "none".to_owned(),
    };
    rows.push(("Next poll", next));
    if let Some(latest) = &polling.latest {
        let failed = latest
            .failure
            .as_ref()
            .map(|failure| format!("; last failure: {failure}"));
        let ago = units::span(now.since(latest.made_at));
        rows.push((
            "Latest poll",
            format!(
                "{}, made {ago} ago{}",
                latest.state.as_str(),
                failed.unwrap_or_default()
            ),
        ));
    }
    let cursor = polling.cursor.map_or_else(
        || "none: the next poll begins from the start".to_owned(),
        |cursor| format!("{}, SHA-256 {}", units::bytes(cursor.bytes), cursor.hash.short()),
    );
    rows.push(("Cursor", cursor));
    rows.extend(polling.problem.clone().map(|problem| ("Poll trouble", problem)));
    rows
}

/// How a filter has answered since the server's start.
pub(super) fn answers(tally: &FilterTally) -> String {
    format!(
        "since the server's start: {} let through, {} held back, {} failed and not delivered, {} over a bound and delivered",
        units::count(tally.wanted),
        units::count(tally.unwanted),
        units::count(tally.errors),
        units::count(tally.overruns),
    )
}

fn span(millis: u64) -> String {
    units::span(Duration::from_millis(millis))
}

fn mark(own: Option<u64>, shown: impl Fn(u64) -> String) -> String {
    own.map_or_else(|| "the server's mark".to_owned(), shown)
}

pub(super) fn rate(rate: Rate) -> String {
    let count = units::count(rate.count.into());
    let burst = match rate.burst {
        Some(burst) if burst != rate.count => format!(", {} at once after a quiet time", units::count(burst.into())),
        Some(_) | None => String::new(),
    };
    format!("{count} in {}{burst}", span(rate.per_ms))
}

const fn order(by: OrderBy) -> &'static str {
    match by {
        OrderBy::Connection => "one after the other",
        OrderBy::Source => "one after the other for each source",
        OrderBy::Subject => "one after the other for each subject",
        OrderBy::Partitionkey => "one after the other for each partitionkey",
    }
}

fn breaker(policy: BreakerPolicy) -> String {
    match policy.failures {
        0 => "never opens".to_owned(),
        failures => format!(
            "opens after {} in a row, for {} at first and {} at most",
            if failures == 1 {
                "1 failure".to_owned()
            } else {
                format!("{} failures", units::count(failures.into()))
            },
            span(policy.open_ms),
            span(policy.open_max_ms),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(policy: &Policy, name: &str) -> String {
        let rows = super::policy(policy);
        rows.into_iter().find(|(row, _)| *row == name).unwrap().1
    }

    #[test]
    fn each_part_of_a_policy_is_told_in_words_with_its_default_or_without() {
        let default = Policy::default();
        let own: Policy = serde_json::from_value(serde_json::json!({
            "rate": {"count": 1_200, "per_ms": 60_000, "burst": 5},
            "order_by": "subject",
            "breaker": {"failures": 1, "open_ms": 1_500, "open_max_ms": 3_600_000},
            "pending_max": 20_000,
            "pending_age_max_ms": 90_000,
        }))
        .unwrap();
        let never: Policy = serde_json::from_value(serde_json::json!({
            "rate": {"count": 3, "per_ms": 1_000, "burst": 3},
            "breaker": {"failures": 0},
        }))
        .unwrap();
        for (policy, name, expected) in [
            (&default, "Rate", "as fast as they come"),
            (&own, "Rate", "1,200 in 1 min, 5 at once after a quiet time"),
            (&never, "Rate", "3 in 1 s"),
            (&default, "Order", "none"),
            (&own, "Order", "one after the other for each subject"),
            (
                &default,
                "Breaker",
                "opens after 10 failures in a row, for 10 s at first and 5 min at most",
            ),
            (
                &own,
                "Breaker",
                "opens after 1 failure in a row, for 1.5 s at first and 1 h at most",
            ),
            (&never, "Breaker", "never opens"),
            (&default, "Deliveries that may wait", "the server's mark"),
            (&own, "Deliveries that may wait", "20,000"),
            (&own, "Bytes that may wait", "the server's mark"),
            (&own, "The first may be due for", "1 min 30 s"),
        ] {
            assert_eq!(shown(policy, name), expected, "{name}");
        }
    }
}
