//! Which provider has a session, and until when.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A provider that has a session until a point in time. It expires by its own mark, because the TTL
/// is a policy's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    pub provider: String,
    /// Milliseconds since 1970 by the wall clock, which replicas share.
    pub expires_at_ms: u64,
}

impl Pin {
    pub fn new(provider: &str, now_ms: u64, ttl: Duration) -> Self {
        Self {
            provider: provider.to_owned(),
            expires_at_ms: now_ms.saturating_add(millis(ttl)),
        }
    }

    /// What stands for a deleted or unreadable entry: the next pin overwrites it.
    pub fn dead() -> Self {
        Self {
            provider: String::new(),
            expires_at_ms: 0,
        }
    }

    pub fn is_live(&self, now_ms: u64) -> bool {
        now_ms < self.expires_at_ms
    }

    /// A write for each request would be too dear: it is spared while more than 90 % of the time
    /// are left.
    pub fn is_renewal_due(&self, now_ms: u64, ttl: Duration) -> bool {
        self.expires_at_ms.saturating_sub(now_ms) <= millis(ttl) / 10 * 9
    }

    /// True when the session stays with this provider: the time is not up, and it is not the one
    /// that cannot be called.
    pub fn keeps(&self, instead_of: Option<&str>, now_ms: u64) -> bool {
        self.is_live(now_ms) && instead_of != Some(&self.provider)
    }
}

/// A pin as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub pin: Pin,
    /// Higher with every write of this key.
    pub revision: u64,
}

/// Which provider has a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    pub provider: Option<String>,
    /// False: only this replica's memory was asked, because the store of sessions does not answer.
    pub shared: bool,
}

/// Who has a session after it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Not always the one that was asked for: another request or replica may have been first.
    pub provider: String,
    /// False: other replicas do not know of it, because the store of sessions does not answer.
    pub shared: bool,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
