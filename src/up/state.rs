//! The state directory: one `up` at a time works in it, and other commands find the running router
//! through it.

use std::fmt::Display;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::ServerAddr;
use beamline_actors::disk;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::earlier;
use super::error::UpError;
use crate::own_files::{self, OTHERS_WRITE, Refusal};

/// Where `up` keeps everything unless told otherwise, and where other commands look for it.
pub const DEFAULT: &str = ".beamline";
const ANNOUNCEMENT: &str = "up.json";
const NATS_PORT: &str = "nats.port";
/// Whoever only asks whether `up` runs holds the lock for a moment.
const LOCK_LIMIT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);
/// More is no announcement.
const LONGEST: u64 = 16 * 1024;
/// Folders below that of a program's data, at most.
const DEPTH: usize = 8;
const DATABASE: &str = "registry.db";
const DATABASE_FILES: [&str; 4] = [
    DATABASE,
    "registry.db-wal",
    "registry.db-shm",
    "registry.db-journal",
];
/// Releases before made these as the umask had it.
const FILES: [&str; 5] = [
    ANNOUNCEMENT,
    NATS_PORT,
    "registry-snapshot.json",
    "open-breakers.json",
    "router.lock",
];

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
    /// Makes the directory unless it exists, closes it to others, and locks it.
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
        format!("sqlite://{}", self.path.join(DATABASE).display())
    }

    /// The port of NATS in earlier runs: whatever was pointed at it comes back by itself.
    pub(super) fn nats_port(&self) -> Option<u16> {
        let port = fs::read_to_string(self.path.join(NATS_PORT)).ok()?;
        port.trim().parse().ok().filter(|port| *port != 0)
    }

    /// Without this the next run has another port, which is no reason not to run.
    pub(super) fn keep_nats_port(&self, port: u16) {
        let line = format!("{port}\n");
        if let Err(error) = disk::replace(&self.path.join(NATS_PORT), line.as_bytes()) {
            tracing::warn!(%error, "nats.port cannot be written: the next run has another port");
        }
    }

    /// Lets other commands find this router.
    pub fn announce(&self, running: &Running) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(running)?;
        disk::replace(&self.path.join(ANNOUNCEMENT), &json)
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

/// What runs in a directory.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Running(Running),
    /// Something says that it runs, and is not believed; a sentence for people.
    Ignored(String),
}

/// Looks for what runs in a directory. An announcement that outlived its process counts for
/// nothing, and one that somebody else may have written is not followed: whoever stands in a folder
/// of others would send them what it asks.
pub fn find_in(directory: &Path) -> Found {
    let place = announcement_in(directory);
    if !is_locked(directory) || place.symlink_metadata().is_err() {
        return Found::Nothing;
    }
    let ignored = |what: &Path, why: &dyn Display| {
        Found::Ignored(format!(
            "{} is not followed: {why}. Start `up` in a folder of your own, or name a server with --nats-url.",
            what.display()
        ))
    };
    let trusted = own_files::open_folder(directory)
        .and_then(|folder| own_files::check(&folder.metadata()?, OTHERS_WRITE));
    if let Err(refusal) = trusted {
        return ignored(directory, &refusal);
    }
    match announced(directory) {
        Ok(None) => Found::Nothing,
        Ok(Some(running)) if !is_loopback(&running.nats_url) => {
            ignored(&place, &"it names a server that is not on this machine")
        }
        Ok(Some(running)) => Found::Running(running),
        Err(refusal) => ignored(&place, &refusal),
    }
}

/// The announcement of [`find_in`], for people who ask where a value comes from.
pub fn announcement_in(directory: &Path) -> PathBuf {
    directory.join(ANNOUNCEMENT)
}

/// Makes the directory, and answers its absolute path with a handle to lock. Closes what an earlier
/// release has left open.
fn make(path: &Path) -> Result<(PathBuf, File), Refusal> {
    let directory = own_files::own_folder(path, is_a_state_directory)?;
    let path = path.canonicalize()?;
    for name in ["logs", super::nats::FOLDER] {
        own_files::own_folder(&path.join(name), |_| true)?;
        own_files::close_files_in(&path.join(name), DEPTH)?;
    }
    for name in FILES {
        own_files::close_file(&path.join(name))?;
    }
    for name in DATABASE_FILES {
        // What SQLite opens, it opens at the end of every link.
        if path.join(name).is_symlink() {
            return Err(Refusal::Link);
        }
        own_files::close_file(&path.join(name))?;
    }
    Ok((path, directory))
}

