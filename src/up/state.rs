//! The state directory: one `up` at a time works in it, and other commands find the running router
//! through it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::earlier;
use super::error::UpError;

/// Where `up` keeps everything unless told otherwise, and where other commands look for it.
pub const DEFAULT: &str = ".beamline";
const ANNOUNCEMENT: &str = "up.json";
const NATS_PORT: &str = "nats.port";
/// Whoever only asks whether `up` runs holds the lock for a moment.
const LOCK_LIMIT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);

/// The directory, locked for this process. The operating system ends the lock with the process,
/// however that ends.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

/// What a running `up` tells others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub nats_url: String,
    pub subject_prefix: String,
    pub http: SocketAddr,
    pub pid: u32,
}

impl StateDir {
    /// Makes the directory unless it exists, and locks it.
    pub async fn open(path: &Path) -> Result<Self, UpError> {
        let (path, directory) = make(path).map_err(|error| unusable(path, &error))?;
        let give_up = Instant::now() + LOCK_LIMIT;
        loop {
            match directory.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(unusable(&path, &error)),
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => sleep(POLL).await,
                Err(TryLockError::WouldBlock) => return Err(taken(&path)),
            }
        }
        earlier::put_away(&path.join("logs")).map_err(|error| unusable(&path, &error))?;
        Ok(Self {
            path,
            _lock: directory,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log of one of the programs.
    pub fn log_file(&self, program: &str) -> PathBuf {
        self.path.join("logs").join(format!("{program}.log"))
    }

    /// The address of the embedded database.
    pub fn database_url(&self) -> String {
        format!("sqlite://{}", self.path.join("registry.db").display())
    }

    /// The port of NATS in earlier runs: whatever was pointed at it comes back by itself.
    pub(super) fn nats_port(&self) -> Option<u16> {
        let port = fs::read_to_string(self.path.join(NATS_PORT)).ok()?;
        port.trim().parse().ok().filter(|port| *port != 0)
    }

    /// Without this the next run has another port, which is no reason not to run.
    pub(super) fn keep_nats_port(&self, port: u16) {
        if let Err(error) = fs::write(self.path.join(NATS_PORT), format!("{port}\n")) {
            tracing::warn!(%error, "nats.port cannot be written: the next run has another port");
        }
    }

    /// Lets other commands find this router.
    pub fn announce(&self, running: &Running) -> io::Result<()> {
        let unfinished = self.path.join(format!("{ANNOUNCEMENT}.new"));
        fs::write(&unfinished, serde_json::to_string_pretty(running)?)?;
        fs::rename(unfinished, self.path.join(ANNOUNCEMENT))
    }

    /// Nobody shall come any more.
    pub fn withdraw(&self) {
        if let Err(error) = fs::remove_file(self.path.join(ANNOUNCEMENT))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "up.json cannot be removed");
        }
    }
}

/// What runs in this directory, if something does. An announcement that outlived its process counts
/// for nothing.
pub fn running_in(directory: &Path) -> Option<Running> {
    let lock = File::open(directory).ok()?;
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => announced(directory),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

/// The announcement of [`running_in`], for people who ask where a value comes from.
pub fn announcement_in(directory: &Path) -> PathBuf {
    directory.join(ANNOUNCEMENT)
}

/// Makes the directory, and answers its absolute path with a handle to lock.
fn make(path: &Path) -> io::Result<(PathBuf, File)> {
    fs::create_dir_all(path.join("logs"))?;
    let path = path.canonicalize()?;
    let directory = File::open(&path)?;
    Ok((path, directory))
}

fn unusable(path: &Path, error: &io::Error) -> UpError {
    UpError(format!(
        "the state directory {} cannot be used: {error}. Name another one with --state-dir.",
        path.display()
    ))
}

fn taken(path: &Path) -> UpError {
    let who = match announced(path) {
        Some(running) => format!(
            " (process {}, NATS at {}, HTTP at http://{})",
            running.pid, running.nats_url, running.http
        ),
        None => String::new(),
    };
    UpError(format!(
        "`up` is running already in {}{who}. Use that one, stop it with Ctrl-C, or start another \
         with --state-dir.",
        path.display()
    ))
}

fn announced(directory: &Path) -> Option<Running> {
    let json = fs::read(directory.join(ANNOUNCEMENT)).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Running {
        Running {
            nats_url: "nats://127.0.0.1:4222".to_owned(),
            subject_prefix: "beamline".to_owned(),
            http: ([127, 0, 0, 1], 8080).into(),
            pid: 7,
        }
    }

    #[tokio::test]
    async fn others_find_what_runs_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state");
        assert_eq!(running_in(&path), None);
        let state = StateDir::open(&path).await.expect("a state directory");
        assert_eq!(running_in(&path), None, "nothing is announced yet");
        state.announce(&running()).expect("written");
        assert_eq!(running_in(&path), Some(running()));
        drop(state);
        assert_eq!(
            running_in(&path),
            None,
            "the announcement is there, but its process is not"
        );
        let state = StateDir::open(&path).await.expect("the lock is free");
        state.withdraw();
        state.withdraw();
        assert!(!announcement_in(&path).exists());
    }

    #[tokio::test]
    async fn a_second_one_is_told_about_the_first() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = StateDir::open(directory.path())
            .await
            .expect("a state directory");
        first.announce(&running()).expect("written");
        let refused = StateDir::open(directory.path())
            .await
            .expect_err("locked")
            .to_string();
        assert!(
            refused.contains("running already") && refused.contains("process 7"),
            "{refused}"
        );
    }
}
