//! Tenants, as far as a target tells them apart, and whether what happened lately was one tenant's
//! or more than one's.

use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64;

/// A tenant, as far as a target tells them apart: two of the same hash are one to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tenant(u64);

impl Tenant {
    /// Nobody in particular: has no trouble of its own.
    pub const NOBODY: Self = Self(0);

    pub fn of(tenant_id: &str) -> Self {
        Self(xxh3_64(tenant_id.as_bytes()))
    }
}

/// Tenants that called within this time count as calling.
pub(crate) const LATELY: Duration = Duration::from_secs(60);

/// Whether one tenant or more did something lately.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    last: Option<(Tenant, Instant)>,
    /// The last time that it was another one than the last.
    other: Option<Instant>,
}

impl Seen {
    pub(crate) fn saw(&mut self, tenant: Tenant, now: Instant) {
        if let Some((last, at)) = self.last
            && last != tenant
        {
            self.other = Some(at);
        }
        self.last = Some((tenant, now));
    }

    /// Whether there was more than one at all.
    pub(super) fn two(&self) -> bool {
        self.other.is_some()
    }

    /// Whether there was another one than the last within this time.
    pub(crate) fn several(&self, within: Duration, now: Instant) -> bool {
        self.other
            .is_some_and(|at| now.saturating_duration_since(at) < within)
    }
}
