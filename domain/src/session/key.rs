//! Under which name a session is kept.

use sha2::{Digest, Sha256};

/// Under this a session is kept. It does not say who the session is: an id of a session may be
/// personal data. Half of a SHA-256, because a tenant chooses its session ids, and no choice may
/// hit the session of another tenant.
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
