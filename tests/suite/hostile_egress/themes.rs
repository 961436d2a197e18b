//! The tables: one file per theme.

mod addresses;
mod errors;
mod forms;
mod headers;
mod hops;
mod lies;
mod names;
mod order;
mod redirects;
mod slots;
mod tokens;
mod urls;

use super::case::Case;

/// A table of cases.
pub(crate) struct Theme {
    pub(crate) name: &'static str,
    pub(crate) cases: Vec<Case>,
}

/// Every table.
pub(crate) fn all() -> Vec<Theme> {
    let theme = |name, cases| Theme { name, cases };
    vec![
        theme("URL parser tricks", urls::cases()),
        theme("IP notations", addresses::cases()),
        theme("DNS that changes", names::cases()),
        theme("redirects", redirects::cases()),
        theme("redirects that are followed", hops::cases()),
        theme("header smuggling", headers::cases()),
        theme("the credential's slot", slots::cases()),
        theme("upstreams that lie", lies::cases()),
        theme("reflected secrets", forms::cases()),
        theme("secrets asked for through errors", errors::cases()),
        theme("token endpoints", tokens::cases()),
        theme("decided before any network act", order::cases()),
    ]
}
