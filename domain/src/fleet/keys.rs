//! The keys that sign what replicas say to each other: two at most, so that no message is lost
//! while one takes the place of the other.

use std::cmp::Reverse;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A key as the store has it. Who has it speaks as any replica.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetKey {
    /// Random, so that the keys of another fleet have other names.
    pub id: String,
    /// One more than that of the key before it.
    pub number: u64,
    /// 32 random bytes in hexadecimal.
    pub secret: String,
    pub created_at: u64,
}

/// Without the secret: whoever writes a log writes no key into it.
impl fmt::Debug for FleetKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "FleetKey({} {})", self.number, self.id)
    }
}

/// The newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<FleetKey>")]
pub struct FleetKeys(Vec<FleetKey>);

/// The newest and the one before it.
const KEPT: usize = 2;
/// A key is replaced after so long, and holds for as long again.
const DAY: u64 = 24 * 3600 * 1000;
/// A key signs after this time: by then all replicas have read it.
const KNOWN_AFTER: u64 = 60_000;

impl From<Vec<FleetKey>> for FleetKeys {
    fn from(mut keys: Vec<FleetKey>) -> Self {
        keys.sort_by_key(|key| Reverse(key.number));
        keys.truncate(KEPT);
        Self(keys)
    }
}

impl FleetKeys {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &FleetKey> {
        self.0.iter()
    }

    /// The number of the newest.
    pub fn newest(&self) -> Option<u64> {
        self.0.first().map(|key| key.number)
    }

    /// The key to sign with: the newest, however old, because without a database there is no other.
    /// While it is so new that somebody may not have read it, the one before it.
    pub fn signing(&self, now: u64) -> Option<&FleetKey> {
        let newest = self.0.first()?;
        let is_known = now >= newest.created_at.saturating_add(KNOWN_AFTER);
        if is_known {
            Some(newest)
        } else {
            self.0.get(1).or(Some(newest))
        }
    }

    /// The key of this name, unless its time is over: that of the newest is not, and the one before
    /// it holds for a day more.
    pub fn valid(&self, id: &str, now: u64) -> Option<&FleetKey> {
        let newest = self.0.first()?;
        let before_holds = now < newest.created_at.saturating_add(DAY);
        let holding = if before_holds { KEPT } else { 1 };
        self.0.iter().take(holding).find(|key| key.id == id)
    }

    /// The number of the next key, when it is time to make it.
    pub fn due(&self, now: u64) -> Option<u64> {
        match self.0.first() {
            None => Some(1),
            Some(newest) if now >= newest.created_at.saturating_add(DAY) => Some(newest.number + 1),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600 * 1000;

    fn key(number: u64, created_at: u64) -> FleetKey {
        FleetKey {
            id: format!("k{number}"),
            number,
            secret: "the secret".to_owned(),
            created_at,
        }
    }

    fn number(key: Option<&FleetKey>) -> Option<u64> {
        key.map(|key| key.number)
    }

    #[test]
    fn the_first_key_signs_at_once_and_for_as_long_as_it_is_the_only_one() {
        assert_eq!(FleetKeys::default().signing(0), None);
        let keys = FleetKeys::from(vec![key(1, 1_000)]);
        for now in [0, 1_000, 1_000 + 400 * DAY] {
            assert_eq!(number(keys.signing(now)), Some(1));
            assert_eq!(number(keys.valid("k1", now)), Some(1));
        }
    }

    #[test]
    fn a_key_is_made_a_day_after_the_last() {
        assert_eq!(FleetKeys::default().due(0), Some(1));
        let keys = FleetKeys::from(vec![key(7, HOUR)]);
        assert_eq!(keys.due(HOUR + DAY - 1), None);
        assert_eq!(keys.due(HOUR + DAY), Some(8));
        // Somebody's clock is wrong: nobody makes a key for that.
        assert_eq!(keys.due(0), None);
    }

    #[test]
    fn a_new_key_signs_when_everybody_has_read_it() {
        let keys = FleetKeys::from(vec![key(1, 0), key(2, DAY)]);
        assert_eq!(number(keys.signing(DAY)), Some(1));
        assert_eq!(number(keys.signing(DAY + KNOWN_AFTER - 1)), Some(1));
        assert_eq!(number(keys.signing(DAY + KNOWN_AFTER)), Some(2));
    }

    #[test]
    fn the_key_before_holds_for_a_day_more_and_no_third_one_holds() {
        let keys = FleetKeys::from(vec![key(2, DAY), key(1, 0), key(3, 2 * DAY)]);
        assert_eq!(number(keys.valid("k3", 2 * DAY)), Some(3));
        assert_eq!(number(keys.valid("k2", 3 * DAY - 1)), Some(2));
        assert_eq!(number(keys.valid("k2", 3 * DAY)), None);
        assert_eq!(number(keys.valid("k1", 2 * DAY)), None);
        assert_eq!(number(keys.valid("", 2 * DAY)), None);
    }

    #[test]
    fn keys_come_back_from_disk_and_show_no_secret() {
        let keys = FleetKeys::from(vec![key(1, 0), key(2, DAY)]);
        let written = serde_json::to_string(&keys).expect("JSON");
        let read: FleetKeys = serde_json::from_str(&written).expect("keys");
        assert_eq!(read, keys);
        assert!(!format!("{read:?}").contains("the secret"), "{read:?}");
    }
}
