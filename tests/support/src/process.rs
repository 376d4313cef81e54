//! A child process with its log in a file, killed with its test.

use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{LIMIT, eventually};

/// A program of the workspace, as `cargo build --workspace` leaves it: one directory above the
/// program of the test.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the program of this test");
    let directory = test.ancestors().nth(2).expect("a directory of programs");
    directory.join(name)
}

/// The variables of the router that the person has set are not for a test; what the test itself has
/// set stays.
pub fn without_foreign(command: &mut Command) {
    let foreign = std::env::vars_os().map(|(name, _)| name);
    for name in foreign.filter(|name| name.to_string_lossy().starts_with("BEAMLINE")) {
        if !command.get_envs().any(|(set, _)| set == name) {
            command.env_remove(name);
        }
    }
}

#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// What it says goes through a pipe, whose reader can stop.
    pub fn start_piped(command: Command, log: PathBuf) -> (Self, LogPipe) {
        let (from, to) = std::io::pipe().expect("a pipe");
        let pipe = LogPipe::read(from, log.clone());
        (Self::spawn(command, log, |_| to.into()), pipe)
    }

    pub fn start(command: Command, log: PathBuf) -> Self {
        Self::spawn(command, log, |file| {
            file.try_clone().expect("a log file").into()
        })
    }

    fn spawn(mut command: Command, log: PathBuf, errors: impl FnOnce(&File) -> Stdio) -> Self {
        without_foreign(&mut command);
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file");
        command
            .stdin(Stdio::null())
            .stderr(errors(&file))
            .stdout(file);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!(
                "{} cannot be started: {error}. `make test` builds and installs all programs.",
                command.get_program().display()
            )
        });
        Self { child, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process number");
        kill(Pid::from_raw(pid), signal).expect("the process is there");
    }

    /// The signal takes a moment to reach every thread; this returns when all of them stand still.
    pub async fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        let threads = format!("/proc/{}/task", self.child.id());
        eventually(LIMIT, "the process stands still", async || {
            let Ok(threads) = std::fs::read_dir(&threads) else {
                return Some(());
            };
            let stands = |stat: String| {
                stat.rsplit(") ")
                    .next()
                    .is_some_and(|rest| rest.starts_with('T'))
            };
            let stats = threads
                .flatten()
                .filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
            stats.into_iter().all(stands).then_some(())
        })
        .await;
    }

    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    pub async fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        eventually(limit, "the process ends", async || self.ended()).await
    }

    pub fn kill(&mut self) {
        let _ended_already = self.child.kill();
        self.child.wait().expect("our own child");
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Writes what comes out of a process into its log, unless it is told to stop reading.
#[derive(Debug)]
pub struct LogPipe {
    held: Arc<AtomicBool>,
}

impl LogPipe {
    fn read(mut from: PipeReader, log: PathBuf) -> Self {
        let held = Arc::new(AtomicBool::new(false));
        let is_held = Arc::clone(&held);
        std::thread::spawn(move || {
            let mut log = File::options()
                .create(true)
                .append(true)
                .open(log)
                .expect("a log file");
            let mut piece = [0; 16 * 1024];
            loop {
                while is_held.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                match from.read(&mut piece) {
                    Ok(0) | Err(_) => return,
                    Ok(size) => log.write_all(&piece[..size]).expect("a log file"),
                }
            }
        });
        Self { held }
    }

    /// The pipe fills, and whoever writes to it waits.
    pub fn hold(&self) {
        self.held.store(true, Ordering::Relaxed);
    }

    pub fn go_on(&self) {
        self.held.store(false, Ordering::Relaxed);
    }
}

impl Drop for LogPipe {
    fn drop(&mut self) {
        self.go_on();
    }
}

impl Drop for Process {
    /// A failed test shows the end of what its processes have said.
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            println!(
                "--- {}\n{}",
                self.log.display(),
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}
