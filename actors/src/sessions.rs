//! Which provider has which session, for all replicas: the store decides, this replica's memory answers.
//!
//! A request is never held up for long and never fails because of its session. While the store is away, the memory of this
//! replica is all there is, and every answer says so; what was pinned meanwhile is shared with its next use.

mod clock;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::ports::{SessionChange, SessionStore, SessionStoreError};
use beamline_domain::session::{Look, Pin, Pinned, Recalled, SessionCache, SessionKey, Stored};
use clock::Clock;

/// A request waits no longer for the store than this.
const LIMIT: Duration = Duration::from_millis(250);
/// A renewal holds nobody up.
const RENEWAL_LIMIT: Duration = Duration::from_secs(2);
/// Opening may mean making the store, and in a cluster an election.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// The store is left alone for this long after a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// And twice as long after each further one while it was never there: each attempt costs a line in the server's log, and
/// nobody may miss it. One that was there is missed.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// About 20 MB when full.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99_999);
/// Renewals at the same time; one that finds no place is made by the session's next request.
const RENEWALS: usize = 64;
/// How often somebody else may be first in one call.
const ROUNDS: usize = 3;

/// The sticky sessions of this replica. Clones are the same.
#[derive(Clone)]
pub struct Sessions {
    desk: Arc<Desk>,
    _keeper: Arc<Keeper>,
}

impl Sessions {
    /// To be called in a Tokio runtime: a task opens the store and follows its changes until the last clone is gone.
    pub fn new(store: Arc<dyn SessionStore>) -> Self {
        let desk = Arc::new(Desk {
            store,
            cache: Mutex::new(SessionCache::new(REMEMBERED)),
            clock: Clock::default(),
            renewals: Arc::new(Semaphore::new(RENEWALS)),
            sharing: watch::Sender::new(Sharing::Unknown),
        });
        let keeper = tokio::spawn(keep(Arc::clone(&desk)));
        Self {
            desk,
            _keeper: Arc::new(Keeper(keeper)),
        }
    }

    /// Waits for the first attempt to open the store, at most 5 s, and says whether sessions are shared now. For the
    /// start: requests that come before it would be remembered on this replica only.
    pub async fn opened(&self) -> bool {
        let mut sharing = self.desk.sharing.subscribe();
        let _ = timeout(OPEN_LIMIT, sharing.wait_for(|now| *now != Sharing::Unknown)).await;
        self.is_shared()
    }

    /// False while only this replica knows its sessions.
    pub fn is_shared(&self) -> bool {
        *self.desk.sharing.borrow() == Sharing::On
    }

    /// The provider of a session that has one, and renews it.
    pub async fn recall(&self, key: &SessionKey, ttl: Duration) -> Recalled {
        let desk = &self.desk;
        let look = desk.cache.lock().look(key, desk.clock.now_ms(), ttl);
        match look {
            Look::Known {
                provider,
                renewal_due,
            } => {
                desk.renew_if(renewal_due, key, ttl);
                Recalled {
                    provider: Some(provider),
                    shared: true,
                }
            }
            Look::Alone(provider) => Recalled {
                provider,
                shared: false,
            },
            Look::Ask => match desk.limited(desk.ask(key, ttl)).await {
                Some(provider) => Recalled {
                    provider,
                    shared: true,
                },
                None => {
                    let provider = desk
                        .cache
                        .lock()
                        .recall_alone(key, desk.clock.now_ms(), ttl);
                    Recalled {
                        provider,
                        shared: false,
                    }
                }
            },
        }
    }

    /// The provider of a session, without renewing it: for who only wants to know.
    pub async fn peek(&self, key: &SessionKey) -> Recalled {
        let desk = &self.desk;
        let live = |pin: Pin| pin.is_live(desk.clock.now_ms()).then_some(pin.provider);
        if let Some(stored) = desk
            .limited(desk.store.get(key))
            .await
            .filter(|_| self.is_shared())
        {
            return Recalled {
                provider: stored.and_then(|stored| live(stored.pin)),
                shared: true,
            };
        }
        Recalled {
            provider: desk.remembered(key).and_then(live),
            shared: false,
        }
    }

