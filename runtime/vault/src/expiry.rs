//! When something is due to be told of a credential, or to be forgotten of it. Pure: the caller brings the time.

use std::time::Duration;

use cofferdam_domain::Timestamp;

use crate::head::{Head, Previous, Renewal, Told};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long before an expiry a person is told, in the order in which the moments come. Each is told of a value once, and only
/// if it came after the value was set: a token that lives for an hour is not about to expire from its first moment on.
const AHEAD: [(Told, Duration); 3] = [
    (Told::Month, Duration::from_secs(30 * 24 * 3600)),
    (Told::Week, Duration::from_secs(7 * 24 * 3600)),
    (Told::Day, DAY),
];

/// Whether values before the present one are forgotten once their time is over. What is forgotten does not come back, so it
/// waits while the clock is in doubt; the value is not accepted meanwhile, if the clock is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlaps {
    /// They are forgotten.
    End,
    /// They are kept for now.
    Keep,
}

/// What is due of a credential.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// How far its expiry is to be told: further than it was, or there is nothing to tell.
    pub(crate) told: Option<Told>,
    /// Values before the present one whose time is over.
    pub(crate) ended: Vec<Previous>,
}

impl Due {
    pub(crate) fn of(head: &Head, now: Timestamp, overlaps: Overlaps) -> Self {
        let ended = match overlaps {
            Overlaps::End => head.previous.iter().filter(|it| it.until <= now).copied().collect(),
            Overlaps::Keep => Vec::new(),
        };
        let reached = moments(head).filter(|(_, at)| *at <= now).map(|(told, _)| told).max();
        Self {
            told: reached.filter(|told| *told > head.told),
            ended,
        }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.told.is_none() && self.ended.is_empty()
    }

    /// The head once that is done.
    pub(crate) fn done(&self, head: &Head) -> Head {
        let mut head = head.clone();
        head.told = self.told.unwrap_or(head.told);
        head.previous.retain(|previous| !self.ended.contains(previous));
        head
    }
}

/// When something will be due of it next.
pub(crate) fn next_due(head: &Head, overlaps: Overlaps) -> Option<Timestamp> {
    let told = moments(head).filter(|(told, _)| *told > head.told).map(|(_, at)| at);
    let previous = match overlaps {
        Overlaps::End => head.previous.as_slice(),
        Overlaps::Keep => &[],
    };
    told.chain(previous.iter().map(|previous| previous.until)).min()
}

/// What there is to tell of the value's expiry, and when.
fn moments(head: &Head) -> impl Iterator<Item = (Told, Timestamp)> {
    let expires_at = head.expires_at.filter(|_| head.renewal == Renewal::ByPerson);
    let (updated_at, until) = (head.updated_at, expires_at);
    let ahead = AHEAD.into_iter().filter_map(move |(told, ahead)| {
        let expires_at = until?;
        let ahead_ms = u64::try_from(ahead.as_millis()).ok()?;
        (expires_at.since(updated_at) > ahead)
            .then(|| (told, Timestamp::from_millis(expires_at.as_millis() - ahead_ms)))
    });
    ahead.chain(expires_at.map(|at| (Told::Expired, at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 3_600_000;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn expiring(updated_at: u64, expires_at: u64) -> Head {
        Head {
            expires_at: Some(at(expires_at)),
            ..Head::first(at(updated_at))
        }
    }

    #[test]
    fn each_moment_is_told_at_it_and_not_before() {
        let head = expiring(0, 100 * DAY_MS);
        for (day, told) in [
            (70, Told::Month),
            (93, Told::Week),
            (99, Told::Day),
            (100, Told::Expired),
        ] {
            let moment = day * DAY_MS;
            assert_eq!(Due::of(&head, at(moment), Overlaps::End).told, Some(told), "day {day}");
            assert!(
                Due::of(&head, at(moment - 1), Overlaps::End).told < Some(told),
                "before day {day}"
            );
            let done = Due::of(&head, at(moment), Overlaps::End).done(&head);
            assert!(Due::of(&done, at(moment + 1), Overlaps::End).is_nothing(), "told once");
        }
        assert_eq!(next_due(&head, Overlaps::End), Some(at(70 * DAY_MS)));
    }

    #[test]
    fn who_was_not_running_tells_the_latest_only() {
        let head = expiring(0, 100 * DAY_MS);
        let done = Due::of(&head, at(200 * DAY_MS), Overlaps::End).done(&head);
        assert_eq!((done.told, next_due(&done, Overlaps::End)), (Told::Expired, None));
    }

    #[test]
    fn a_moment_that_was_over_when_the_value_was_set_is_not_told() {
        let check = |lives_ms: u64, first: Told| {
            let head = expiring(5, 5 + lives_ms);
            let next = next_due(&head, Overlaps::End).unwrap();
            assert_eq!(Due::of(&head, next, Overlaps::End).told, Some(first), "{lives_ms}");
            assert!(Due::of(&head, at(5), Overlaps::End).is_nothing(), "{lives_ms}");
        };
        check(3_600_000, Told::Expired);
        check(DAY_MS, Told::Expired);
        check(DAY_MS + 1, Told::Day);
        check(7 * DAY_MS, Told::Day);
        check(7 * DAY_MS + 1, Told::Week);
        check(30 * DAY_MS, Told::Week);
        check(30 * DAY_MS + 1, Told::Month);
    }

    #[test]
    fn what_the_host_renews_is_not_told_of() {
        let head = Head {
            renewal: Renewal::ByHost,
            ..expiring(0, 5)
        };
        assert!(Due::of(&head, at(9), Overlaps::End).is_nothing());
        assert_eq!(next_due(&head, Overlaps::End), None);
    }

    #[test]
    fn a_value_before_is_over_at_its_moment() {
        let entry = |version, until| Previous {
            version,
            until: at(until),
        };
        let head = Head {
            previous: vec![entry(2, 20), entry(1, 10)],
            ..Head::first(at(0))
        };
        assert_eq!(next_due(&head, Overlaps::End), Some(at(10)));
        assert!(Due::of(&head, at(9), Overlaps::End).is_nothing());
        let due = Due::of(&head, at(10), Overlaps::End);
        assert_eq!(due.ended, [entry(1, 10)]);
        assert_eq!(due.done(&head).previous, [entry(2, 20)]);
        assert!(Due::of(&head, at(99), Overlaps::Keep).is_nothing());
        assert_eq!(next_due(&head, Overlaps::Keep), None);
    }
}
