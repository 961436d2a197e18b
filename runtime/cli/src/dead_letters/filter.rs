//! Which dead letters, on the command line.

use cofferdam_domain::{ConnectionName, FailureClass, Timestamp, TypePattern};
use cofferdam_server::admin::views::class_named;
use cofferdam_server::admin::{BadWhen, LetterFilter, When};
use std::time::SystemTime;

use crate::api::Request;
use crate::times;

/// Which dead letters.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub(super) struct Filter {
    /// Only those of this connection
    #[arg(long, value_name = "NAME")]
    pub(super) connection: Option<ConnectionName>,

    /// Only those that failed in this way: auth, rate-limited, dependency, transport, timeout, schema, gone, configuration,
    /// policy, connector-fault or data-quality
    #[arg(long, value_parser = class)]
    pub(super) class: Option<FailureClass>,

    /// Only events of this type, or of types that begin so: com.github.*
    #[arg(long = "type", value_name = "PATTERN")]
    pub(super) event_type: Option<TypePattern>,

    /// Only those that died then or later: 2026-11-24T09:30:00Z, or so long ago: 30s, 15m, 2h, 3d
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) since: Option<When>,

    /// Only those that died before then; written as --since
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) until: Option<When>,
}

impl Filter {
    /// Whether it says anything.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As the API takes it.
    pub(super) fn to_request(&self) -> LetterFilter {
        LetterFilter {
            connection: self.connection.clone(),
            class: self.class,
            event_type: self.event_type.clone(),
            since: self.since,
            until: self.until,
        }
    }

    /// As a query.
    pub(super) fn on(&self, request: Request) -> anyhow::Result<Request> {
        Ok(request
            .query("connection", self.connection.as_ref())
            .query("class", self.class)
            .query("type", self.event_type.as_ref())
            .query("since", self.since)
            .query("until", self.until))
    }
}

/// A class by its name.
pub(super) fn class(text: &str) -> Result<FailureClass, String> {
    class_named(text).ok_or_else(|| {
        let known: Vec<_> = FailureClass::ALL.into_iter().map(FailureClass::as_str).collect();
        format!("the classes are {}", known.join(", "))
    })
}

fn time(text: &str) -> Result<When, String> {
    time_at(text, Timestamp::from_system(SystemTime::now()))
}

fn time_at(text: &str, now: Timestamp) -> Result<When, String> {
    let ago = times::span(text).map(|ago| {
        let millis = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        When(Timestamp::from_millis(now.as_millis().saturating_sub(millis)))
    });
    let bad = |error: BadWhen| format!("{error}, or as an age: 30s, 15m, 2h, 3d");
    ago.map_or_else(|| text.parse().map_err(bad), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_point_or_an_age() {
        let now = Timestamp::from_millis(1_795_000_000_000);
        for (text, expected) in [
            ("30s", Some(1_794_999_970_000)),
            ("2h", Some(1_794_992_800_000)),
            ("3d", Some(1_794_740_800_000)),
            ("1970-01-01T00:00:01Z", Some(1_000)),
            ("99999999999999999d", None),
            ("soon", None),
            ("", None),
        ] {
            let expected = expected.map(|millis| When(Timestamp::from_millis(millis)));
            assert_eq!(time_at(text, now).ok(), expected, "{text}");
        }
    }
}
