//! The store's engines, as the suites go through them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use cofferdam_store::OpenOptions;

/// An engine of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// The default.
    Sled,
}

/// A small cache, so that reads go to the files too, in bytes.
const CACHE_BYTES: u64 = 4 << 20;

impl Engine {
    /// Every one there is.
    pub(crate) const ALL: [Self; 1] = [Self::Sled];

    /// Its name in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
        }
    }

    /// A store of this engine in this folder.
    pub(crate) fn options(self, dir: &Path) -> OpenOptions {
        match self {
            Self::Sled => OpenOptions::new(dir).cache_bytes(CACHE_BYTES),
        }
    }

    /// Lines of a server's configuration.
    pub(crate) fn config(self) -> String {
        match self {
            Self::Sled => String::new(),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

impl FromStr for Engine {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.into_iter().find(|engine| engine.name() == name);
        found.ok_or_else(|| anyhow::anyhow!("there is no engine {name}"))
    }
}
