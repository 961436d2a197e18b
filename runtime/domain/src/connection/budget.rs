//! What an admin allows a connection to ask of one upstream: how fast, how much at once, and shared with whom.

use serde::{Deserialize, Serialize};

use super::Rate;
use crate::budget::Limits;
use crate::id::{ShareName, UpstreamName};

/// Most requests of a span, and the largest burst.
const REQUESTS_MAX: u32 = 1_000_000;

/// The longest span, in milliseconds: a day.
const PER_MS_MAX: u64 = 24 * 3_600_000;

/// Most requests at once.
const CONCURRENCY_MAX: u16 = 1024;

/// The table `[upstreams.NAME.budget]`. Without it nothing is limited, and what the upstream says of its own limits still
/// holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetGrant {
    /// Requests that may begin in each span of `per_ms`; 1 to 1,000,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// The span, in milliseconds; 1 to 86,400,000. It comes with `requests`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_ms: Option<u64>,
    /// Requests that may begin at once after a quiet time; none means as many as `requests`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Requests under way at once; 1 to 1,024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u16>,
    /// Connections of the workspace whose upstreams name the same share use one budget. Where they say different things of it,
    /// the strictest of each holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<ShareName>,
}

impl BudgetGrant {
    /// Whether it says nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What it limits.
    pub fn limits(&self) -> Limits {
        let rate = self.requests.zip(self.per_ms).map(|(count, per_ms)| Rate {
            count,
            per_ms,
            burst: self.burst,
        });
        Limits {
            rate,
            concurrency: self.concurrency,
        }
    }

    /// Every value out of bounds, named as in the connection file.
    pub fn problems(&self, upstream: &UpstreamName) -> Vec<String> {
        let mut problems = Vec::new();
        let mut within = |name: &str, value: Option<u64>, max: u64| {
            if let Some(value) = value.filter(|value| !(1..=max).contains(value)) {
                problems.push(format!(
                    "upstreams.{upstream}.budget.{name} is {value}; it must be 1 to {max}"
                ));
            }
        };
        within("requests", self.requests.map(u64::from), REQUESTS_MAX.into());
        within("per_ms", self.per_ms, PER_MS_MAX);
        within("burst", self.burst.map(u64::from), REQUESTS_MAX.into());
        within("concurrency", self.concurrency.map(u64::from), CONCURRENCY_MAX.into());
        let mut wants = |name: &str, other: &str| {
            problems.push(format!(
                "upstreams.{upstream}.budget.{name} means nothing without {other}"
            ));
        };
        match (self.requests, self.per_ms) {
            (Some(_), None) => wants("requests", "per_ms, the span in milliseconds"),
            (None, Some(_)) => wants("per_ms", "requests, the number of them in that span"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if self.burst.is_some() && self.requests.is_none() {
            wants("burst", "requests and per_ms");
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_bounds_and_what_belongs_together_comes_together() {
        let check = |grant: serde_json::Value, expected: &[&str]| {
            let budget: BudgetGrant = serde_json::from_value(grant.clone()).unwrap();
            let problems = budget.problems(&"api".parse().unwrap());
            let keys: Vec<_> = problems.iter().map(|text| text.split(' ').next().unwrap()).collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|key| format!("upstreams.api.budget.{key}"))
                .collect();
            assert_eq!(keys, expected, "{grant}");
        };
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        check(json("{}"), &[]);
        check(json(r#"{"share": "github"}"#), &[]);
        check(
            json(r#"{"requests": 1, "per_ms": 1, "burst": 1, "concurrency": 1}"#),
            &[],
        );
        check(
            json(r#"{"requests": 1000000, "per_ms": 86400000, "burst": 1000000, "concurrency": 1024}"#),
            &[],
        );
        check(
            json(r#"{"requests": 0, "per_ms": 0, "burst": 0, "concurrency": 0}"#),
            &["requests", "per_ms", "burst", "concurrency"],
        );
        check(
            json(r#"{"requests": 1000001, "per_ms": 86400001, "burst": 1000001, "concurrency": 1025}"#),
            &["requests", "per_ms", "burst", "concurrency"],
        );
        check(json(r#"{"requests": 1}"#), &["requests"]);
        check(json(r#"{"per_ms": 1}"#), &["per_ms"]);
        check(json(r#"{"burst": 1}"#), &["burst"]);
        assert!(serde_json::from_str::<BudgetGrant>(r#"{"request": 1}"#).is_err());
        assert!(serde_json::from_str::<BudgetGrant>(r#"{"share": "Git Hub"}"#).is_err());
    }
}
