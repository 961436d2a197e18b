//! Claims, and whether they hold.

use serde::Serialize;

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// Stable, for programs.
    pub(super) id: &'static str,
    /// For people.
    pub(super) claim: String,
    /// Whether it holds.
    pub(super) holds: bool,
    /// What was seen.
    pub(super) seen: String,
}

/// Every claim so far.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Checks(Vec<Check>);

impl Checks {
    pub(super) fn add(&mut self, id: &'static str, claim: &str, holds: bool, seen: &str) {
        self.0.push(Check {
            id,
            claim: claim.to_owned(),
            holds,
            seen: seen.to_owned(),
        });
    }

    /// No claim at all is no proof.
    pub(super) fn all_held(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|check| check.holds)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Those that do not hold.
    pub(super) fn failed(&self) -> Vec<&'static str> {
        self.0
            .iter()
            .filter(|check| !check.holds)
            .map(|check| check.id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_claim_that_fails_fails_the_whole_and_none_proves_nothing() {
        let mut checks = Checks::default();
        assert!(!checks.all_held());
        checks.add("a", "a holds", true, "");
        assert!(checks.all_held());
        checks.add("b", "b holds", false, "it does not");
        assert!(!checks.all_held());
        assert_eq!((checks.count(), checks.failed()), (2, vec!["b"]));
    }
}
