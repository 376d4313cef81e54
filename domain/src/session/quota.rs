//! How many sessions one tenant may begin, so that it does not fill the memory of all sessions.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::target::Tenant;

/// The generic cell rate algorithm, by the time that sessions are kept: half of the quota may begin
/// at once, and the other half while those are kept, so that no more are ever alive.
#[derive(Debug)]
pub struct SessionQuota {
    most: u32,
    /// When each tenant will have used nothing.
    settled: LruCache<Tenant, Instant>,
}

/// More tenants than this at once, and those not heard of for the longest start anew.
const TENANTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

impl SessionQuota {
    /// So many sessions of each tenant.
    pub fn new(most: u32) -> Self {
        Self {
            most,
            settled: LruCache::new(TENANTS),
        }
    }

    /// Takes a new session that is kept for `ttl` out of what its tenant may have, or says how long
    /// until there is room for one.
    pub fn begin(&mut self, tenant: Tenant, ttl: Duration, now: Instant) -> Result<(), Duration> {
        let half = (self.most / 2).max(1);
        let interval = ttl / half;
        let tolerance = interval * (half - 1);
        let settled = self.settled.get(&tenant).copied().unwrap_or(now).max(now);
        let ahead = settled.saturating_duration_since(now);
        if ahead > tolerance {
            return Err(ahead - tolerance);
        }
        self.settled.put(tenant, settled + interval);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_no_more_sessions_alive_than_its_quota_and_leaves_others_theirs() {
        const TTL: Duration = Duration::from_secs(600);
        let start = Instant::now();
        let mut quota = SessionQuota::new(10);
        let flood = Tenant::of("flood");
        let mut begun = Vec::new();
        for second in 0..1_800 {
            let now = start + Duration::from_secs(second);
            while quota.begin(flood, TTL, now).is_ok() {
                begun.push(now);
            }
            let alive = begun.iter().filter(|at| now.duration_since(**at) < TTL);
            assert!(alive.count() <= 10, "after {second} s");
            if second % 120 == 0 {
                assert_eq!(quota.begin(Tenant::of("other"), TTL, now), Ok(()));
            }
        }
        // Five at once, and one every two minutes.
        assert_eq!(begun.len(), 5 + 14);
        let wait = quota.begin(flood, TTL, start + Duration::from_secs(1_799));
        assert_eq!(wait, Err(Duration::from_secs(1)));
    }
}
