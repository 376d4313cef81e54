//! Sticky sessions: under which key a session is kept, which provider has it, and until when.

mod cache;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use cache::{Look, SessionCache};

/// Under this a session is kept. It does not say who the session is: an id of a session may be personal data. Half of a
/// SHA-256, because a tenant chooses its session ids, and no choice may hit the session of another tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey(String);

impl SessionKey {
    pub fn new(tenant_id: &str, policy_id: &str, session: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [tenant_id, policy_id, session] {
            // The length first: "a", "bc" is not "ab", "c".
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let half = hash
            .finalize()
            .iter()
            .take(16)
            .fold(0u128, |half, byte| half << 8 | u128::from(*byte));
        Self(format!("{half:032x}"))
    }

    /// A key that came back from a store. Nothing when no router wrote it.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// 32 lower-case hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
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

/// A provider that has a session until a point in time. It expires by its own mark, because the TTL is a policy's.
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

    /// A write for each request would be too dear: it is spared while more than 90 % of the time are left.
    pub fn is_renewal_due(&self, now_ms: u64, ttl: Duration) -> bool {
        self.expires_at_ms.saturating_sub(now_ms) <= millis(ttl) / 10 * 9
    }

    /// True when the session stays with this provider: the time is not up, and it is not the one that cannot be called.
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
