//! A budget in words.

use cofferdam_domain::Timestamp;
use cofferdam_domain::budget::{HoldReason, Limits};

use super::policy::rate;
use super::units::{self, Moment};
use crate::budgets::BudgetView;

/// What limits an upstream and how that stands.
pub(super) struct BudgetRow {
    pub(super) limits: String,
    /// Who else uses it, if it is shared.
    pub(super) shared: Option<String>,
    /// How much of it is left, and what the upstream says is left of its own.
    pub(super) left: Vec<String>,
    /// Set while nothing goes: why, and until when.
    pub(super) held: Option<(&'static str, Moment)>,
}

impl BudgetRow {
    pub(super) fn new(budget: &BudgetView, connection: &str, now: Timestamp) -> Self {
        Self {
            limits: limits(budget.limits),
            shared: budget.share.as_ref().map(|share| {
                let others = budget.used_by.iter().map(|user| user.connection.as_str());
                let mut others: Vec<_> = others.filter(|other| *other != connection).collect();
                others.dedup();
                let others = if others.is_empty() {
                    "nobody else".to_owned()
                } else {
                    others.join(", ")
                };
                format!("{share}, with {others}")
            }),
            left: left(budget, now),
            held: budget
                .standing
                .hold
                .map(|hold| (why(hold.reason), Moment::new(hold.until, now))),
        }
    }
}

const fn why(reason: HoldReason) -> &'static str {
    match reason {
        HoldReason::Refused => "the upstream refused a request and asked to wait",
        HoldReason::Spent => "the upstream says that nothing is left of its limit",
    }
}

fn limits(limits: Limits) -> String {
    let at_once = limits
        .concurrency
        .map(|most| format!("{} at once", units::count(most.into())));
    let words: Vec<_> = limits.rate.map(rate).into_iter().chain(at_once).collect();
    if words.is_empty() {
        "no limit of ours".to_owned()
    } else {
        words.join("; ")
    }
}

fn left(budget: &BudgetView, now: Timestamp) -> Vec<String> {
    let standing = &budget.standing;
    let count = |count: usize| units::count(u64::try_from(count).unwrap_or(u64::MAX));
    let mut left = Vec::new();
    if let Some(tokens) = standing.tokens {
        left.push(format!("{} may go now", count(tokens)));
    }
    if standing.in_use + standing.waiting > 0 {
        left.push(format!(
            "{} under way, {} waiting for their turn",
            count(standing.in_use),
            count(standing.waiting)
        ));
    }
    if let Some(told) = standing.upstream {
        let reset = told.resets_at.filter(|at| *at > now);
        let reset = reset.map_or_else(String::new, |at| {
            format!(", full again {}", Moment::new(at, now).relative)
        });
        left.push(format!(
            "by its own word {} left{reset} (said {})",
            units::count(told.remaining),
            Moment::new(told.at, now).relative
        ));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn row(json: serde_json::Value) -> BudgetRow {
        BudgetRow::new(&serde_json::from_value(json).unwrap(), "a", NOW)
    }

    #[test]
    fn a_budget_is_told_in_words() {
        let idle = row(serde_json::json!({
            "used_by": [{"connection": "a", "upstream": "api"}], "limits": {},
            "tokens": null, "in_use": 0, "waiting": 0, "hold": null, "upstream": null,
        }));
        assert_eq!(idle.limits, "no limit of ours");
        assert!(idle.shared.is_none() && idle.left.is_empty() && idle.held.is_none());

        let busy = row(serde_json::json!({
            "share": "github",
            "used_by": [
                {"connection": "a", "upstream": "api"}, {"connection": "b", "upstream": "api"},
                {"connection": "b", "upstream": "raw"},
            ],
            "limits": {"rate": {"count": 60, "per_ms": 60_000}, "concurrency": 4},
            "tokens": 1_200, "in_use": 3, "waiting": 2,
            "hold": {"until": NOW.as_millis() + 90_000, "reason": "refused"},
            "upstream": {"remaining": 0, "resets_at": NOW.as_millis() + 90_000, "at": NOW.as_millis() - 5_000},
        }));
        assert_eq!(busy.limits, "60 in 1 min; 4 at once");
        assert_eq!(busy.shared.as_deref(), Some("github, with b"));
        assert_eq!(
            busy.left,
            [
                "1,200 may go now",
                "3 under way, 2 waiting for their turn",
                "by its own word 0 left, full again in 1 min (said 5 s ago)"
            ]
        );
        let (why, until) = busy.held.unwrap();
        assert_eq!(
            (why, until.relative.as_str()),
            ("the upstream refused a request and asked to wait", "in 1 min")
        );
    }
}
