//! What `wit-bindgen` makes of the contract in `wit/`: one module per world, so that a connector exports only what its
//! author implements. The types of the imports are generated once and shared by the worlds with exports.
//!
//! Nothing here is for authors: it is public only because [`crate::connector!`] expands in their crate.

/// Everything a guest can reach, and the nouns of the contract.
pub mod imports {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "imports",
        generate_unused_types: true,
        additional_derives: [PartialEq, Eq],
    });
}

macro_rules! exports {
    ($($(#[$doc:meta])* $module:ident: $world:literal;)+) => {$(
        $(#[$doc])*
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit",
                world: $world,
                pub_export_macro: true,
                additional_derives: [PartialEq, Eq],
                with: {
                    "cofferdam:connector/types@0.1.0": crate::bindings::imports::cofferdam::connector::types,
                    "cofferdam:connector/http@0.1.0": crate::bindings::imports::cofferdam::connector::http,
                    "cofferdam:connector/settings@0.1.0": crate::bindings::imports::cofferdam::connector::settings,
                    "cofferdam:connector/credentials@0.1.0": crate::bindings::imports::cofferdam::connector::credentials,
                    "cofferdam:connector/state@0.1.0": crate::bindings::imports::cofferdam::connector::state,
                    "cofferdam:connector/log@0.1.0": crate::bindings::imports::cofferdam::connector::log,
                },
            });
        }
    )+};
}

exports! {
    /// Of every connector.
    describes: "describes";
    /// Of a sink.
    sinks: "sinks";
    /// Of a source.
    sources: "sources";
    /// Of a poller.
    pollers: "pollers";
}
