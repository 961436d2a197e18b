//! From nothing to answering, with a hundred connectors whose code is in the cache: the real binary, each time a new process
//! on the same data.

use std::fs;
use std::path::Path;
use std::time::Instant;

use cofferdam_host::{Connector, Engine, EngineSettings};
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Setup, wait};

use crate::report::{Report, median};

const CONNECTORS: usize = 100;

/// Length of the probe's name in its descriptor; another of the same length makes another connector of it.
const NAME: &[u8] = b"probe";

const STARTS: usize = 5;

pub(crate) async fn measure(report: &mut Report, engine: cofferdam_store::Engine) {
    let mut setup = Setup::new().config(&format!("\n[store]\nengine = \"{engine}\"\n"));
    let probe = fs::read(test_guest("probe")).expect("the probe is built");
    for number in 0..CONNECTORS {
        fs::write(setup.plugins().join(format!("{number}.wasm")), variant(&probe, number)).expect("the folder is ours");
    }
    compile(&setup.plugins(), &setup.data().join("compiled")).await;
    let mut times = Vec::new();
    // The first start makes the store and is not counted.
    for start in 0..=STARTS {
        let began = Instant::now();
        let server = setup.start().await;
        let loaded = wait::until("the connectors", || async {
            let connectors = server.api.connectors().await.connectors.len();
            (connectors == CONNECTORS).then_some(began.elapsed())
        })
        .await;
        if start > 0 {
            times.push(loaded.as_secs_f64() * 1e3);
        }
        setup = server.stop().await.2;
    }
    report.row(
        "cold_start_100_ms",
        median(times),
        "ms",
        "process start to 100 connectors ready, their code in the cache",
    );
}

/// The probe under another name, so under another digest: `p0000`, `p0001`, … in the place of `probe`.
fn variant(probe: &[u8], number: usize) -> Vec<u8> {
    let name = format!("p{number:04}");
    let mut bytes = probe.to_vec();
    let at: Vec<usize> = (0..bytes.len() - NAME.len())
        .filter(|at| &bytes[*at..*at + NAME.len()] == NAME)
        .collect();
    assert!(!at.is_empty(), "the probe has its name in it");
    for at in at {
        bytes[at..at + NAME.len()].copy_from_slice(name.as_bytes());
    }
    bytes
}

/// In this process, since a server's start is not waited for that long.
async fn compile(plugins: &Path, cache: &Path) {
    let engine = Engine::new(&EngineSettings::new(cache.to_owned())).expect("the engine can be made");
    for entry in fs::read_dir(plugins).expect("the folder is there") {
        let file = entry.expect("the folder is there").path();
        let loaded = Connector::load(&engine, &file).await;
        assert!(loaded.is_ok(), "{:?}", loaded.err());
    }
}
