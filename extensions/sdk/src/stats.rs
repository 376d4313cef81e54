//! Counters of one extension process, for `$SRV.STATS` and for the last log line.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Stats {
    requests: AtomicU64,
    errors: AtomicU64,
    expired: AtomicU64,
    overloaded: AtomicU64,
    busy_nanos: AtomicU64,
    last_error: Mutex<String>,
}

/// What an extension has done since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls that were executed, whatever came of them.
    pub requests: u64,
    /// Executed calls that failed.
    pub errors: u64,
    /// Calls dropped because their deadline had passed.
    pub expired: u64,
    /// Calls refused because all places were taken.
    pub overloaded: u64,
    pub busy: Duration,
    pub last_error: String,
}

impl Counts {
    /// Of two extensions together; the last error is that of either.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            errors: self.errors + other.errors,
            expired: self.expired + other.expired,
            overloaded: self.overloaded + other.overloaded,
            busy: self.busy + other.busy,
            last_error: if other.last_error.is_empty() {
                self.last_error
            } else {
                other.last_error
            },
        }
    }
}

impl Stats {
    pub(crate) fn executed(&self, took: Duration) {
        self.requests.fetch_add(1, Relaxed);
        self.busy_nanos
            .fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn failed(&self, error: String) {
        self.errors.fetch_add(1, Relaxed);
        *self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = error;
    }

    pub(crate) fn expired(&self) {
        self.expired.fetch_add(1, Relaxed);
    }

    pub(crate) fn overloaded(&self) {
        self.overloaded.fetch_add(1, Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            requests: self.requests.load(Relaxed),
            errors: self.errors.load(Relaxed),
            expired: self.expired.load(Relaxed),
            overloaded: self.overloaded.load(Relaxed),
            busy: Duration::from_nanos(self.busy_nanos.load(Relaxed)),
            last_error: self
                .last_error
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }
}
