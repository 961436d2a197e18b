//! The store's engines, as the suites go through them.

use std::path::Path;

pub(crate) use cofferdam_store::Engine;
use cofferdam_store::OpenOptions;

/// A small cache, so that reads go to the files too, in bytes.
const CACHE_BYTES: u64 = 4 << 20;

/// A store of this engine in this folder.
pub(crate) fn options(engine: Engine, dir: &Path) -> OpenOptions {
    OpenOptions::new(dir).engine(engine).cache_bytes(CACHE_BYTES)
}

/// Lines of a server's configuration.
pub(crate) fn config(engine: Engine) -> String {
    format!("\n[store]\nengine = \"{engine}\"\n")
}
