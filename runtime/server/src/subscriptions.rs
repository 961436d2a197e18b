//! Who is owed an event: event type patterns, then the connection's filter, a CEL expression (<https://cel.dev>) over the
//! event's attributes and its JSON body.
//!
//! A filter is compiled when its connection is applied, and kept compiled. It sees two variables: `event`, the CloudEvents
//! attributes by their names, extensions among them, and `data`, the body if it is JSON, else `null`. The body is parsed once
//! for all filters of an event, and not at all if none reads it.
//!
//! What becomes of an event that no filter can answer for:
//! - the expression fails on it (a key that is not there, a wrong type): it is not owed, which is counted and shown on the
//!   connection. `has(data.issue)` asks whether a key is there;
//! - the expression or the body is over its bound of size or time: it **is** owed, which is counted and shown too. A bound of
//!   ours drops nothing.

mod dry_run;
mod fan_out;
pub(crate) mod filter;
mod sight;
mod tally;

pub use dry_run::{DryRun, DryRunEvent, DryRunRequest, EVENTS_MAX, Judged};
pub use filter::{Filter, FilterFault};
pub use tally::FilterTally;

pub(crate) use dry_run::dry_run;
pub(crate) use fan_out::fan_out;
pub(crate) use tally::Tallies;