/// Somebody may name a folder that holds other things as well, such as their home: that is not ours
/// to close.
fn is_a_state_directory(path: &Path) -> bool {
    let is_default = path.file_name().is_some_and(|name| name == DEFAULT);
    let is_empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    is_default || is_empty || path.join(DATABASE).is_file()
}

fn unusable(path: &Path, error: &dyn Display) -> UpError {
    UpError(format!(
        "the state directory {} cannot be used: {error}. Name another one with --state-dir.",
        path.display()
    ))
}

fn taken(path: &Path) -> UpError {
    let who = match announced(path) {
        Ok(Some(running)) => format!(
            " (process {}, NATS at {}, HTTP at http://{})",
            running.pid, running.nats_url, running.http
        ),
        Ok(None) | Err(_) => String::new(),
    };
    UpError(format!(
        "`up` is running already in {}{who}. Use that one, stop it with Ctrl-C, or start another \
         with --state-dir.",
        path.display()
    ))
}

fn is_locked(directory: &Path) -> bool {
    let is_folder = directory.is_dir();
    let opened = is_folder.then(|| File::open(directory).ok()).flatten();
    opened.is_some_and(|folder| {
        let lock = folder.try_lock_shared();
        matches!(lock, Err(TryLockError::WouldBlock))
    })
}

fn announced(directory: &Path) -> Result<Option<Running>, Refusal> {
    let place = announcement_in(directory);
    let Some(file) = own_files::open_file(&place, OTHERS_WRITE)? else {
        return Ok(None);
    };
    let mut json = Vec::new();
    file.take(LONGEST).read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json).ok())
}

/// An address of this machine, as `up` writes it. A name could lead elsewhere.
fn is_loopback(url: &str) -> bool {
    let address = url.parse::<ServerAddr>();
    let host = address.as_ref().ok().map(|address| address.host());
    let host = host.map(|host| host.trim_matches(['[', ']']));
    host.and_then(|host| host.parse::<std::net::IpAddr>().ok())
        .is_some_and(|host| host.is_loopback())
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
        assert_eq!(find_in(&path), Found::Nothing);
        let state = StateDir::open(&path).await.expect("a state directory");
        assert_eq!(find_in(&path), Found::Nothing, "nothing is announced yet");
        state.announce(&running()).expect("written");
        assert_eq!(find_in(&path), Found::Running(running()));
        drop(state);
        assert_eq!(
            find_in(&path),
            Found::Nothing,
            "the announcement is there, but its process is not"
        );
        let state = StateDir::open(&path).await.expect("the lock is free");
        state.withdraw();
        state.withdraw();
        assert!(!announcement_in(&path).exists());
    }

    #[tokio::test]
    async fn a_folder_that_holds_other_things_is_not_closed() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().expect("a directory");
        let other = directory.path().join("other");
        fs::write(&other, "").expect("written");
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        let mode =
            |path: &Path| fs::metadata(path).map(|found| found.permissions().mode() & 0o7777);
        set(&other, 0o644).expect("ours");
        for open in [0o755, 0o1777] {
            set(directory.path(), open).expect("ours");
            let refused = StateDir::open(directory.path()).await.expect_err("open");
            assert!(refused.to_string().contains("its mode is"), "{refused}");
            assert_eq!(mode(directory.path()).expect("there"), open);
        }
        // As /tmp is, even where an earlier release worked in it.
        fs::write(directory.path().join(DATABASE), "").expect("written");
        StateDir::open(directory.path()).await.expect_err("open");
        set(directory.path(), 0o755).expect("ours");
        StateDir::open(directory.path())
            .await
            .expect("known, so closed");
        assert_eq!(mode(directory.path()).expect("there"), 0o700);
        assert_eq!(mode(&other).expect("there"), 0o644, "not ours");
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
