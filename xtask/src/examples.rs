//! The examples in other languages, which the integration tests and the benchmark run. A language's engine and all, each takes
//! half a minute, so it is made again only when something that goes into it has changed.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::build::{root, test_guests_dir};
use crate::setup;
use crate::step::{output, run};

/// All of them.
pub(crate) fn in_other_languages() -> anyhow::Result<()> {
    in_javascript()?;
    in_python()
}

fn in_javascript() -> anyhow::Result<()> {
    let dir = setup::javascript_example()?;
    let made_of = ["package-lock.json", "build.js", "connector.js"].map(|file| dir.join(file));
    unless_built("js-connector", "JavaScript", &dir, &made_of, |out, wit| {
        run(Command::new("node").arg(dir.join("build.js")).arg(out).arg(wit))
    })
}

fn in_python() -> anyhow::Result<()> {
    let componentize = setup::componentize_py()?;
    let tools = componentize
        .ancestors()
        .nth(2)
        .context("componentize-py lies in its environment")?;
    let example = root().join("examples/python-connector");
    let made_of = ["requirements.txt", "connector.py"].map(|file| example.join(file));
    unless_built("python-connector", "Python", tools, &made_of, |out, wit| {
        // Built from a copy: what Python leaves beside its sources does not belong into the repository.
        let app = tools.join("app");
        fs::create_dir_all(&app).with_context(|| format!("{} cannot be made", app.display()))?;
        fs::copy(example.join("connector.py"), app.join("connector.py")).context("connector.py cannot be copied")?;
        let mut command = Command::new(&componentize);
        command.arg("--quiet").arg("--wit-path").arg(wit);
        command.args([
            "--world",
            "sink-connector",
            "componentize",
            "connector",
            "--python-path",
        ]);
        output(command.arg(&app).arg("--output").arg(out)).map(drop)
    })
}

/// Builds NAME.wasm among the tests' guests, unless it was built of the same before. The stamp is written last, into `dir`.
fn unless_built(
    name: &str,
    language: &str,
    dir: &Path,
    made_of: &[PathBuf],
    build: impl FnOnce(&Path, &Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let wit = root().join("wit");
    let out = test_guests_dir().join(format!("{name}.wasm"));
    let mut made_of = made_of.to_vec();
    for entry in fs::read_dir(&wit).with_context(|| format!("{} cannot be read", wit.display()))? {
        made_of.push(entry?.path());
    }
    made_of.sort();
    let mut hasher = DefaultHasher::new();
    for path in made_of {
        fs::read(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?
            .hash(&mut hasher);
    }
    let (stamp, stamp_file) = (hasher.finish().to_string(), dir.join("built-from"));
    if out.exists() && fs::read_to_string(&stamp_file).is_ok_and(|present| present == stamp) {
        return Ok(());
    }
    eprintln!("  building the example in {language}");
    build(&out, &wit)?;
    fs::write(&stamp_file, stamp).with_context(|| format!("{} cannot be written", stamp_file.display()))
}
