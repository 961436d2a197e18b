//! `cofferdam vault`: the vault's key, while no server runs.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use clap::Subcommand;
use cofferdam_domain::Timestamp;
use cofferdam_server::config::Config;
use cofferdam_server::{KeyFound, KeyPlaces, VAULT_KEY_CREDENTIAL, VAULT_KEY_VARIABLE};
use cofferdam_store::Store;
use cofferdam_vault::{KeySource, RekeyStep, Rekeyed, VaultError, VaultKey, rekey};
use serde::Serialize;

use crate::output::{self, Output};
use crate::serve::{credentials_dir, vault_key};

/// How often long work says how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// Give the vault a new key, while no server runs on its data folder
///
/// The vault's key seals every credential. It is in a file or a variable of your choice and never in the store.
#[derive(Debug, clap::Args)]
pub(crate) struct Vault {
    #[command(subcommand)]
    command: VaultCommand,
}

#[derive(Debug, Subcommand)]
enum VaultCommand {
    /// Seal everything in the vault under a new key
    ///
    /// The new key is made and written to a new file, or taken from the file if it is there. The present key is looked for where
    /// `cofferdam serve` looks for it, and its file stays as it is. Stop the server first; a folder that one has open is refused.
    ///
    /// It may be interrupted at any moment: the vault then opens with exactly one of the two keys, and the same command again
    /// goes on or begins anew, whichever is right.
    #[command(after_help = "\
Examples:
  cofferdam vault rekey --data ./data --to ./data/vault.key.new
  cofferdam vault rekey --config cofferdam.toml --data /var/lib/cofferdam \\
      --to /etc/cofferdam/vault.key.new

A new key keeps out who has the old one from what is set from now on. What was set before is not set anew: if the old key and \
a copy of the data folder may be in somebody's hands, rotate the credentials too. Keep the old key for as long as you keep \
backups that were made with it.

Exit status: 0 the vault opens with the new key, 1 it opens with the key that it had.")]
    Rekey {
        /// The data folder
        #[arg(long, env = "COFFERDAM_DATA", value_name = "DIR", default_value = "./data")]
        data: PathBuf,

        /// The server's configuration file, for vault.key_file
        #[arg(long, env = "COFFERDAM_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,

        /// The file of the new key; made, readable by its owner only, if it is not there
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
}

/// What `rekey --json` prints.
#[derive(Serialize)]
struct RekeyedView {
    state: &'static str,
    records: Option<u64>,
    key_file: String,
    next: String,
}

impl Vault {
    pub(crate) async fn run(self, output: &Output) -> anyhow::Result<()> {
        let VaultCommand::Rekey { data, config, to } = self.command;
        let config = match &config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        let variable = vault_key(std::env::var_os(VAULT_KEY_VARIABLE))?;
        let credentials_dir = credentials_dir();
        let places = KeyPlaces {
            variable: variable.as_ref(),
            file: config.vault.key_file.as_deref(),
            credentials_dir: credentials_dir.as_deref(),
            data: &data,
        };
        let present = Present::of(places.find());
        let store = Store::open_existing(&data)?;
        let done = present.rekey(&store, &to, *output).await;
        store.close();
        let view = present.view(done?, &to);
        output.show(&view, |_| told(&view))
    }
}

/// Where the present key is.
struct Present {
    found: KeyFound,
    /// Its file, if it is one of ours.
    file: Option<PathBuf>,
}

impl Present {
    fn of(found: KeyFound) -> Self {
        let file = match &found.source {
            KeySource::File(path) => Some(path.clone()),
            KeySource::Credential(_) | KeySource::Env(_) => None,
        };
        Self { found, file }
    }

    async fn rekey(&self, store: &Store, to: &Path, output: Output) -> anyhow::Result<Rekeyed> {
        let to = std::path::absolute(to).with_context(|| format!("{} is no path", to.display()))?;
        let load = || VaultKey::load(self.found.source.clone());
        let new = if to.exists() {
            VaultKey::load(KeySource::File(to.clone()))?
        } else {
            // A key file is made only for a vault that the present key opens.
            let opened = cofferdam_vault::Vault::open(existing(store)?, load()?).await;
            opened.map_err(|error| self.explained(error))?;
            VaultKey::create_file(&to)?
        };
        // Whoever has put the new key in the place of the old one already, after a rekey that was interrupted, has one key only.
        let old = match load() {
            Ok(old) => old,
            Err(_) if self.file.as_deref().is_some_and(|file| !file.exists()) => {
                VaultKey::load(KeySource::File(to.clone()))?
            }
            Err(error) => return Err(error.into()),
        };
        let now = Timestamp::from_system(SystemTime::now());
        let mut ticker = Ticker::new(output);
        let name = to.display().to_string();
        let done = rekey(store, &old, &new, &name, now, &mut |step| {
            ticker.tell(step);
            ControlFlow::Continue(())
        })
        .await;
        done.map_err(|error| self.explained(error))
    }

