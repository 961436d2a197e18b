//! The ramp: how much a lane does at once after its destination was in trouble. It begins with one attempt, doubles with
//! each that gets through and halves with each that does not, so that a service that has just recovered is not stampeded.
//!
//! A connector that keeps faulting comes down to one call at a time in the same way. Its faults say nothing of a destination, and no
//! breaker opens for them; but each costs its neighbours the computing and the writing of an attempt that comes to nothing.

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

    /// The connector has faulted.
    pub fn faulted(&mut self, concurrency: usize) {
        self.limit = Some((self.limit(concurrency) / 2).max(1));
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

    #[test]
    fn faults_bring_a_lane_down_to_one_and_what_gets_through_brings_it_back() {
        let mut ramp = Ramp::default();
        let mut limits = Vec::new();
        for faulted in [true, true, true, true, false, false, true, false, false, false] {
            if faulted {
                ramp.faulted(8);
            } else {
                ramp.succeeded(8);
            }
            limits.push(ramp.limit(8));
        }
        assert_eq!(limits, [4, 2, 1, 1, 2, 4, 2, 4, 8, 8]);
    }
}
