//! The wall clock as sessions need it: it keeps pace with the runtime's clock and never goes back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Milliseconds since 1970. A wall clock that is set back at run time would revive sessions.
#[derive(Debug)]
pub(super) struct Clock {
    begun: Instant,
    begun_at_ms: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { begun: Instant::now(), begun_at_ms: AtomicU64::new(wall_ms()) }
    }
}

impl Clock {
    pub(super) fn now_ms(&self) -> u64 {
        self.begun_at_ms.load(Ordering::Relaxed).saturating_add(self.elapsed_ms())
    }

    /// Follows a wall clock that was set forward, as after a machine has slept.
    pub(super) fn catch_up(&self) {
        self.begun_at_ms.fetch_max(wall_ms().saturating_sub(self.elapsed_ms()), Ordering::Relaxed);
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
