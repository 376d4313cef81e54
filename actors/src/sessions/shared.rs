//! What the clones of `Sessions` share: the memory of this replica, and how it is brought in line
//! with the store.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::clock::Clock;
use crate::ports::{SessionStore, SessionStoreError};
use crate::tree::OnDrop;
use beamline_domain::session::{Pin, SessionCache, SessionKey, SessionQuota, Stored};

/// A request waits no longer for the store than this.
pub(super) const LIMIT: Duration = Duration::from_millis(250);
/// A renewal holds nobody up.
pub(super) const RENEWAL_LIMIT: Duration = Duration::from_secs(2);
/// How often somebody else may be first in one call.
const ROUNDS: usize = 3;

/// What all clones of [`Sessions`](super::Sessions) share.
pub(super) struct SharedSessions {
    pub(super) store: Arc<dyn SessionStore>,
    pub(super) cache: Mutex<SessionCache>,
    pub(super) quota: Mutex<SessionQuota>,
    pub(super) clock: Clock,
    pub(super) renewals: Arc<Semaphore>,
    pub(super) sharing: watch::Sender<Sharing>,
}

/// Whether the sessions of this replica are those of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// The store was not opened yet.
    Unknown,
    On,
    Off,
}

impl SharedSessions {
    /// What the store says within the limit. Nothing when it does not.
    pub(super) async fn limited<T>(
        &self,
        answer: impl Future<Output = Result<T, SessionStoreError>>,
    ) -> Option<T> {
        let epoch = self.cache.lock().epoch();
        match timeout(LIMIT, answer).await {
            Ok(Ok(answer)) => Some(answer),
            // So many writers of one session at once: this request goes without, the store is well.
            Ok(Err(SessionStoreError::Conflict)) => None,
            Ok(Err(SessionStoreError::Away(reason))) => {
                self.lose(epoch, &reason);
                None
            }
            Err(_elapsed) => {
                self.lose(
                    epoch,
                    &format!(
                        "the store of sessions did not answer within {} ms",
                        LIMIT.as_millis()
                    ),
                );
                None
            }
        }
    }

    pub(super) async fn ask(
        self: &Arc<Self>,
        key: &SessionKey,
        ttl: Duration,
    ) -> Result<Option<String>, SessionStoreError> {
        for _ in 0..ROUNDS {
            let epoch = self.cache.lock().epoch();
            let stored = self.store.get(key).await?;
            let now_ms = self.clock.now_ms();
            let over = stored.as_ref().map(|stored| stored.revision);
            let live = stored
                .as_ref()
                .map(|stored| &stored.pin)
                .filter(|pin| pin.is_live(now_ms))
                .cloned();
            let own = self.remembered(key).filter(|pin| pin.is_live(now_ms));
            if let (Some(stored), true) = (stored, live.is_some() || own.is_none()) {
                self.cache.lock().insert(key, stored, epoch);
            }
            if let Some(pin) = live {
                self.renew_if(pin.is_renewal_due(now_ms, ttl), key, ttl);
                return Ok(Some(pin.provider));
            }
            // Pinned or renewed while the store was away: this is the next use.
            let Some(own) = own else { return Ok(None) };
            match self
                .write(key, Pin::new(&own.provider, now_ms, ttl), over, epoch)
                .await
            {
                Ok(()) => return Ok(Some(own.provider)),
                Err(SessionStoreError::Conflict) => {}
                Err(away) => return Err(away),
            }
        }
        Err(SessionStoreError::Conflict)
    }

