//! Who misbehaves: the probes of `tests/guests`, which do as the event tells them, and connectors around bodies that are
//! written by hand.

use std::fs;
use std::path::Path;

use anyhow::Context;
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::frame;

use super::cases::{Case, Limits};

/// Where a case's connector comes from.
#[derive(Clone)]
pub(crate) enum Guest {
    /// `tests/guests/probe`.
    Probe,
    /// `tests/guests/wasi-probe`.
    WasiProbe,
    /// A connector of the case's name around this body: see [`frame`].
    Written(String),
    /// A connector of the case's name.
    Made(Vec<u8>),
}

impl Case {
    /// Puts the case's own connector, if it has one, into the plugins folder.
    pub(crate) fn place(&self, plugins: &Path) -> anyhow::Result<()> {
        let component = match &self.guest {
            Guest::Probe | Guest::WasiProbe => return Ok(()),
            Guest::Written(body) => {
                frame::assembled(&frame::text(&self.name, body)).with_context(|| self.name.clone())?
            }
            Guest::Made(component) => component.clone(),
        };
        fs::write(plugins.join(self.file()), component)?;
        Ok(())
    }

    /// Whether it takes requests, and not events.
    pub(crate) fn is_source(&self) -> bool {
        matches!(&self.guest, Guest::Written(body) if frame::receives(body))
    }

    /// Of its own connector.
    pub(crate) fn file(&self) -> String {
        format!("{}.wasm", self.name)
    }

    /// The file of its connection. Each delivery is tried once, and the breaker never opens, so that it is at its
    /// worst all the time. `target` is the upstream of those that ask for one.
    pub(crate) fn connection(&self, target: &str) -> String {
        let name = &self.name;
        let (connector, upstream) = match self.guest {
            Guest::Probe => ("probe", true),
            Guest::WasiProbe => ("wasi-probe", true),
            Guest::Written(_) | Guest::Made(_) => (self.name.as_str(), false),
        };
        let upstream = if upstream {
            format!(
                "[upstreams.target]\nbase_url = \"{target}\"\nnetworks = [\"127.0.0.0/8\"]\nattach = \"none\"\n\
                 methods = [\"GET\", \"POST\"]\n"
            )
        } else {
            String::new()
        };
        let Limits {
            cpu_ms,
            deadline_ms,
            memory_bytes,
            more,
        } = self.limits;
        let takes = if self.is_source() {
            "[inbound]\nscheme = \"none\"".to_owned()
        } else {
            format!("subscribe = [\"{}\"]", event_type(name))
        };
        format!(
            "name = \"{name}\"\nconnector = \"{connector}\"\n{takes}\n{upstream}[policy]\nconcurrency = 64\n\
             cpu_ms = {cpu_ms}\ndeadline_ms = {deadline_ms}\nmemory_bytes = {memory_bytes}\n{more}\n\
             [policy.retry]\nschedule_ms = [0]\nmax_age_ms = 600000\nfaults_max = 1\n[policy.breaker]\nfailures = 0\n"
        )
    }
}

/// Of the events that go to this connection and to no other.
pub(crate) fn event_type(connection: &str) -> String {
    format!("test.{connection}")
}

/// The probes themselves.
pub(crate) fn probes() -> [std::path::PathBuf; 2] {
    ["probe", "wasi-probe"].map(test_guest)
}
