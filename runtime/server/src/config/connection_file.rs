//! Reading a connection file: what an admin writes of one connection.

use cofferdam_domain::connection::{ConnectionSpec, Maximum, StateGrant};
use cofferdam_domain::limits::SETTINGS_BYTES_MAX;
use cofferdam_egress::check_tls;

use super::FILE_BYTES_MAX;
use super::reader::{self, Mistake};
use crate::clock::now;
use crate::schedule;
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
    for (name, grant) in &spec.upstreams {
        problems.extend(grant.problems(name));
        if let Err(problem) = check_tls(&grant.tls) {
            problems.push(format!("upstreams.{name}.tls.{problem}"));
        }
    }
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
    problems.extend(spec.state.iter().flat_map(StateGrant::problems));
    problems.extend(spec.poll.iter().flat_map(|poll| schedule::problems(poll, now())));
    if let Some(inbound) = &spec.inbound {
        problems.extend(inbound.problems());
    }
    if problems.is_empty() {
        return Ok(spec);
    }
    Err(placed(text, problems))
}

/// What the file asks for and this server does not allow, each at its line.
pub fn over_maximum(text: &str, spec: &ConnectionSpec, maximum: &Maximum) -> Vec<Mistake> {
    placed(text, maximum.problems(&spec.policy))
}

fn placed(text: &str, problems: Vec<String>) -> Vec<Mistake> {
    problems
        .into_iter()
        .map(|problem| Mistake {
            line: reader::line_of_key(text, &problem),
            text: problem,
        })
        .collect()
}