    /// Who has the session, after a write if it must be.
    pub(super) async fn agree(
        &self,
        key: &SessionKey,
        provider: &str,
        ttl: Duration,
        instead_of: Option<&str>,
    ) -> Result<String, SessionStoreError> {
        let remembered = self
            .cache
            .lock()
            .peek(key)
            .map(|(pin, revision)| (pin.clone(), revision));
        let (own, mut over) = remembered.unzip();
        let own = own.filter(|pin| pin.keeps(instead_of, self.clock.now_ms()));
        // Pinned while the store was away: unless somebody else has the session by now, it is this
        // one's.
        let wanted = own.as_ref().map_or(provider, |pin| &pin.provider);
        for round in 0..=ROUNDS {
            let epoch = self.cache.lock().epoch();
            // A write over the revision that is remembered proves that nothing has changed since.
            if round > 0 || own.is_some() {
                let stored = self.store.get(key).await?;
                over = Some(stored.as_ref().map(|stored| stored.revision));
                if let Some(stored) =
                    stored.filter(|stored| stored.pin.keeps(instead_of, self.clock.now_ms()))
                {
                    let provider = stored.pin.provider.clone();
                    self.cache.lock().insert(key, stored, epoch);
                    return Ok(provider);
                }
            }
            match self
                .write(
                    key,
                    Pin::new(wanted, self.clock.now_ms(), ttl),
                    over.flatten(),
                    epoch,
                )
                .await
            {
                Ok(()) => return Ok(wanted.to_owned()),
                Err(SessionStoreError::Conflict) => {}
                Err(away) => return Err(away),
            }
        }
        Err(SessionStoreError::Conflict)
    }

    pub(super) fn remembered(&self, key: &SessionKey) -> Option<Pin> {
        self.cache.lock().peek(key).map(|(pin, _)| pin.clone())
    }

    async fn write(
        &self,
        key: &SessionKey,
        pin: Pin,
        over: Option<u64>,
        epoch: u64,
    ) -> Result<(), SessionStoreError> {
        let revision = self.store.put(key, &pin, over).await?;
        self.cache
            .lock()
            .insert(key, Stored { pin, revision }, epoch);
        Ok(())
    }

    /// Renews in the background.
    pub(super) fn renew_if(self: &Arc<Self>, due: bool, key: &SessionKey, ttl: Duration) {
        if !due {
            return;
        }
        let Ok(place) = Arc::clone(&self.renewals).try_acquire_owned() else {
            return;
        };
        let (epoch, renewal) = {
            let mut cache = self.cache.lock();
            (cache.epoch(), cache.renew(key, self.clock.now_ms(), ttl))
        };
        let Some(Stored { pin, revision }) = renewal else {
            return;
        };
        let shared = Arc::clone(self);
        let key = key.clone();
        tokio::spawn(async move {
            shared.write_renewal(&key, pin, revision, epoch).await;
            drop(place);
        });
    }

    async fn write_renewal(&self, key: &SessionKey, pin: Pin, revision: u64, epoch: u64) {
        // Also after a panic: what the store has is not known then.
        let unknown = OnDrop::new(|| self.cache.lock().doubt(key, revision));
        let written = timeout(RENEWAL_LIMIT, self.write(key, pin, Some(revision), epoch)).await;
        match written {
            // Somebody else wrote it meanwhile.
            Ok(Err(SessionStoreError::Conflict)) => return,
            Ok(Ok(())) => {}
            Ok(Err(SessionStoreError::Away(reason))) => self.lose(epoch, &reason),
            Err(_elapsed) => {
                let reason = format!(
                    "the store of sessions took nothing within {} s",
                    RENEWAL_LIMIT.as_secs()
                );
                self.lose(epoch, &reason);
            }
        }
        unknown.disarm();
    }

    /// Answers the epoch that begins.
    pub(super) fn gain(&self) -> u64 {
        self.clock.catch_up();
        let mut cache = self.cache.lock();
        cache.share();
        match self.sharing.send_replace(Sharing::On) {
            Sharing::Off => info!(
                recovered = true,
                "sticky sessions hold across replicas again"
            ),
            Sharing::Unknown | Sharing::On => debug!("sticky sessions hold across replicas"),
        }
        cache.epoch()
    }

    /// Ends an epoch. A failure of an earlier one says nothing about this one.
    pub(super) fn lose(&self, epoch: u64, reason: &str) {
        if self.unshare(epoch) {
            warn!(
                reason,
                "sticky sessions hold on this replica only, until their store answers"
            );
        }
    }

    /// The same without a word; true when there is something to say.
    pub(super) fn unshare(&self, epoch: u64) -> bool {
        let mut cache = self.cache.lock();
        if cache.epoch() != epoch {
            return false;
        }
        cache.unshare();
        self.sharing.send_replace(Sharing::Off) != Sharing::Off
    }
}
