//! What operators learn of requests to hooks that failed their check: every one is counted by connection and reason, and one
//! line a minute and connection says the latest reason. Nobody outside is told, and nothing that was sent is repeated.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cofferdam_domain::{Connection, ConnectionName, WorkspaceName};

/// Least time between two lines about one connection: whoever floods a hook does not flood the log.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Most connections that are remembered. What deleted ones leave behind goes when there are more.
const CONNECTIONS_REMEMBERED_MAX: usize = 4_096;

/// When each connection's last line was, and how many requests failed since.
#[derive(Default)]
pub(crate) struct Refusals {
    told: Mutex<HashMap<(WorkspaceName, ConnectionName), Told>>,
}

struct Told {
    at: Instant,
    untold: u64,
}

impl Refusals {
    /// One more. A number is an invitation to write a line: so many have failed since the last one, this one included.
    pub(super) fn one_more(&self, connection: &Connection, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (connection.workspace.clone(), connection.spec.name.clone());
        if told.len() >= CONNECTIONS_REMEMBERED_MAX && !told.contains_key(&key) {
            told.clear();
        }
        match told.get_mut(&key) {
            Some(told) if now.saturating_duration_since(told.at) < LINE_EVERY => {
                told.untold += 1;
                None
            }
            Some(told) => {
                let untold = told.untold + 1;
                *told = Told { at: now, untold: 0 };
                Some(untold)
            }
            None => {
                told.insert(key, Told { at: now, untold: 0 });
                Some(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_domain::Timestamp;

    use super::*;

    fn connection(name: &str) -> Connection {
        Connection {
            workspace: WorkspaceName::default(),
            spec: serde_json::from_value(serde_json::json!({"name": name, "connector": "c"})).unwrap(),
            granted: None,
            grant: cofferdam_domain::grant::Grant::default(),
            enabled: true,
            revision: 1,
            updated_at: Timestamp::ZERO,
        }
    }

    #[test]
    fn a_flood_is_one_line_a_minute_and_no_request_goes_uncounted() {
        let (refusals, begin) = (Refusals::default(), Instant::now());
        let (one, other) = (connection("one"), connection("other"));
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(refusals.one_more(&one, at(0)), Some(1));
        for second in 0..59 {
            assert_eq!(refusals.one_more(&one, at(second)), None);
        }
        assert_eq!(
            refusals.one_more(&other, at(59)),
            Some(1),
            "one's flood hides another's trouble"
        );
        assert_eq!(refusals.one_more(&one, at(60)), Some(60));
        assert_eq!(refusals.one_more(&one, at(61)), None);
        assert_eq!(refusals.one_more(&one, at(120)), Some(2));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        for number in 0..=CONNECTIONS_REMEMBERED_MAX {
            assert_eq!(refusals.one_more(&connection(&format!("c{number}")), now), Some(1));
        }
        assert_eq!(refusals.told.lock().unwrap().len(), 1);
    }
}
