//! One router at a time works in a state directory: two would overwrite what the other keeps.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::start_error::StartError;
use crate::own_files;

const FILE: &str = "router.lock";
/// One that was just killed, or has just said its last word, holds it a moment longer.
const LIMIT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(50);

/// Held until it is dropped. The operating system ends it with the process, however that ends, so
/// that a file which was left behind locks nobody out.
#[derive(Debug)]
pub(super) struct StateLock {
    _file: Option<File>,
}

impl StateLock {
    pub(super) async fn take(directory: &Path) -> Result<Self, StartError> {
        let path = directory.join(FILE);
        let mut file = match own_files::open_or_create(&path) {
            Ok(file) => file,
            Err(error) => return Ok(Self::without(&path, &error)),
        };
        let give_up = Instant::now() + LIMIT;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Ok(Self::without(&path, &error)),
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => sleep(POLL).await,
                Err(TryLockError::WouldBlock) => return Err(taken(directory, &mut file)),
            }
        }
        // Only for people who ask whose it is.
        let said = file
            .set_len(0)
            .and_then(|()| write!(file, "{}", std::process::id()));
        if let Err(error) = said {
            tracing::debug!(%error, "router.lock does not say whose it is");
        }
        Ok(Self { _file: Some(file) })
    }

    /// Some file systems know no locks, and some directories may only be read: no reason not to
    /// run.
    fn without(path: &Path, error: &std::io::Error) -> Self {
        tracing::warn!(path = %path.display(), %error, "the state directory cannot be locked: see to it that no other router works in it");
        Self { _file: None }
    }
}

fn taken(directory: &Path, file: &mut File) -> StartError {
    let mut process = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(20).read_to_string(&mut process));
    let known = read.is_ok() && !process.is_empty() && process.bytes().all(|b| b.is_ascii_digit());
    let who = if known {
        format!(" (process {process})")
    } else {
        String::new()
    };
    StartError::Failed(format!(
        "Another router{who} works in {}. Give each its own router.state_dir, or stop that one first.",
        directory.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_has_one_router_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        // As a killed process leaves it.
        std::fs::write(directory.path().join(FILE), "4711").unwrap();
        let first = StateLock::take(directory.path()).await.unwrap();
        let error = StateLock::take(directory.path()).await.unwrap_err();
        let sentence = error.to_string();
        let process = format!("(process {})", std::process::id());
        assert!(sentence.contains(&process), "{sentence}");
        assert!(sentence.contains("router.state_dir"), "{sentence}");
        drop(first);
        StateLock::take(directory.path()).await.unwrap();
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_locked_is_used_all_the_same() {
        StateLock::take(Path::new("/proc/self")).await.unwrap();
    }
}
