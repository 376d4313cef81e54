//! How many messages may still be read in the present second.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Allowance {
    a_second: u32,
    since: Instant,
    read: u32,
}

impl Allowance {
    pub(super) fn of(a_second: u32) -> Self {
        Self {
            a_second,
            since: Instant::now(),
            read: 0,
        }
    }

    pub(super) fn is_left(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            self.since = Instant::now();
            self.read = 0;
        }
        self.read = self.read.saturating_add(1);
        self.read <= self.a_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_read_in_part() {
        let mut allowance = Allowance::of(20);
        for _ in 0..3 {
            assert_eq!((0..1_000).filter(|_| allowance.is_left()).count(), 20);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
