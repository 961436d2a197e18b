//! Compiling in a process of its own, seen from the server: started for one component, with an empty environment and nothing
//! open but the component, a file for its machine code and a pipe for what it says; ended when the time is up or nobody waits.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use cofferdam_domain::limits::one_line;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::worker::{COMPILED, OTHER_ENGINE, REFUSED};
use super::{CompileError, CompileLimits, SENTENCE_BYTES_MAX};

/// What the child may say, in bytes: the sentence, or a panic's message with room around it.
const SAID_BYTES_MAX: u64 = 8 * 1024;

/// Signals by number, as signal(7) has them on Linux.
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;
const SIGXFSZ: i32 = 25;

/// Why there is no machine code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The program's engine is not this one.
    OtherEngine,
    /// What is said of the component.
    For(CompileError),
}

/// The child's command line, which [`compile_component`](crate::compile_component)'s caller reads.
fn arguments(limits: &CompileLimits, engine_hash: u64) -> [OsString; 5] {
    [
        "compile-component".into(),
        engine_hash.to_string().into(),
        limits.cpu.as_secs().to_string().into(),
        limits.memory_bytes.to_string().into(),
        limits.native_bytes.to_string().into(),
    ]
}

/// Has the component compiled into `native`. Dropping the future ends the child.
pub(super) async fn compile(
    program: &Path,
    limits: &CompileLimits,
    engine_hash: u64,
    bytes: &[u8],
    native: &File,
) -> Result<(), Failed> {
    let unavailable = |error: std::io::Error| {
        Failed::For(CompileError::Unavailable(format!(
            "the compiler cannot be started: {error}"
        )))
    };
    let mut command = Command::new(program);
    command
        .args(arguments(limits, engine_hash))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(native.try_clone().map_err(unavailable)?)
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(unavailable)?;
    let Ok(ended) = tokio::time::timeout(limits.wall, attended(&mut child, bytes)).await else {
        // It is gone before its place is given to the next.
        _ = child.kill().await;
        return Err(Failed::For(CompileError::Wall(limits.wall.as_secs())));
    };
    let (status, said) = ended.map_err(unavailable)?;
    judged(status, &said, limits)
}

/// Gives it the component, takes what it says and waits for its end. A child that reads nothing or ends early shows in its
/// status, not in a broken pipe.
async fn attended(child: &mut Child, bytes: &[u8]) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let give = async move {
        if let Some(mut stdin) = stdin {
            _ = stdin.write_all(bytes).await;
        }
    };
    let take = async move {
        let mut said = Vec::new();
        if let Some(stderr) = stderr {
            _ = stderr.take(SAID_BYTES_MAX).read_to_end(&mut said).await;
        }
        said
    };
    let ((), said, status) = tokio::join!(give, take, child.wait());
    Ok((status?, said))
}

/// What its end means.
fn judged(status: ExitStatus, said: &[u8], limits: &CompileLimits) -> Result<(), Failed> {
    let said = one_line(&String::from_utf8_lossy(said), SENTENCE_BYTES_MAX);
    // The allocator's last words, and the operating system's answer where the compiler maps memory by itself.
    let out_of_memory = said.contains("memory allocation of") || said.contains("Cannot allocate memory");
    let error = match (status.code(), status.signal()) {
        (Some(COMPILED), _) => return Ok(()),
        (Some(OTHER_ENGINE), _) => return Err(Failed::OtherEngine),
        (_, Some(SIGXCPU)) => CompileError::Cpu(limits.cpu.as_secs()),
        (_, Some(SIGXFSZ)) => CompileError::Native(limits.native_bytes),
        (_, _) if out_of_memory => CompileError::Memory(limits.memory_bytes),
        (Some(REFUSED), _) => CompileError::Invalid(said),
        // Nobody here sends it; the kernel does when the whole machine is out of memory.
        (_, Some(SIGKILL)) => CompileError::Unavailable("the compiler was killed from outside".to_owned()),
        (_, _) if said.is_empty() => CompileError::Broken(status.to_string()),
        (_, _) => CompileError::Broken(format!("{status}: {said}")),
    };
    Err(Failed::For(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "cases read better as values")]
    fn check(status: i32, said: &str, expected: Result<(), Failed>) {
        let limits = CompileLimits::default();
        assert_eq!(judged(ExitStatus::from_raw(status), said.as_bytes(), &limits), expected);
    }

    /// wait(2) has the exit code in the second byte.
    fn exited(code: i32) -> i32 {
        code << 8
    }

    #[test]
    fn every_end_of_the_compiler_is_told_apart() {
        let limits = CompileLimits::default();
        let failed = |error| Err(Failed::For(error));
        check(exited(COMPILED), "", Ok(()));
        check(exited(OTHER_ENGINE), "", Err(Failed::OtherEngine));
        check(
            exited(REFUSED),
            "unknown type\n7",
            failed(CompileError::Invalid("unknown type 7".to_owned())),
        );
        check(SIGXCPU, "", failed(CompileError::Cpu(limits.cpu.as_secs())));
        check(SIGXFSZ, "", failed(CompileError::Native(limits.native_bytes)));
        let sigabrt = 6;
        let memory = || failed(CompileError::Memory(limits.memory_bytes));
        check(sigabrt, "memory allocation of 64 bytes failed", memory());
        check(
            exited(REFUSED),
            "mmap failed: Cannot allocate memory (os error 12)",
            memory(),
        );
        let broken = "exit status: 101: thread 'main' panicked";
        check(
            exited(101),
            "thread 'main' panicked",
            failed(CompileError::Broken(broken.to_owned())),
        );
        check(11, "", failed(CompileError::Broken("signal: 11 (SIGSEGV)".to_owned())));
        check(
            SIGKILL,
            "",
            failed(CompileError::Unavailable(
                "the compiler was killed from outside".to_owned(),
            )),
        );
    }

    #[test]
    fn a_component_cannot_claim_an_engine_or_success_by_what_the_compiler_says_of_it() {
        let said = "compiled\nexit status: 0";
        check(
            exited(REFUSED),
            said,
            Err(Failed::For(CompileError::Invalid("compiled exit status: 0".to_owned()))),
        );
    }
}
