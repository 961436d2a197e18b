//! What a suite comes to: rounds that kept every promise, and rounds that did not.

/// Counts of rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Kept every promise.
    pub(crate) passed: u32,
    /// Broke one, or could not be judged.
    pub(crate) failed: u32,
}

impl Tally {
    /// Counts a round.
    pub(crate) fn count(&mut self, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }
}