    fn explained(&self, error: VaultError) -> anyhow::Error {
        match error {
            VaultError::WrongKey(hint) => anyhow::anyhow!(
                "the vault was sealed under another key than {}: {hint}; nothing was changed",
                self.found.origin
            ),
            error => error.into(),
        }
    }

    fn view(&self, done: Rekeyed, to: &Path) -> RekeyedView {
        let (state, records) = match done {
            Rekeyed::Done(records) => ("done", Some(records)),
            Rekeyed::Finished => ("finished", None),
            Rekeyed::Already => ("already", None),
        };
        RekeyedView {
            state,
            records,
            key_file: to.display().to_string(),
            next: self.next(to),
        }
    }

    /// What must be done before the server starts again.
    fn next(&self, to: &Path) -> String {
        let to = to.display();
        match (&self.found.source, &self.found.default_file) {
            (_, Some(file)) => {
                let file = file.display();
                format!("set vault.key_file = \"{to}\", or: mv {file} {file}.old && mv {to} {file}")
            }
            (KeySource::File(_), None) => format!("set vault.key_file = \"{to}\" in the configuration"),
            (KeySource::Env(_), None) => format!("set {VAULT_KEY_VARIABLE} to what {to} holds"),
            (KeySource::Credential(_), None) => {
                format!("set LoadCredential={VAULT_KEY_CREDENTIAL}:{to} in the unit of the service")
            }
        }
    }
}

/// The store, if it holds a vault: none is made here.
fn existing(store: &Store) -> Result<Store, VaultError> {
    if cofferdam_vault::Vault::is_initialised(store)? {
        Ok(store.clone())
    } else {
        Err(VaultError::NoVault)
    }
}

fn told(view: &RekeyedView) -> String {
    let RekeyedView { key_file, next, .. } = view;
    let first = match view.records {
        Some(records) => format!("{records} records are sealed under the new key"),
        None if view.state == "finished" => "a rekey that was interrupted is finished".to_owned(),
        None => "the vault had this key already".to_owned(),
    };
    format!(
        "{first}: the vault opens with the key in {key_file}, and with no other.\n\
         Next: keep a copy of it apart from the data, and {next}"
    )
}

/// Says on standard error how far long work is, now and then, and when the key changes.
struct Ticker {
    output: Output,
    last: Instant,
}

impl Ticker {
    fn new(output: Output) -> Self {
        Self {
            output,
            last: Instant::now(),
        }
    }

    fn tell(&mut self, step: RekeyStep) {
        let text = match step {
            RekeyStep::Begin => return,
            RekeyStep::Switch => "everything is sealed: the new key takes the place of the old one".to_owned(),
            RekeyStep::Seal(records) if self.is_due() => format!("sealing: {records} records so far"),
            RekeyStep::Move(records) if self.is_due() => format!("putting in place: {records} records so far"),
            RekeyStep::Seal(_) | RekeyStep::Move(_) => return,
        };
        if !self.output.is_json() {
            output::complain(&text);
        }
    }

    fn is_due(&mut self) -> bool {
        let due = self.last.elapsed() >= REPORT_EVERY;
        if due {
            self.last = Instant::now();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_next_depends_on_where_the_key_was() {
        let present = |source: KeySource, default_file: Option<&str>| {
            Present::of(KeyFound {
                origin: source.to_string(),
                source,
                default_file: default_file.map(PathBuf::from),
            })
        };
        let to = Path::new("/k/new");
        for (present, expected) in [
            (
                present(KeySource::File("/d/vault.key".into()), Some("/d/vault.key")),
                "set vault.key_file = \"/k/new\", or: mv /d/vault.key /d/vault.key.old && mv /k/new /d/vault.key",
            ),
            (
                present(KeySource::File("/k/old".into()), None),
                "set vault.key_file = \"/k/new\" in the configuration",
            ),
            (
                present(KeySource::Env("a2V5".into()), None),
                "set COFFERDAM_VAULT_KEY to what /k/new holds",
            ),
            (
                present(KeySource::Credential("/run/k".into()), None),
                "set LoadCredential=cofferdam-vault-key:/k/new in the unit of the service",
            ),
        ] {
            assert_eq!(present.next(to), expected);
        }
    }

    #[test]
    fn every_end_says_which_file_opens_the_vault() {
        let present = Present::of(KeyFound {
            origin: "x".into(),
            source: KeySource::File("/k/old".into()),
            default_file: None,
        });
        for (done, begins) in [
            (Rekeyed::Done(3), "3 records are sealed under the new key"),
            (Rekeyed::Finished, "a rekey that was interrupted is finished"),
            (Rekeyed::Already, "the vault had this key already"),
        ] {
            let text = told(&present.view(done, Path::new("/k/new")));
            assert!(text.starts_with(begins), "{text}");
            assert!(
                text.contains(": the vault opens with the key in /k/new, and with no other.\nNext: "),
                "{text}"
            );
        }
    }
}
