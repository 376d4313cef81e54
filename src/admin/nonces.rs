//! Signed writes that this replica has taken lately. The store knows those of all replicas, but it
//! is asked at the end of a write and may be away.

use std::collections::HashMap;

use beamline_actors::ports::Nonce;
use parking_lot::Mutex;

/// Milliseconds after which no signature is taken any more, whatever two clocks say.
const FORGOTTEN_AFTER: u64 = 600_000;
/// Those that are old are looked for when there are so many.
const MANY: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Nonces {
    /// By key and nonce, when it was taken.
    taken: Mutex<HashMap<(String, String), u64>>,
}

impl Nonces {
    /// Whether it was not taken before.
    pub(super) fn take(&self, nonce: &Nonce) -> bool {
        let mut taken = self.taken.lock();
        if taken.len() >= MANY {
            let oldest = nonce.taken_at.saturating_sub(FORGOTTEN_AFTER);
            taken.retain(|_, at| *at >= oldest);
        }
        let own = (nonce.key_id.clone(), nonce.value.clone());
        taken.insert(own, nonce.taken_at).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_taken_once_for_each_key_and_forgotten_when_it_is_of_no_use() {
        let nonces = Nonces::default();
        assert!(nonces.take(&Nonce::new("a", "1", 0)));
        assert!(nonces.take(&Nonce::new("b", "1", 0)));
        assert!(!nonces.take(&Nonce::new("a", "1", 100)));
        for number in 0..MANY {
            assert!(nonces.take(&Nonce::new("a", &format!("n{number}"), 1_000)));
        }
        assert!(nonces.take(&Nonce::new("a", "late", 1_000 + FORGOTTEN_AFTER)));
        assert!(nonces.taken.lock().len() <= MANY + 1);
        assert!(!nonces.take(&Nonce::new("a", "n7", 1_000 + FORGOTTEN_AFTER)));
    }
}
