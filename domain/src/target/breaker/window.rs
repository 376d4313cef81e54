//! How the calls of the last seconds ended: one bucket for each second, in fixed memory.

use std::time::Instant;

use super::settings::MAX_WINDOW;

/// Calls of some seconds, and how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub calls: u32,
    pub failures: u32,
    pub slow: u32,
}

impl Counts {
    /// Percent, rounded down.
    pub fn percent(part: u32, whole: u32) -> u32 {
        let percent = u64::from(part) * 100 / u64::from(whole.max(1));
        u32::try_from(percent).unwrap_or(100)
    }

    /// These without those.
    pub(super) fn without(self, those: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(those.calls),
            failures: self.failures.saturating_sub(those.failures),
            slow: self.slow.saturating_sub(those.slow),
        }
    }

    fn add(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failures = self.failures.saturating_add(other.failures);
        self.slow = self.slow.saturating_add(other.slow);
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// The second that it is of, counted from the origin. A bucket of long ago is overwritten when
    /// its turn comes again.
    second: u32,
    counts: Counts,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    origin: Option<Instant>,
    /// The last second in which a call failed or was slow.
    bad: Option<u32>,
    buckets: [Bucket; MAX_WINDOW as usize],
}

impl Window {
    /// Adds one call.
    pub(super) fn add(&mut self, failure: bool, slow: bool, now: Instant) {
        self.origin.get_or_insert(now);
        let second = self.second(now);
        let Some(bucket) = self.buckets.get_mut((second % MAX_WINDOW) as usize) else {
            return;
        };
        if bucket.second != second {
            *bucket = Bucket {
                second,
                counts: Counts::default(),
            };
        }
        if failure || slow {
            self.bad = Some(second);
        }
        bucket.counts.add(Counts {
            calls: 1,
            failures: failure.into(),
            slow: slow.into(),
        });
    }

    /// True when no call that could still count failed or was slow: the usual case, and cheap to
    /// know.
    pub(super) fn is_clean(&self, now: Instant) -> bool {
        self.bad
            .is_none_or(|second| second + MAX_WINDOW <= self.second(now))
    }

    /// The calls of this second and those before it, `seconds` of them in all.
    pub(super) fn counts(&self, seconds: u32, now: Instant) -> Counts {
        let present = self.second(now);
        let mut sum = Counts::default();
        for bucket in self
            .buckets
            .iter()
            .filter(|bucket| bucket.second + seconds > present)
        {
            sum.add(bucket.counts);
        }
        sum
    }

    pub(super) fn clear(&mut self) {
        self.buckets = Default::default();
        self.bad = None;
    }

    pub(super) fn second(&self, now: Instant) -> u32 {
        let since = self
            .origin
            .map(|origin| now.saturating_duration_since(origin).as_secs());
        u32::try_from(since.unwrap_or_default()).unwrap_or(u32::MAX - MAX_WINDOW)
    }
}
