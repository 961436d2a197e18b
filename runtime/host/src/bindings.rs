//! What `wit/` generates. Types and imports are generated once; every export world shares them.

#![expect(unreachable_pub, reason = "generated; the documentation is in wit/")]

pub mod imports {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "imports",
        imports: { "cofferdam:connector/http.send": async | trappable, default: trappable },
    });
}

macro_rules! export_world {
    ($module:ident, $world:literal) => {
        pub mod $module {
            wasmtime::component::bindgen!({
                path: "../../wit",
                world: $world,
                exports: { default: async },
                with: {
                    "cofferdam:connector/types": crate::bindings::imports::cofferdam::connector::types,
                    "cofferdam:connector/http": crate::bindings::imports::cofferdam::connector::http,
                    "cofferdam:connector/settings": crate::bindings::imports::cofferdam::connector::settings,
                    "cofferdam:connector/credentials": crate::bindings::imports::cofferdam::connector::credentials,
                    "cofferdam:connector/state": crate::bindings::imports::cofferdam::connector::state,
                    "cofferdam:connector/log": crate::bindings::imports::cofferdam::connector::log,
                },
            });
        }
    };
}

export_world!(describes, "describes");
export_world!(sinks, "sinks");
export_world!(sources, "sources");
export_world!(pollers, "pollers");

pub use imports::cofferdam::connector::{credentials, http, log, settings, state, types};
