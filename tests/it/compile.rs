//! Compiling in a process of its own: what it may use, what it is given, and what is kept of what it made.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use cofferdam_host::{CompileLimits, Compiler, Connector, Engine, EngineSettings};
use cofferdam_tests::artifacts::{command, test_guest};
use cofferdam_tests::{Setup, wait};
use tempfile::TempDir;

/// A folder with connectors, compilers and a cache.
struct Bed(TempDir);

impl Bed {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A connector like the probe in all but its digest.
    fn variant(&self, name: &str) -> PathBuf {
        let mut bytes = fs::read(test_guest("probe")).unwrap();
        let length = u8::try_from(name.len()).unwrap();
        // A custom section: its id, its length, and a name that is all of it.
        bytes.extend([0, length + 1, length]);
        bytes.extend(name.as_bytes());
        let path = self.path(&format!("{name}.wasm"));
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A compiler that does this; `$COMPILER` is the real one.
    fn script(&self, text: &str) -> PathBuf {
        let path = self.path("compiler");
        let head = format!(
            "#!/bin/sh\nCOMPILER='{}'\ncd '{}'\n",
            command().display(),
            self.0.path().display()
        );
        let written = self.path("compiler.text");
        fs::write(&written, head + text).unwrap();
        // Written by another process: a program that is open for writing cannot be run, and a child that another test is just
        // starting holds for a moment whatever this process has open.
        let installed = Command::new("install")
            .args(["-m", "700"])
            .args([&written, &path])
            .status();
        assert!(installed.unwrap().success());
        path
    }

    fn settings(&self, program: PathBuf, limits: CompileLimits) -> EngineSettings {
        EngineSettings {
            calls_max: 1,
            lanes_max: 1,
            compiler: Compiler::Child { program, limits },
            ..EngineSettings::new(self.path("compiled"))
        }
    }

    fn engine(&self, program: PathBuf) -> Engine {
        Engine::new(&self.settings(program, CompileLimits::default())).unwrap()
    }

    /// What a script has noted, line by line.
    fn noted(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("noted")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Names of the files in the cache that end so.
    fn cached(&self, end: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path("compiled")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(end)).collect()
    }
}

async fn refused(engine: &Engine, file: &Path) -> String {
    let Err(problem) = Connector::load(engine, file).await else {
        panic!("{} loads", file.display())
    };
    problem.reason
}

fn is_running(pid: &str) -> bool {
    Path::new("/proc").join(pid).join("cmdline").exists()
}

#[tokio::test]
async fn what_a_child_compiled_is_in_the_cache_and_needs_no_compiler_again() {
    let bed = Bed::new();
    let file = bed.variant("one");
    let first = Connector::load(&bed.engine(command()), &file).await.unwrap();
    let second = Connector::load(&bed.engine(PathBuf::from("/nowhere/compiler")), &file)
        .await
        .unwrap();
    assert_eq!(first.descriptor, second.descriptor);
    let mode = |name: &String| {
        fs::metadata(bed.path("compiled").join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(bed.cached(".native").iter().map(mode).collect::<Vec<_>>(), [0o600]);
    assert_eq!(
        fs::metadata(bed.path("compiled")).unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert!(bed.cached(".draft").is_empty());
}

#[tokio::test]
async fn who_asks_for_the_same_digest_meanwhile_waits_for_the_one_compile() {
    let bed = Bed::new();
    let file = bed.variant("one");
    let engine = bed.engine(bed.script("echo begun >> noted\nexec \"$COMPILER\" \"$@\"\n"));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (engine, file) = (engine.clone(), file.clone());
        asking.spawn(async move { Connector::load(&engine, &file).await.is_ok() });
    }
    assert_eq!(asking.join_all().await, [true; 8]);
    assert_eq!(bed.noted(), ["begun"]);
}

#[tokio::test]
async fn a_failure_is_shared_by_those_who_waited_and_is_not_kept() {
    let bed = Bed::new();
    let file = bed.variant("one");
    let text = "echo begun >> noted\nwhile [ ! -e go ]; do :; done\necho 'unknown type' >&2\nexit 65\n";
    let engine = bed.engine(bed.script(text));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (engine, file) = (engine.clone(), file.clone());
        asking.spawn(async move { refused(&engine, &file).await });
    }
    wait::until("the compiler", || async { (!bed.noted().is_empty()).then_some(()) }).await;
    fs::write(bed.path("go"), "").unwrap();
    for reason in asking.join_all().await {
        assert_eq!(reason, "does not compile: unknown type");
    }
    // Some may have come when it was over.
    let before = bed.noted().len();
    refused(&engine, &file).await;
    assert_eq!(bed.noted().len(), before + 1);
}

#[tokio::test]
async fn components_are_compiled_one_at_a_time() {
    let bed = Bed::new();
    let engine = bed.engine(bed.script("echo begun >> noted\n\"$COMPILER\" \"$@\" || exit\necho ended >> noted\n"));
    let mut asking = tokio::task::JoinSet::new();
    for name in ["one", "two", "three"] {
        let (engine, file) = (engine.clone(), bed.variant(name));
        asking.spawn(async move { Connector::load(&engine, &file).await.is_ok() });
    }
    assert_eq!(asking.join_all().await, [true; 3]);
    assert_eq!(bed.noted(), ["begun", "ended"].repeat(3));
}

#[tokio::test]
async fn what_compiling_may_use_is_a_limit_that_is_named_with_its_number() {
    let bed = Bed::new();
    let limits = CompileLimits::default();
    let mib = 1024 * 1024;
    let script = |text| bed.script(text);
    for (program, limits, expected) in [
        (
            command(),
            CompileLimits {
                cpu: Duration::from_secs(1),
                ..limits
            },
            "takes more than 1 s of processor time to compile; make it smaller",
        ),
        (
            command(),
            CompileLimits {
                memory_bytes: 64 * mib,
                ..limits
            },
            "takes more than 67108864 bytes of memory to compile; make it smaller",
        ),
        (
            command(),
            CompileLimits {
                native_bytes: mib,
                ..limits
            },
            "compiles to more than 1048576 bytes of machine code; make it smaller",
        ),
        (
            script("exec sleep 1000\n"),
            CompileLimits {
                wall: Duration::from_secs(1),
                ..limits
            },
            "did not compile within 1 s; load it again when the machine is less busy, or make it smaller",
        ),
    ] {
        let engine = Engine::new(&bed.settings(program, limits)).unwrap();
        assert_eq!(refused(&engine, &test_guest("js-connector")).await, expected);
        assert!(bed.cached("").is_empty(), "{:?} is left", bed.cached(""));
    }
}

#[tokio::test]
async fn a_compiler_that_breaks_down_is_a_sentence_and_not_the_end_of_the_host() {
    let bed = Bed::new();
    let file = bed.variant("one");
    for (text, expected) in [
        ("kill -SEGV $$\n", "makes the compiler break down (signal: 11 (SIGSEGV)"),
        (
            "echo 'thread main panicked' >&2\nexit 101\n",
            "makes the compiler break down (exit status: 101: thread main panicked)",
        ),
        (
            "kill -KILL $$\n",
            "could not be compiled: the compiler was killed from outside",
        ),
        // Code that is none is not loaded, whatever the compiler says of it.
        (
            "cat > /dev/null\necho no code\n",
            "could not be compiled: its machine code does not load from the cache",
        ),
        // More than can be wanted of a sentence.
        (
            "head -c 1000000 /dev/zero | tr '\\0' x >&2\nexit 65\n",
            "does not compile: xxx",
        ),
    ] {
        let reason = refused(&bed.engine(bed.script(text)), &file).await;
        assert!(reason.starts_with(expected), "{text}: {reason}");
        assert!(reason.len() < 1200, "{} bytes", reason.len());
    }
    let reason = refused(&bed.engine(PathBuf::from("/nowhere/compiler")), &file).await;
    assert!(
        reason.starts_with("could not be compiled: the compiler cannot be started"),
        "{reason}"
    );
    // The next that works finds nothing of it in its way.
    Connector::load(&bed.engine(command()), &file).await.unwrap();
}

#[tokio::test]
async fn a_compiler_for_another_engine_is_not_believed() {
    let bed = Bed::new();
    let engine = bed.engine(bed.script("exit 66\n"));
    Connector::load(&engine, &bed.variant("one")).await.unwrap();
}

#[tokio::test]
async fn a_compile_that_nobody_waits_for_any_more_is_ended() {
    let bed = Bed::new();
    let file = bed.variant("one");
    let engine = bed.engine(bed.script("echo $$ >> noted\nexec sleep 1000\n"));
    let asking = tokio::spawn(async move { Connector::load(&engine, &file).await.is_ok() });
    let pid = wait::until("the compiler", || async { bed.noted().pop() }).await;
    assert!(is_running(&pid));
    asking.abort();
    wait::until("its end", || async { (!is_running(&pid)).then_some(()) }).await;
    assert!(bed.cached("").is_empty());
}

#[tokio::test]
async fn damaged_code_is_compiled_again() {
    let bed = Bed::new();
    let file = bed.variant("one");
    let compiler = || bed.script("echo begun >> noted\nexec \"$COMPILER\" \"$@\"\n");
    Connector::load(&bed.engine(compiler()), &file).await.unwrap();
    let native = bed.path("compiled").join(&bed.cached(".native")[0]);
    let whole = fs::read(&native).unwrap();
    let middle = whole.len() / 2;
    let mut flipped = whole.clone();
    flipped[middle] ^= 1;
    for (damaged, compiles) in [(&flipped[..], 2), (&whole[..middle], 3), (&[], 4)] {
        fs::write(&native, damaged).unwrap();
        Connector::load(&bed.engine(compiler()), &file).await.unwrap();
        assert_eq!(bed.noted().len(), compiles);
    }
    fs::remove_file(native.with_extension("sha256")).unwrap();
    Connector::load(&bed.engine(compiler()), &file).await.unwrap();
    assert_eq!(bed.noted().len(), 5);
    Connector::load(&bed.engine(compiler()), &file).await.unwrap();
    assert_eq!(bed.noted().len(), 5, "a whole one is used");
}

#[tokio::test]
async fn the_code_that_was_not_used_for_longest_goes_first_and_what_is_loaded_stays() {
    let bed = Bed::new();
    let settings = EngineSettings {
        // The probe compiles to about 650 KB: there is room for two.
        cache_bytes: 1_400_000,
        ..bed.settings(command(), CompileLimits::default())
    };
    let engine = Engine::new(&settings).unwrap();
    let held = Connector::load(&engine, &bed.variant("held")).await.unwrap();
    let native = |connector: &Connector| {
        let digest = connector.digest.to_string();
        let name = bed.cached(".native").into_iter().find(|name| name.starts_with(&digest));
        name.map(|name| bed.path("compiled").join(name))
    };
    let long_ago = |connector: &Connector, days: u64| {
        let file = fs::File::open(native(connector).unwrap()).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400))
            .unwrap();
    };
    let second = Connector::load(&engine, &bed.variant("second")).await.unwrap();
    long_ago(&held, 2);
    long_ago(&second, 1);
    let second_file = native(&second).unwrap();
    drop(second);
    let third = Connector::load(&engine, &bed.variant("third")).await.unwrap();
    assert!(native(&held).is_some(), "the oldest is loaded");
    assert!(!second_file.exists() && !second_file.with_extension("sha256").exists());
    assert!(native(&third).is_some());
    // Used again, it is the newest.
    long_ago(&third, 3);
    let (held_digest, third_digest) = (held.digest.to_string(), third.digest.to_string());
    drop((held, third));
    drop(Connector::load(&engine, &bed.path("third.wasm")).await.unwrap());
    drop(Connector::load(&engine, &bed.variant("fourth")).await.unwrap());
    let left = bed.cached(".native");
    assert!(left.iter().any(|name| name.starts_with(&third_digest)), "{left:?}");
    assert!(!left.iter().any(|name| name.starts_with(&held_digest)), "{left:?}");
}

