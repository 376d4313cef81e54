//! Requests of one tenant over time, by the generic cell rate algorithm: one point in time for each
//! tenant says it all.

use std::num::NonZeroU32;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;

/// What each tenant may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub per_second: NonZeroU32,
    /// Requests that may come at once after a pause.
    pub burst: NonZeroU32,
}

#[derive(Debug)]
pub(super) struct Rates {
    /// Time that one request uses up.
    interval: Duration,
    /// How far ahead of the clock a tenant may be.
    tolerance: Duration,
    /// When each tenant will have used nothing; the past says the same as no entry.
    settled: LruCache<Arc<str>, Instant>,
}

/// More tenants than this at once, and those not heard of for the longest start anew.
const TENANTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

impl Rates {
    pub(super) fn new(rate: Rate) -> Self {
        let interval = Duration::from_secs(1) / rate.per_second.get();
        Self {
            interval,
            tolerance: interval * (rate.burst.get() - 1),
            settled: LruCache::new(TENANTS),
        }
    }

    /// Takes a request out of the tenant's allowance, or says how long until there is one.
    pub(super) fn take(&mut self, tenant: &Arc<str>, now: Instant) -> Result<(), Duration> {
        let settled = self.settled.get(tenant).copied().unwrap_or(now).max(now);
        let ahead = settled.saturating_duration_since(now);
        if ahead > self.tolerance {
            return Err(ahead - self.tolerance);
        }
        self.settled
            .put(Arc::clone(tenant), settled + self.interval);
        Ok(())
    }
}
