//! The real `cofferdam serve` as a process of its own: started, asked, stopped, killed, started again on the same data.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::api::Api;
use crate::artifacts;
use crate::wait;

/// A data folder, a plugins folder and a configuration, not yet running.
pub struct Setup {
    dir: TempDir,
    config: String,
    variables: Vec<(&'static str, OsString)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// Empty folders and free ports.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("cofferdam-test-")
            .tempdir()
            .expect("there is a temporary folder");
        fs::create_dir(dir.path().join("plugins")).expect("the folder is ours");
        let config = "[listen]\npublic = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\n[log]\nformat = \"json\"\n";
        Self {
            dir,
            config: config.to_owned(),
            variables: Vec::new(),
        }
    }

    /// Copies a component into the plugins folder.
    #[must_use]
    pub fn plugin(self, component: &Path) -> Self {
        let name = component.file_name().expect("a component is a file");
        fs::copy(component, self.plugins().join(name)).expect("the folder is ours");
        self
    }

    /// Adds tables to the configuration.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self
    }

    /// Puts one part of the configuration in the place of another that is there.
    #[must_use]
    pub fn instead_of(mut self, there: &str, text: &str) -> Self {
        assert!(self.config.contains(there), "{there:?} is not in the configuration");
        self.config = self.config.replace(there, text);
        self
    }

    /// The environment of the servers that are started from now on, beside what every one gets.
    #[must_use]
    pub fn environment(mut self, variables: Vec<(&'static str, OsString)>) -> Self {
        self.variables = variables;
        self
    }

    /// The plugins folder.
    pub fn plugins(&self) -> PathBuf {
        self.dir.path().join("plugins")
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The command line of the server.
    pub fn command(&self) -> Command {
        let config = self.dir.path().join("cofferdam.toml");
        // Nothing is copied into the folder slowly here, unless a test says so.
        let quick = if self.config.contains("[plugins]") {
            ""
        } else {
            "\n[plugins]\nsettle_ms = 20\n"
        };
        fs::write(&config, format!("{}{quick}", self.config)).expect("the folder is ours");
        let mut command = Command::new(artifacts::command());
        command
            .arg("serve")
            .arg("--config")
            .arg(config)
            .arg("--data")
            .arg(self.data())
            .arg("--plugins")
            .arg(self.plugins());
        command
            .env_remove("COFFERDAM_VAULT_KEY")
            .env_remove("CREDENTIALS_DIRECTORY")
            .env("NO_COLOR", "1")
            .envs(self.variables.iter().cloned())
            .kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts the server and waits until it answers and has read its plugins folder.
    pub async fn start(self) -> Running {
        let mut child = self.command().spawn().expect("the command is built");
        let log = Log::follow(&mut child);
        let ready = wait::until("the server's start", || async {
            assert!(!log.ended(), "the server ended at its start:\n{}", log.text());
            log.find("ready")
        })
        .await;
        let address = |name: &str| {
            ready["fields"][name]
                .as_str()
                .or(ready[name].as_str())
                .expect("an address")
                .to_owned()
        };
        let (public, admin) = (address("public"), address("admin"));
        wait::until("the plugins folder to be read", || async {
            assert!(!log.ended(), "the server ended at its start:\n{}", log.text());
            log.find("the plugins folder was read")
        })
        .await;
        let token = fs::read_to_string(self.data().join("admin.token")).expect("the first start makes a token");
        let api = Api::new(
            format!("http://{public}"),
            format!("http://{admin}"),
            token.trim().to_owned(),
        );
        Running {
            setup: self,
            child,
            log,
            api,
        }
    }
}

/// Runs a server that is expected to end by itself, and hands back its exit code and standard error.
pub async fn run_to_end(mut command: Command) -> (Option<i32>, String) {
    let output = tokio::time::timeout(wait::BOUND, command.output())
        .await
        .expect("it ends")
        .expect("it starts");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// A running server.
pub struct Running {
    setup: Setup,
    child: Child,
    log: Log,
    /// Its API.
    pub api: Api,
}

impl Running {
    /// Its folders.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most of it since the start, or since [`Running::forget_peak`].
    pub fn resident_peak_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// Has the peak counted from now on: see `clear_refs` in proc_pid_clear_refs(5). Whether it is: of a server that hides its memory
    /// only root may.
    pub fn forget_peak(&self) -> bool {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").is_ok()
    }

    /// A number of kB of `/proc/PID/status`, in bytes.
    fn status_bytes(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status
            .lines()
            .find(|line| line.starts_with(name))
            .expect("Linux says so");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|text| text.parse().ok())
            .expect("a number of kB");
        kib * 1024
    }

    /// Processor time so far, of all its threads, in user and kernel mode.
    pub fn processor_time(&self) -> std::time::Duration {
        let pid = self.child.id().expect("it runs");
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        // The second field is the name, in parentheses; what follows is numbers. Fields 14 and 15 count ticks of 10 ms: see
        // proc_pid_stat(5).
        let (_, numbers) = stat.rsplit_once(')').expect("Linux says so");
        let ticks = numbers
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("a number"));
        std::time::Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// `kill -9`, and the folders it leaves.
    pub async fn kill(mut self) -> Setup {
        self.child.kill().await.expect("it runs");
        self.setup
    }

    /// SIGTERM; the exit code, what it logged, and the folders it leaves.
    pub async fn stop(self) -> (Option<i32>, String, Setup) {
        self.terminate();
        self.ended().await
    }

    /// Waits for an end that has been asked for.
    pub async fn ended(mut self) -> (Option<i32>, String, Setup) {
        let status = tokio::time::timeout(wait::BOUND, self.child.wait())
            .await
            .expect("it stops")
            .expect("it runs");
        let log = self.log;
        wait::until("the end of the log", || async { log.ended().then_some(()) }).await;
        (status.code(), log.text(), self.setup)
    }

    /// Sends SIGTERM and does not wait.
    pub fn terminate(&self) {
        let pid = self.child.id().expect("it runs");
        let sent = std::process::Command::new("kill")
            .args(["-TERM", &pid.to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "SIGTERM could not be sent");
    }
}

/// Standard error, line by line.
#[derive(Clone, Default)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    ended: Arc<std::sync::atomic::AtomicBool>,
}

impl Log {
    fn follow(child: &mut Child) -> Self {
        let log = Self::default();
        let stderr = child.stderr.take().expect("standard error is a pipe");
        let copy = log.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                copy.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
            copy.ended.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        log
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    fn ended(&self) -> bool {
        self.ended.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn find(&self, message: &str) -> Option<serde_json::Value> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parsed = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        parsed.find(|line| line["message"] == message)
    }
}
