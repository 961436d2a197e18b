//! Reading a connection file: what an admin writes of one connection.

use cofferdam_domain::connection::ConnectionSpec;
use cofferdam_domain::limits::{DEDUPE_WINDOW_HOURS_MAX, DEDUPE_WINDOW_HOURS_MIN, SETTINGS_BYTES_MAX};

use super::FILE_BYTES_MAX;
use super::reader::{self, Mistake};
use crate::subscriptions::Filter;

/// Reads a connection file. What serde finds is one mistake with its line; the rest of the rules are checked together.
pub fn parse_connection(text: &str) -> Result<ConnectionSpec, Vec<Mistake>> {
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(vec![Mistake {
            line: 1,
            text: format!("larger than {FILE_BYTES_MAX} bytes"),
        }]);
    }
    let spec: ConnectionSpec = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| reader::line_of(text, span.start));
        vec![Mistake {
            line,
            text: error.message().to_owned(),
        }]
    })?;
    let mut problems = spec.policy.problems();
    problems.extend(spec.oauth2_problems());
    if let Some(fault) = spec.filter.as_deref().and_then(|filter| Filter::compile(filter).err()) {
        problems.push(format!("filter {fault}"));
    }
    let settings = serde_json::to_string(&spec.settings).map_or(usize::MAX, |json| json.len());
    if settings > SETTINGS_BYTES_MAX {
        problems.push(format!(
            "settings take {settings} bytes of JSON; {SETTINGS_BYTES_MAX} are allowed"
        ));
    }
    if let Some(hours) = spec.inbound.as_ref().and_then(|inbound| inbound.dedupe_window_hours)
        && !(DEDUPE_WINDOW_HOURS_MIN..=DEDUPE_WINDOW_HOURS_MAX).contains(&hours)
    {
        problems.push(format!(
            "inbound.dedupe_window_hours is {hours}; it must be {DEDUPE_WINDOW_HOURS_MIN} to {DEDUPE_WINDOW_HOURS_MAX}"
        ));
    }
    if problems.is_empty() {
        return Ok(spec);
    }
    Err(problems
        .into_iter()
        .map(|problem| Mistake {
            line: reader::line_of_key(text, &problem),
            text: problem,
        })
        .collect())
}
