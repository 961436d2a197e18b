//! A token bucket in whole numbers: no rounding that adds up, and no trouble with a clock that goes back.
//!
//! The level is counted in parts, `per_ms` of them to a token, so that each millisecond adds exactly `count` parts. In any
//! span no more attempts begin than the burst and what the span has added.

use std::time::Duration;

use crate::connection::Rate;
use crate::time::Timestamp;

/// How many attempts of a lane may begin now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    rate: Rate,
    parts: u64,
    at: Timestamp,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate, now: Timestamp) -> Self {
        let mut bucket = Self {
            rate,
            parts: 0,
            at: now,
        };
        bucket.parts = bucket.capacity();
        bucket
    }

    /// The same bucket under another rate: whole tokens are kept, as many as fit. Under the same rate it only follows a clock
    /// that went back: an empty bucket, of which nobody takes, would else not fill until the old time has come again.
    pub fn set_rate(&mut self, rate: Rate, now: Timestamp) {
        self.at = self.at.min(now);
        if rate == self.rate {
            return;
        }
        self.fill(now);
        let tokens = self.parts / self.cost();
        self.rate = rate;
        self.parts = tokens.saturating_mul(self.cost()).min(self.capacity());
    }

    /// Whole tokens that are there at `now`.
    pub fn tokens(&self, now: Timestamp) -> usize {
        usize::try_from(self.parts_at(now) / self.cost()).unwrap_or(usize::MAX)
    }

    /// When the next token is there; `now` or earlier if one is.
    pub fn next_at(&self, now: Timestamp) -> Timestamp {
        self.nth_at(1, now)
    }

    /// When the nth of the tokens to come would be there if all before it were taken as soon as they are; `now` or earlier if
    /// there are so many.
    pub fn nth_at(&self, nth: usize, now: Timestamp) -> Timestamp {
        let wanted = self.cost().saturating_mul(u64::try_from(nth).unwrap_or(u64::MAX));
        let missing = wanted.saturating_sub(self.parts_at(now));
        now.after(Duration::from_millis(missing.div_ceil(self.per_ms_gain())))
    }

    /// The rate that it goes by.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes a token. Taking one that is not there leaves the bucket empty.
    pub fn take(&mut self, now: Timestamp) {
        self.fill(now);
        self.parts = self.parts.saturating_sub(self.cost());
    }

    /// Puts a token back: nothing has left of the attempt that it was for. It counts from now on, so where the bucket has
    /// filled since it was taken there is one more than if it never had been.
    pub fn put_back(&mut self) {
        self.parts = self.parts.saturating_add(self.cost()).min(self.capacity());
    }

    fn fill(&mut self, now: Timestamp) {
        self.parts = self.parts_at(now);
        // Set back too when the clock went back: it fills from there, and not only once the old time has come again.
        self.at = now;
    }

    fn parts_at(&self, now: Timestamp) -> u64 {
        let passed = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let gained = passed.saturating_mul(self.per_ms_gain());
        self.parts.saturating_add(gained).min(self.capacity())
    }

    /// Parts of one token. A policy of zero would be refused where it is read; here it must not divide by zero.
    fn cost(&self) -> u64 {
        self.rate.per_ms.max(1)
    }

    fn per_ms_gain(&self) -> u64 {
        u64::from(self.rate.count.max(1))
    }

    fn capacity(&self) -> u64 {
        let burst = self.rate.burst.unwrap_or(self.rate.count).max(1);
        self.cost().saturating_mul(burst.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn rate(count: u32, per_ms: u64, burst: Option<u32>) -> Rate {
        Rate { count, per_ms, burst }
    }

    #[test]
    fn it_starts_full_and_says_when_the_next_token_is_there() {
        let mut bucket = Bucket::new(rate(3, 1_000, Some(2)), at(0));
        assert_eq!(bucket.tokens(at(0)), 2);
        bucket.take(at(0));
        bucket.take(at(0));
        // A third of a second each, rounded up once and not every time.
        for due in [334, 667, 1_000] {
            assert_eq!(bucket.next_at(at(due - 1)), at(due));
            assert_eq!((bucket.tokens(at(due - 1)), bucket.tokens(at(due))), (0, 1), "{due}");
            bucket.take(at(due));
        }
        bucket.put_back();
        assert_eq!(bucket.tokens(at(1_000)), 1);
    }

    #[test]
    fn those_who_wait_know_when_their_turn_is() {
        let mut bucket = Bucket::new(rate(1, 1_000, Some(2)), at(0));
        let times = |bucket: &Bucket| [1, 2, 3, 5].map(|nth| bucket.nth_at(nth, at(0)));
        assert_eq!(times(&bucket), [at(0), at(0), at(1_000), at(3_000)]);
        bucket.take(at(0));
        bucket.take(at(0));
        assert_eq!(times(&bucket), [at(1_000), at(2_000), at(3_000), at(5_000)]);
    }

    #[test]
    fn a_clock_that_goes_back_costs_nothing_and_gives_nothing() {
        let mut bucket = Bucket::new(rate(1, 1_000, None), at(10_000));
        bucket.take(at(10_000));
        assert_eq!(bucket.tokens(at(5_000)), 0);
        bucket.take(at(5_000));
        assert_eq!(bucket.next_at(at(5_000)), at(6_000));
        assert_eq!(bucket.tokens(at(6_000)), 1);
    }

    #[test]
    fn an_empty_one_fills_from_the_time_that_a_clock_went_back_to() {
        let mut bucket = Bucket::new(rate(1, 1_000, None), at(10_000));
        bucket.take(at(10_000));
        bucket.set_rate(rate(1, 1_000, None), at(5_000));
        assert_eq!((bucket.tokens(at(5_999)), bucket.tokens(at(6_000))), (0, 1));
    }

    #[test]
    fn a_changed_rate_keeps_the_tokens_that_fit() {
        let mut bucket = Bucket::new(rate(10, 1_000, None), at(0));
        for _ in 0..4 {
            bucket.take(at(0));
        }
        bucket.set_rate(rate(100, 60_000, Some(5)), at(0));
        assert_eq!(bucket.tokens(at(0)), 5);
        bucket.set_rate(rate(10, 1_000, None), at(0));
        assert_eq!(bucket.tokens(at(0)), 5);
    }

    proptest! {
        #[test]
        fn no_span_sees_more_than_its_burst_and_what_it_adds(
            count in 1u32..50, per_ms in 1u64..5_000, burst in 1u32..20,
            steps in prop::collection::vec(0u64..2_000, 1..200),
        ) {
            let mut bucket = Bucket::new(rate(count, per_ms, Some(burst)), at(0));
            let (mut now, mut taken) = (0, Vec::new());
            for step in steps {
                now += step;
                while bucket.tokens(at(now)) > 0 {
                    bucket.take(at(now));
                    taken.push(now);
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let most = u64::from(burst) + (to - from) * u64::from(count) / per_ms;
                    prop_assert!((last - first + 1) as u64 <= most + 1, "{} in {} ms", last - first + 1, to - from);
                }
            }
        }
    }
}
