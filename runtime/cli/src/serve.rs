//! `cofferdam serve`: the server, from its configuration to its last settled attempt.

mod process;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use cofferdam_host::{CompileLimits, Compiler};
use cofferdam_server::config::{self, Config, LogFormat};
use cofferdam_server::{ServeOptions, Server, VAULT_KEY_VARIABLE, telemetry};
use secrecy::SecretString;
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::command::wait_for;
use crate::output::{self, Output};

/// What a second signal ends the process with: 128 and the number of SIGINT, as a shell would.
const INTERRUPTED: i32 = 130;

/// Run the server until it is told to stop
///
/// It takes webhooks and events on its public listener, and serves API, panel, health and metrics on its admin listener;
/// both are on this machine only unless the configuration says otherwise. SIGTERM or Ctrl-C lets what is under way end,
/// within the configured time; a second one stops at once, and what was under way is tried again at the next start.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam serve --data ./data --plugins ./connectors
  cofferdam serve --print-config > cofferdam.toml     every default, explained
  cofferdam serve --config cofferdam.toml --data /var/lib/cofferdam \\
      --plugins /usr/lib/cofferdam

The first start makes an admin token, in admin.token of the data folder, and a vault key, in vault.key. Keep a copy of \
the key apart from the data: without it every credential is lost.

The vault's key is looked for in this order, and the first place that there is counts:
  COFFERDAM_VAULT_KEY  an environment variable with 32 bytes in base64
  vault.key_file       a file that the configuration names
  systemd              the credential cofferdam-vault-key of the service:
                       LoadCredential=cofferdam-vault-key:/etc/cofferdam/vault.key
  vault.key            in the data folder

The same user and root can read the variable in /proc for as long as the server runs; a file or a credential avoids that. \
`cofferdam vault rekey` gives the vault a new key.")]
pub(crate) struct Serve {
    /// Configuration file; without it every setting has its default
    #[arg(long, env = "COFFERDAM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Folder for everything durable; made if it is not there
    #[arg(long, env = "COFFERDAM_DATA", value_name = "DIR", default_value = "./data")]
    data: PathBuf,

    /// Folder with connectors (.wasm)
    #[arg(long, env = "COFFERDAM_PLUGINS", value_name = "DIR", default_value = "./plugins")]
    plugins: PathBuf,

    /// Let the system keep the memory of a crash, and debuggers look into the server: both hold secrets
    ///
    /// For finding a fault on a machine without secrets of worth. Without it a crash leaves no core dump, and nobody but root
    /// reads the server's memory.
    #[arg(long, env = "COFFERDAM_CORE_DUMPS")]
    core_dumps: bool,

    /// Print a configuration file with every default, explained, and do nothing else
    #[arg(long)]
    print_config: bool,
}

/// Whether others may look into the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Privacy {
    Closed,
    Open,
}

/// What `--json` prints once the server answers.
#[derive(Serialize)]
struct Ready {
    public: SocketAddr,
    admin: SocketAddr,
}

impl Serve {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<()> {
        if self.print_config {
            return output.show(&serde_json::json!({ "config": config::DEFAULT_TEXT }), |_| {
                config::DEFAULT_TEXT.to_owned()
            });
        }
        // Before the first secret is read.
        let privacy = if self.core_dumps {
            Privacy::Open
        } else {
            process::forbid_core_dumps()?;
            Privacy::Closed
        };
        let vault_key = vault_key(std::env::var_os(VAULT_KEY_VARIABLE))?;
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        if output.is_json() {
            config.log.format = LogFormat::Json;
        }
        telemetry::start(&config.log);
        let options = ServeOptions {
            config,
            data: self.data,
            plugins: self.plugins,
            vault_key,
            credentials_dir: credentials_dir(),
            compiler: compiler()?,
        };
        wait_for(until_stopped(options, privacy, *output))
    }
}

/// Until the server is ready nothing has been accepted, so a signal before that ends the process as it always does.
async fn until_stopped(options: ServeOptions, privacy: Privacy, output: Output) -> anyhow::Result<()> {
    let server = Box::pin(Server::start(options)).await?;
    // Not earlier: the engine opens a file of its own process that would be closed to it from then on.
    match privacy {
        Privacy::Closed => process::close_memory()?,
        Privacy::Open => {
            tracing::warn!("core dumps are on and the server's memory is open to its user: both hold secrets");
        }
    }
    process::give_large_buffers_back();
    let mut signals = Signals::listen()?;
    let ready = Ready {
        public: server.public(),
        admin: server.admin(),
    };
    // One line, so that a program can wait for it.
    output.line(&if output.is_json() {
        serde_json::to_string(&ready)?
    } else {
        told(&ready)
    })?;
    signals.next().await;
    // The drain is not cancelled by the second signal: the process ends with it.
    tokio::select! {
        _all_settled = server.drain() => Ok(()),
        () = signals.next() => {
            output::complain("stopped at once; what was under way is tried again at the next start");
            std::process::exit(INTERRUPTED)
        }
    }
}

fn told(ready: &Ready) -> String {
    let Ready { public, admin } = ready;
    format!("webhooks and events: http://{public}\nAPI and panel:       http://{admin}")
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened to");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Cancel-safe: `Signal::recv` is.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The key from the environment, if it is there.
///
/// It stays in the environment: the compiler is started with an empty one and no other program is started, and taking it out
/// of the process's list would not take it out of `/proc/PID/environ`. The help says so.
pub(crate) fn vault_key(variable: Option<OsString>) -> anyhow::Result<Option<SecretString>> {
    let Some(value) = variable.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    match value.into_string() {
        Ok(text) => Ok(Some(SecretString::from(text))),
        Err(_) => anyhow::bail!("{VAULT_KEY_VARIABLE} is no text: it must be 32 random bytes in base64"),
    }
}

/// This program, started once more for each component (`compile-component`).
///
/// By the name that Linux has for it, because the file may have been replaced by the next version since.
pub(crate) fn compiler() -> anyhow::Result<Compiler> {
    let running = PathBuf::from("/proc/self/exe");
    let program = if running.exists() {
        running
    } else {
        std::env::current_exe().context("the path of this program is not known")?
    };
    Ok(Compiler::Child {
        program,
        limits: CompileLimits::default(),
    })
}

/// Where systemd puts the credentials of a service (systemd.exec(5)).
pub(crate) fn credentials_dir() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_vault_key_is_taken_as_it_is_and_an_empty_variable_is_none() {
        let check = |value: Option<&str>, expected: Option<&str>| {
            let key = vault_key(value.map(OsString::from)).unwrap();
            assert_eq!(key.as_ref().map(ExposeSecret::expose_secret), expected);
        };
        check(None, None);
        check(Some(""), None);
        check(Some("a2V5"), Some("a2V5"));
    }

    #[test]
    fn a_vault_key_that_is_no_text_is_refused_without_repeating_it() {
        let error = vault_key(Some(OsString::from_vec(vec![b's', 0xff]))).unwrap_err();
        assert!(error.to_string().starts_with("COFFERDAM_VAULT_KEY is no text"));
    }

    #[test]
    fn what_is_ready_is_said_by_address() {
        let ready = Ready {
            public: "127.0.0.1:8080".parse().unwrap(),
            admin: "127.0.0.1:8081".parse().unwrap(),
        };
        assert_eq!(
            told(&ready),
            "webhooks and events: http://127.0.0.1:8080\nAPI and panel:       http://127.0.0.1:8081"
        );
        assert_eq!(
            serde_json::to_string(&ready).unwrap(),
            r#"{"public":"127.0.0.1:8080","admin":"127.0.0.1:8081"}"#
        );
    }
}
