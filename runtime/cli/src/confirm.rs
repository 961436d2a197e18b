//! Asking whether something is meant.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, bail};

/// Asks the person at the terminal whether to do this. Without one nobody can say yes, and that is a no.
pub(crate) fn confirm(what: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        bail!("this would {what}: say --yes to do it");
    }
    let mut terminal = io::stderr();
    write!(terminal, "{what}? [y/N] ")
        .and_then(|()| terminal.flush())
        .context("standard error")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("standard input")?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => bail!("nothing was done"),
    }
}
