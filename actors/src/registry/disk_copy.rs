//! The last good snapshot on disk, from which a router starts while the store is away. The time of
//! the file is that of the last agreement with the store, so that a router that starts from it
//! knows how old it is.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::RegistrySettings;
use crate::disk;
use beamline_domain::snapshot::Content;

/// Writes the copy in the background, one writing at a time and never an older one after a newer.
#[derive(Debug)]
pub(super) struct DiskCopy {
    path: Option<PathBuf>,
    asked: u64,
    /// The writing that the file holds.
    written: Arc<Mutex<u64>>,
}

impl DiskCopy {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            asked: 0,
            written: Arc::default(),
        }
    }

    pub(super) fn keep(&mut self, content: Content) {
        let Some(path) = self.path.clone() else {
            return;
        };
        self.asked += 1;
        let number = self.asked;
        let written = Arc::clone(&self.written);
        tokio::task::spawn_blocking(move || {
            let mut written = written.lock();
            if *written < number {
                keep(&path, &content);
                *written = number;
            }
        });
    }

    /// The store has just said that the copy is its present revision.
    pub(super) fn confirm(&self) {
        let Some(path) = self.path.clone() else {
            return;
        };
        tokio::task::spawn_blocking(move || {
            let touched = File::options()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_modified(SystemTime::now()));
            if let Err(error) = touched {
                tracing::debug!(path = %path.display(), error = %error, "the snapshot on disk could not be confirmed");
            }
        });
    }
}

pub(super) fn keep(path: &Path, content: &Content) {
    let written = serde_json::to_vec(content)
        .map_err(io::Error::other)
        .and_then(|json| disk::replace(path, &json));
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), error = %error, "the snapshot could not be kept on disk");
    }
}

/// When the store last agreed with the copy; now if the clock has been set back since.
pub(super) fn last_agreed(settings: &RegistrySettings) -> Option<Instant> {
    let modified = fs::metadata(settings.disk_copy.as_ref()?)
        .and_then(|file| file.modified())
        .ok()?;
    let age = modified.elapsed().unwrap_or_default();
    let now = Instant::now();
    Some(now.checked_sub(age).unwrap_or(now))
}
