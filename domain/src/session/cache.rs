//! This replica's memory of sessions: what it may answer by itself, and what it must ask the store.

use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use super::key::SessionKey;
use super::pin::{Pin, Stored};

/// Sessions by key, the longest unused are forgotten first.
///
/// While the store's changes are followed, what was read or written since then is current. When
/// they are lost, everything becomes doubtful at once, and stays as an answer for the time without
/// a store.
#[derive(Debug)]
pub struct SessionCache {
    entries: LruCache<SessionKey, Entry>,
    capacity: NonZeroUsize,
    sharing: bool,
    /// Counts the times in which changes were followed or not: an entry of an earlier one is
    /// doubtful.
    epoch: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    pin: Pin,
    /// Of the write that this was read from or made by. `None`: the store has never heard of it.
    revision: Option<u64>,
    epoch: u64,
}

const DOUBTFUL: u64 = 0;

/// What the cache says about a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    Known {
        provider: String,
        renewal_due: bool,
    },
    /// The store must be asked.
    Ask,
    /// There is no store to ask: this is all that is known.
    Alone(Option<String>),
}

impl SessionCache {
    /// Without a store, until [`Self::share`].
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self {
            entries: LruCache::unbounded(),
            capacity,
            sharing: false,
            epoch: DOUBTFUL + 1,
        }
    }

    /// The store's changes are followed from now on.
    pub fn share(&mut self) {
        self.sharing = true;
        self.epoch += 1;
    }

    /// The store's changes are lost.
    pub fn unshare(&mut self) {
        self.sharing = false;
        self.epoch += 1;
    }

    /// To be taken before the store is asked, and given to [`Self::insert`] with its answer.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn look(&mut self, key: &SessionKey, now_ms: u64, ttl: Duration) -> Look {
        if !self.sharing {
            return Look::Alone(self.recall_alone(key, now_ms, ttl));
        }
        match self.entries.get(key) {
            Some(entry) if entry.epoch == self.epoch && entry.pin.is_live(now_ms) => Look::Known {
                provider: entry.pin.provider.clone(),
                renewal_due: entry.revision.is_some() && entry.pin.is_renewal_due(now_ms, ttl),
            },
            Some(_) | None => Look::Ask,
        }
    }

    /// What this replica remembers by itself. It renews the session, as a request with a store
    /// would.
    pub fn recall_alone(&mut self, key: &SessionKey, now_ms: u64, ttl: Duration) -> Option<String> {
        let entry = self
            .entries
            .get_mut(key)
            .filter(|entry| entry.pin.is_live(now_ms))?;
        let renewed = Pin::new(&entry.pin.provider, now_ms, ttl);
        entry.pin.expires_at_ms = entry.pin.expires_at_ms.max(renewed.expires_at_ms);
        entry.epoch = DOUBTFUL;
        Some(entry.pin.provider.clone())
    }

    /// Pins without a store, and answers who has the session.
    pub fn pin_alone(
        &mut self,
        key: &SessionKey,
        pin: Pin,
        instead_of: Option<&str>,
        now_ms: u64,
    ) -> String {
        let known = self.entries.get(key);
        if let Some(entry) = known.filter(|entry| entry.pin.keeps(instead_of, now_ms)) {
            return entry.pin.provider.clone();
        }
        let provider = pin.provider.clone();
        let revision = known.and_then(|entry| entry.revision);
        self.put(
            key,
            Entry {
                pin,
                revision,
                epoch: DOUBTFUL,
            },
        );
        provider
    }

    /// What is remembered of a session, current or not, and without an effect on what is forgotten
    /// first.
    pub fn peek(&self, key: &SessionKey) -> Option<(&Pin, Option<u64>)> {
        self.entries
            .peek(key)
            .map(|entry| (&entry.pin, entry.revision))
    }

    /// Takes what the store has answered to a question of the given epoch.
    pub fn insert(&mut self, key: &SessionKey, stored: Stored, epoch: u64) {
        let Stored { pin, revision } = stored;
        let newer = |known: &Entry| {
            known.epoch > epoch || (known.epoch == epoch && known.revision > Some(revision))
        };
        if !self.entries.peek(key).is_some_and(newer) {
            self.put(
                key,
                Entry {
                    pin,
                    revision: Some(revision),
                    epoch,
                },
            );
        }
    }

    /// Takes a change that somebody made in the store. Also of sessions that nobody has asked for
    /// here: the next request of the session may come to any replica.
    pub fn follow(&mut self, key: &SessionKey, stored: Stored) {
        let revision = Some(stored.revision);
        let known = |entry: &Entry| entry.epoch == self.epoch && entry.revision >= revision;
        if !self.entries.peek(key).is_some_and(known) {
            self.insert(key, stored, self.epoch);
        }
    }

    /// Renews a session that is due, here at once, and answers what is to be written over which
    /// revision. Nothing when another request has done so.
    pub fn renew(&mut self, key: &SessionKey, now_ms: u64, ttl: Duration) -> Option<Stored> {
        let sharing = self.sharing;
        let epoch = self.epoch;
        let entry = self
            .entries
            .peek_mut(key)
            .filter(|entry| sharing && entry.epoch == epoch)?;
        let revision = entry
            .revision
            .filter(|_| entry.pin.is_renewal_due(now_ms, ttl))?;
        entry.pin = Pin::new(&entry.pin.provider, now_ms, ttl);
        Some(Stored {
            pin: entry.pin.clone(),
            revision,
        })
    }

    /// Somebody else has written over this revision: the next request asks.
    pub fn doubt(&mut self, key: &SessionKey, revision: u64) {
        if let Some(entry) = self
            .entries
            .peek_mut(key)
            .filter(|entry| entry.revision == Some(revision))
        {
            entry.epoch = DOUBTFUL;
        }
    }

    fn put(&mut self, key: &SessionKey, entry: Entry) {
        self.entries.put(key.clone(), entry);
        if self.entries.len() > self.capacity.get() {
            self.entries.pop_lru();
        }
    }
}
