//! The one place of this crate that reads the clock.

use std::time::SystemTime;

use cofferdam_domain::Timestamp;

/// The present, by the system's clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}
