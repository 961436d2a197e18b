//! `cofferdam plugin check`: what a server would make of a component, without one.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cofferdam_domain::{Descriptor, Digest};
use cofferdam_host::{Connector, Engine, EngineSettings, Exports, LoadProblem};
use serde::Serialize;

use super::not_loaded;
use crate::output::Output;
use crate::paint::Paint;
use crate::render::{self, plural};

/// One file, for programs.
#[derive(Serialize)]
struct Checked {
    file: PathBuf,
    #[serde(flatten)]
    verdict: Verdict,
}

#[derive(Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
enum Verdict {
    Loads(Box<Loaded>),
    DoesNotLoad { reason: String },
}

#[derive(Serialize)]
struct Loaded {
    digest: Digest,
    bytes: u64,
    exports: Exports,
    descriptor: Descriptor,
}

/// Loads each file as a server does, with a compile cache of its own that is gone afterwards.
pub(super) async fn run(files: &[PathBuf], output: &Output) -> anyhow::Result<()> {
    let cache = tempfile::tempdir().context("no temporary folder for compiled code")?;
    let engine = Engine::new(&EngineSettings {
        calls_max: 1,
        ..EngineSettings::new(cache.path().join("compiled"))
    })?;
    let mut checked = Vec::new();
    for file in files {
        checked.push(Checked::new(file, Box::pin(Connector::load(&engine, file)).await));
    }
    output.show(&checked, |paint| {
        checked
            .iter()
            .map(|checked| checked.told(paint))
            .collect::<Vec<_>>()
            .join("\n")
    })?;
    let failed = checked
        .iter()
        .filter(|checked| matches!(checked.verdict, Verdict::DoesNotLoad { .. }))
        .count();
    if failed > 0 {
        bail!("{} of {} cannot be used", failed, plural(checked.len(), "file"));
    }
    Ok(())
}

impl Checked {
    fn new(file: &Path, loaded: Result<Connector, LoadProblem>) -> Self {
        let verdict = match loaded {
            Ok(connector) => Verdict::Loads(Box::new(Loaded {
                digest: connector.digest,
                bytes: connector.bytes,
                exports: connector.exports,
                descriptor: connector.descriptor,
            })),
            Err(problem) => Verdict::DoesNotLoad { reason: problem.reason },
        };
        Self {
            file: file.to_owned(),
            verdict,
        }
    }

    fn told(&self, paint: Paint) -> String {
        let file = self.file.display().to_string();
        match &self.verdict {
            Verdict::Loads(loaded) => {
                let component = (loaded.digest, loaded.bytes);
                render::connector(&loaded.descriptor, loaded.exports, &file, component, paint)
            }
            Verdict::DoesNotLoad { reason } => not_loaded(&self.file, reason, paint),
        }
    }
}
