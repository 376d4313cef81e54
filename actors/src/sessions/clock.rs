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
        Self {
            begun: Instant::now(),
            begun_at_ms: AtomicU64::new(wall_ms()),
        }
    }
}

impl Clock {
    pub(super) fn now_ms(&self) -> u64 {
        self.begun_at_ms
            .load(Ordering::Relaxed)
            .saturating_add(self.elapsed_ms())
    }

    /// Follows a wall clock that was set forward, as after a machine has slept.
    pub(super) fn catch_up(&self) {
        self.begun_at_ms.fetch_max(
            wall_ms().saturating_sub(self.elapsed_ms()),
            Ordering::Relaxed,
        );
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    fn begun_at(ms: u64) -> Clock {
        Clock {
            begun: Instant::now(),
            begun_at_ms: AtomicU64::new(ms),
        }
    }

    #[test]
    fn it_follows_the_wall_clock_forward_only() {
        let now = wall_ms();
        let slow = begun_at(now - HOUR_MS);
        slow.catch_up();
        assert!(slow.now_ms() >= now);
        let fast = begun_at(now + HOUR_MS);
        fast.catch_up();
        assert!(fast.now_ms() >= now + HOUR_MS);
    }

    #[tokio::test(start_paused = true)]
    async fn it_keeps_pace_with_the_runtime() {
        let clock = Clock::default();
        let begun = clock.now_ms();
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        assert_eq!(clock.now_ms() - begun, 5_000);
    }
}