#[tokio::test]
async fn what_a_killed_process_left_unfinished_is_removed_and_what_is_being_written_is_not() {
    let bed = Bed::new();
    let cache = bed.path("compiled");
    fs::create_dir(&cache).unwrap();
    let (left, written) = (cache.join("a.1-0.draft"), cache.join("b.1-0.draft"));
    fs::write(&left, "half").unwrap();
    let writing = fs::File::create(&written).unwrap();
    writing.lock().unwrap();
    let _engine = bed.engine(command());
    assert!(!left.exists());
    assert!(written.exists());
}

#[tokio::test]
async fn the_compiler_gets_nothing_of_the_server_and_ends_with_it() {
    const LIMITS: [&str; 4] = [
        "Max cpu time              120",
        "Max data size             2147483648",
        "Max file size             536870912",
        "Max core file size        0",
    ];
    let setup = Setup::new().environment(vec![(
        "COFFERDAM_VAULT_KEY",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into(),
    )]);
    let setup = setup.plugin(&test_guest("python-connector"));
    let mut server = setup.command().stderr(Stdio::null()).spawn().unwrap();
    let parent = server.id().unwrap().to_string();
    let is_shut_in = |pid: &String| {
        let limits = proc(pid, "limits");
        LIMITS.iter().all(|limit| limits.contains(limit)) && proc(pid, "status").contains("NoNewPrivs:\t1")
    };
    // It shuts itself in, one step after the other.
    let child = wait::until("the compiler, within its limits", || async {
        compiler_of(&parent).filter(is_shut_in)
    })
    .await;
    assert!(proc(&child, "environ").is_empty(), "{}", proc(&child, "environ"));
    let open = fs::read_dir(format!("/proc/{child}/fd")).unwrap().count();
    assert_eq!(open, 3);
    server.kill().await.unwrap();
    wait::until("the compiler's end", || async { (!is_running(&child)).then_some(()) }).await;
}

fn proc(pid: &str, file: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The process that this one has started to compile.
fn compiler_of(parent: &str) -> Option<String> {
    let parent = format!("PPid:\t{parent}\n");
    fs::read_dir("/proc").unwrap().find_map(|entry| {
        let pid = entry.ok()?.file_name().into_string().ok()?;
        let ours = proc(&pid, "status").contains(&parent) && proc(&pid, "cmdline").contains("compile-component");
        ours.then_some(pid)
    })
}
