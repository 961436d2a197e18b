//! The ramp: how much a lane does at once after its destination was in trouble. It begins with one attempt, doubles with
//! each that gets through and halves with each that does not, so that a service that has just recovered is not stampeded.

/// A bound on concurrency below the policy's, while there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ramp {
    /// None once the policy's concurrency is reached.
    limit: Option<usize>,
}

impl Ramp {
    /// Begins anew.
    pub fn restart(&mut self) {
        self.limit = Some(1);
    }

    /// What may be under way at once.
    pub fn limit(&self, concurrency: usize) -> usize {
        self.limit.map_or(concurrency, |limit| limit.min(concurrency))
    }

    /// An attempt has got through.
    pub fn succeeded(&mut self, concurrency: usize) {
        self.limit = self
            .limit
            .map(|limit| limit.saturating_mul(2))
            .filter(|limit| *limit < concurrency);
    }

    /// The destination has failed.
    pub fn failed(&mut self) {
        self.limit = self.limit.map(|limit| (limit / 2).max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_with_each_success_halves_with_each_failure_and_ends_at_the_policys_concurrency() {
        let mut ramp = Ramp::default();
        assert_eq!(ramp.limit(8), 8);
        ramp.failed();
        assert_eq!(ramp.limit(8), 8, "a failure alone begins no ramp");
        ramp.restart();
        let mut limits = vec![ramp.limit(8)];
        for succeeded in [true, true, false, false, false, true, true, true, true] {
            if succeeded {
                ramp.succeeded(8);
            } else {
                ramp.failed();
            }
            limits.push(ramp.limit(8));
        }
        assert_eq!(limits, [1, 2, 4, 2, 1, 1, 2, 4, 8, 8]);
        assert_eq!(ramp, Ramp::default());
    }

    #[test]
    fn it_never_allows_more_than_the_policy() {
        let mut ramp = Ramp::default();
        ramp.restart();
        ramp.succeeded(8);
        ramp.succeeded(8);
        assert_eq!(ramp.limit(3), 3);
    }
}
