//! The disk is bad before the server starts: it ends at once with an exit code that is not 0 and one line that says why.

use anyhow::ensure;
use cofferdam_tests::server::run_to_end;

use super::Seen;
use crate::crash::Bed;
use crate::engine::Engine;
use crate::shim;

/// The disk of a server that starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) name: &'static str,
    /// As the library calls it.
    fault: &'static str,
    /// What the system calls it; the line must hold it.
    errno: &'static str,
    /// Whether there is a store already, left by a kill under load.
    used: bool,
}

/// Deliveries that are made before the disk becomes bad.
const BEFORE: u64 = 30;

/// All of them.
pub(super) const CASES: [Start; 4] = [
    Start {
        name: "first start on a read-only disk",
        fault: "read-only",
        errno: "Read-only file system",
        used: false,
    },
    Start {
        name: "start on a disk that became read-only",
        fault: "read-only",
        errno: "Read-only file system",
        used: true,
    },
    Start {
        name: "first start on a full disk",
        fault: "no-space",
        errno: "No space left on device",
        used: false,
    },
    Start {
        name: "start on a disk that became full",
        fault: "no-space",
        errno: "No space left on device",
        used: true,
    },
];

impl Start {
    pub(super) async fn run(self, engine: Engine) -> Seen {
        let mut bed = Bed::new(engine).await?;
        if self.used {
            let mut server = bed.start().await?;
            server.begin_load("before", 1);
            server.wait_for_effects(BEFORE).await;
            bed = server.kill().await;
        }
        let variables = shim::failing(&bed.data()?, self.fault, 0, None);
        let bed = bed.environment(variables);
        let (code, text) = run_to_end(bed.command()).await;
        ensure!(code.is_some_and(|code| code != 0), "it ended with {code:?}: {text}");
        ensure!(!text.contains("panicked"), "it panicked: {text}");
        let errors: Vec<_> = text.lines().filter(|line| line.starts_with("error: ")).collect();
        ensure!(errors.len() == 1, "not one line says why: {text}");
        ensure!(
            errors[0].contains(self.errno),
            "the line does not say why: {}",
            errors[0]
        );
        // The disk is well again, and nothing was lost by the attempt.
        let bed = bed.environment(Vec::new()).start().await?;
        let found = bed.reckon().await?;
        Ok(format!(
            "exit {}, {} acknowledged before",
            code.unwrap_or_default(),
            found.acknowledged
        ))
    }
}
