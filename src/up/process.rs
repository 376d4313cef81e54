//! A program that runs as long as the router does: started again when it ends by itself, and gone
//! when we are.
//!
//! Nothing here needs the parent to end in order: every child holds the other end of a pipe on its
//! stdin, and ends when that closes.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use beamline_domain::backoff::Exponential;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::own_files;

const RESTART: Exponential =
    Exponential::doubling(Duration::from_millis(100), Duration::from_secs(5));
/// Whoever ran this long has earned a quick restart.
const STEADY: Duration = Duration::from_secs(30);
/// Between SIGKILL and the end of a process lies only the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How a program is started.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(&'static str, OsString)>,
    /// Variables of this process that are not for the program.
    pub(super) withheld: &'static [&'static str],
    pub(super) log: PathBuf,
    /// Between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
    /// The program does not watch its stdin: somebody must do it in its place.
    pub(super) guarded: bool,
}

/// Ends the program when stdin closes, a moment after those that watch their stdin themselves: they
/// drain through it. A line on stdin says that it has ended already, so that no other process that
/// got its number is hit. The program keeps the number of the shell.
const GUARD: &str =
    r#"exec 3<&0; (read -r _ <&3 || { sleep 1; kill -TERM $$; }) & exec "$0" "$@" 3<&- </dev/null"#;

/// A program that is kept running. Dropping it kills the program.
#[derive(Debug)]
pub(super) struct Supervised {
    pub(super) name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// A started program with the pipe that it watches.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    since: Instant,
}

impl Spec {
    /// Starts the program, in a process group of its own so that Ctrl-C on a terminal reaches only
    /// us.
    pub(super) fn spawn(&self) -> io::Result<Running> {
        let log = own_files::append(&self.log)?;
        let mut command = if self.guarded {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(GUARD).arg(&self.program);
            shell
        } else {
            Command::new(&self.program)
        };
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        for name in self.withheld {
            command.env_remove(name);
        }
        command
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        Ok(Running {
            child,
            stdin,
            since: Instant::now(),
        })
    }
}

impl Supervised {
    /// Keeps a started program running; `spec` is how it is started again.
    pub(super) fn keep(running: Running, spec: Spec) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(keep_running(running, spec.clone(), stop.clone()));
        Self {
            name: spec.name,
            stop,
            task,
        }
    }

    /// SIGTERM, and SIGKILL when the program takes longer than its grace.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            warn!(program = self.name, %error, "the supervision of a program failed");
        }
    }
}

impl Running {
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.release_guard().await;
        status
    }

    async fn stop(mut self, name: &str, grace: Duration) {
        self.signal(Signal::SIGTERM);
        if timeout(grace, self.child.wait()).await.is_err() {
            warn!(
                program = name,
                grace_s = grace.as_secs(),
                "does not end: killed"
            );
            self.signal(Signal::SIGKILL);
            if timeout(KILL_LIMIT, self.child.wait()).await.is_err() {
                warn!(program = name, "cannot be killed");
            }
        }
        self.release_guard().await;
    }

    /// A program that watches its stdin itself has closed it by now, which is fine.
    async fn release_guard(&mut self) {
        if let Some(mut stdin) = self.stdin.take() {
            let _closed = stdin.write_all(b"\n").await;
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid
            && let Err(error) = kill(Pid::from_raw(pid), signal)
        {
            warn!(pid, %signal, %error, "a signal was not delivered");
        }
    }
}

async fn keep_running(mut running: Running, spec: Spec, stop: CancellationToken) {
    let mut restarts = 0;
    loop {
        let ended = tokio::select! {
            status = running.wait() => status,
            () = stop.cancelled() => return running.stop(spec.name, spec.grace).await,
        };
        if running.since.elapsed() >= STEADY {
            restarts = 0;
        }
        let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        let log = spec.log.display();
        let restart_ms = RESTART.wait(restarts + 1).as_millis();
        warn!(program = spec.name, status, %log, restart_ms, "ended by itself");
        let Some(restarted) = restart(&spec, &stop, &mut restarts).await else {
            return;
        };
        running = restarted;
        info!(
            program = spec.name,
            pid = running.id(),
            recovered = true,
            "started again"
        );
    }
}

/// Starts the program as soon as it can be started; `None` when it is not wanted any more.
async fn restart(spec: &Spec, stop: &CancellationToken, restarts: &mut u32) -> Option<Running> {
    loop {
        *restarts += 1;
        let wait = RESTART.wait(*restarts);
        stop.run_until_cancelled(sleep(wait)).await?;
        match spec.spawn() {
            Ok(running) => return Some(running),
            Err(error) => {
                let restart_ms = RESTART.wait(*restarts + 1).as_millis();
                warn!(program = spec.name, %error, restart_ms, "cannot be started");
            }
        }
    }
}

#[cfg(test)]
mod tests;
