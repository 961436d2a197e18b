//! `cofferdam connection budgets`: what may be asked of each upstream, and how much of it is left.

use std::time::Duration;

use cofferdam_domain::Timestamp;
use cofferdam_domain::budget::{HoldReason, Limits};
use cofferdam_domain::connection::Rate;
use cofferdam_server::budgets::BudgetView;

use crate::api::{ApiArguments, Request};
use crate::output::Output;
use crate::paint::Paint;
use crate::render::Table;

pub(super) async fn run(arguments: &ApiArguments, output: &Output) -> anyhow::Result<()> {
    let budgets: Vec<BudgetView> = arguments.client()?.send(Request::get(&["v1", "budgets"])).await?;
    output.show(&budgets, |paint| {
        listed(&budgets, Timestamp::from_system(std::time::SystemTime::now()), paint)
    })
}

pub(super) fn listed(budgets: &[BudgetView], now: Timestamp, paint: Paint) -> String {
    if budgets.is_empty() {
        return "No budgets: no connection may call an upstream.".to_owned();
    }
    let mut table = Table::new(["UPSTREAM", "SHARED AS", "LIMIT", "LEFT", "UNDER WAY", "WAITING", "HELD"]);
    for budget in budgets {
        let users: Vec<_> = budget
            .used_by
            .iter()
            .map(|user| format!("{}/{}", user.connection, user.upstream))
            .collect();
        let standing = &budget.standing;
        table.row([
            users.join(", "),
            budget.share.as_ref().map_or_else(String::new, ToString::to_string),
            limit(budget.limits),
            standing.tokens.map_or_else(String::new, |tokens| tokens.to_string()),
            standing.in_use.to_string(),
            standing.waiting.to_string(),
            standing.hold.map_or_else(String::new, |hold| {
                format!("{}: {}", span(hold.until.since(now)), reason(hold.reason))
            }),
        ]);
    }
    let mut text = table.render(paint);
    for budget in budgets {
        if let (Some(told), Some(user)) = (budget.standing.upstream, budget.used_by.first()) {
            let reset = told.resets_at.filter(|at| *at > now);
            let reset = reset.map_or_else(String::new, |at| format!(", full again in {}", span(at.since(now))));
            let said = format!(
                "{}/{} said {} ago that {} are left{reset}",
                user.connection,
                user.upstream,
                span(now.since(told.at)),
                told.remaining
            );
            text.push('\n');
            text.push_str(&paint.dim(&said));
        }
    }
    text
}

fn limit(limits: Limits) -> String {
    let rate = limits.rate.map(|Rate { count, per_ms, burst }| {
        let burst = burst.filter(|burst| *burst != count);
        let burst = burst.map_or_else(String::new, |burst| format!(", burst {burst}"));
        format!("{count} in {}{burst}", span(Duration::from_millis(per_ms)))
    });
    let at_once = limits.concurrency.map(|most| format!("{most} at once"));
    let words: Vec<_> = rate.into_iter().chain(at_once).collect();
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join("; ")
    }
}

const fn reason(reason: HoldReason) -> &'static str {
    match reason {
        HoldReason::Refused => "the upstream asked to wait",
        HoldReason::Spent => "its own limit is spent",
    }
}

/// Whole seconds, or milliseconds where that says more.
fn span(span: Duration) -> String {
    match span.as_millis() {
        millis if millis % 1000 != 0 && millis < 10_000 => format!("{millis} ms"),
        millis => format!("{} s", millis.div_ceil(1000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_listed_with_what_is_left_and_what_holds_them() {
        assert!(listed(&[], Timestamp::ZERO, Paint::Plain).starts_with("No budgets"));
        let budgets: Vec<BudgetView> = serde_json::from_value(serde_json::json!([
            {
                "share": "github",
                "used_by": [{"connection": "a", "upstream": "api"}, {"connection": "b", "upstream": "api"}],
                "limits": {"rate": {"count": 60, "per_ms": 60_000, "burst": 5}, "concurrency": 4},
                "tokens": 3, "in_use": 2, "waiting": 1,
                "hold": {"until": 100_000, "reason": "refused"},
                "upstream": {"remaining": 0, "resets_at": 100_000, "at": 9_000},
            },
            {
                "used_by": [{"connection": "c", "upstream": "api"}], "limits": {},
                "tokens": null, "in_use": 0, "waiting": 0, "hold": null, "upstream": null,
            },
        ]))
        .unwrap();
        let expected = "\
UPSTREAM      SHARED AS  LIMIT                            LEFT  UNDER WAY  WAITING  HELD
a/api, b/api  github     60 in 60 s, burst 5; 4 at once   3     2          1        90 s: the upstream asked to wait
c/api                    none                                   0          0

a/api said 1 s ago that 0 are left, full again in 90 s";
        let found = listed(&budgets, Timestamp::from_millis(10_000), Paint::Plain);
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&found), squeezed(expected));
    }
}