    /// Gives a session to a provider unless it has one already. `instead_of` is the provider that it had and that cannot
    /// be called now; only that one loses it.
    pub async fn pin(
        &self,
        key: &SessionKey,
        provider: &str,
        ttl: Duration,
        instead_of: Option<&str>,
    ) -> Pinned {
        let desk = &self.desk;
        let look = desk.cache.lock().look(key, desk.clock.now_ms(), ttl);
        match look {
            Look::Known {
                provider,
                renewal_due,
            } if instead_of != Some(provider.as_str()) => {
                desk.renew_if(renewal_due, key, ttl);
                return Pinned {
                    provider,
                    shared: true,
                };
            }
            Look::Known { .. } | Look::Ask => {
                if let Some(provider) = desk
                    .limited(desk.agree(key, provider, ttl, instead_of))
                    .await
                {
                    return Pinned {
                        provider,
                        shared: true,
                    };
                }
            }
            Look::Alone(_) => {}
        }
        let now_ms = desk.clock.now_ms();
        let provider =
            desk.cache
                .lock()
                .pin_alone(key, Pin::new(provider, now_ms, ttl), instead_of, now_ms);
        Pinned {
            provider,
            shared: false,
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("sharing", &*self.desk.sharing.borrow())
            .finish_non_exhaustive()
    }
}

/// Ends the task with the last clone.
struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Desk {
    store: Arc<dyn SessionStore>,
    cache: Mutex<SessionCache>,
    clock: Clock,
    renewals: Arc<Semaphore>,
    sharing: watch::Sender<Sharing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// The store was not opened yet.
    Unknown,
    On,
    Off,
}

impl Desk {
    /// What the store says within the limit. Nothing when it does not.
    async fn limited<T>(
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

    async fn ask(
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
    async fn agree(
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
        // Pinned while the store was away: unless somebody else has the session by now, it is this one's.
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

    fn remembered(&self, key: &SessionKey) -> Option<Pin> {
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
    fn renew_if(self: &Arc<Self>, due: bool, key: &SessionKey, ttl: Duration) {
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
        let (desk, key) = (Arc::clone(self), key.clone());
        tokio::spawn(async move {
            match timeout(RENEWAL_LIMIT, desk.write(&key, pin, Some(revision), epoch)).await {
                Ok(Ok(())) => {}
                Ok(Err(SessionStoreError::Conflict)) => desk.cache.lock().doubt(&key, revision),
                Ok(Err(SessionStoreError::Away(reason))) => desk.lose(epoch, &reason),
                Err(_elapsed) => {
                    let reason = format!(
                        "the store of sessions took nothing within {} s",
                        RENEWAL_LIMIT.as_secs()
                    );
                    desk.lose(epoch, &reason);
                }
            }
            drop(place);
        });
    }

    /// Answers the epoch that begins.
    fn gain(&self) -> u64 {
        self.clock.catch_up();
        let mut cache = self.cache.lock();
        cache.share();
        match self.sharing.send_replace(Sharing::On) {
            Sharing::Off => info!("sticky sessions hold across replicas again"),
            Sharing::Unknown | Sharing::On => debug!("sticky sessions hold across replicas"),
        }
        cache.epoch()
    }

    /// Ends an epoch. A failure of an earlier one says nothing about this one.
    fn lose(&self, epoch: u64, reason: &str) {
        let mut cache = self.cache.lock();
        if cache.epoch() != epoch {
            return;
        }
        cache.unshare();
        if self.sharing.send_replace(Sharing::Off) != Sharing::Off {
            warn!(
                reason,
                "sticky sessions hold on this replica only, until their store answers"
            );
        }
    }
}

/// Opens the store and follows its changes, without end.
async fn keep(desk: Arc<Desk>) {
    let (mut pause, mut was_open) = (PAUSE, false);
    loop {
        if desk.store.reachable().now_or_never().is_none() {
            desk.store.reachable().await;
            pause = PAUSE;
        }
        let epoch = desk.cache.lock().epoch();
        match timeout(OPEN_LIMIT, desk.store.open()).await {
            Ok(Ok(changes)) => {
                let epoch = desk.gain();
                (pause, was_open) = (PAUSE, true);
                follow(&desk, changes).await;
                desk.lose(epoch, "its changes cannot be followed any more");
            }
            Ok(Err(reason)) => desk.lose(epoch, &reason.to_string()),
            Err(_elapsed) => {
                let reason = format!(
                    "the store of sessions could not be opened within {} s",
                    OPEN_LIMIT.as_secs()
                );
                desk.lose(epoch, &reason);
            }
        }
        sleep(pause).await;
        pause = if was_open {
            PAUSE
        } else {
            LONGEST_PAUSE.min(pause * 2)
        };
    }
}

/// Returns when changes may be missed, or when a request found that the store does not answer.
async fn follow(desk: &Desk, mut changes: BoxStream<'static, SessionChange>) {
    let mut sharing = desk.sharing.subscribe();
    let following = async {
        while let Some(SessionChange { key, stored }) = changes.next().await {
            desk.cache.lock().follow(&key, stored);
        }
    };
    tokio::select! {
        () = following => {}
        _ = sharing.wait_for(|now| *now != Sharing::On) => {}
    }
}
