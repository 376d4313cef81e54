//! Which provider has which session, for all replicas: the store decides, this replica's memory
//! answers.
//!
//! A request is never held up for long and never fails because of its session. While the store is
//! away, the memory of this replica is all there is, and every answer says so; what was pinned
//! meanwhile is shared with its next use.

mod clock;
mod keeper;
mod shared;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::ports::SessionStore;
use crate::tree::{Child, Node, NodeKind};
use beamline_domain::session::{
    Look, Pin, Pinned, Recalled, SessionCache, SessionKey, SessionQuota,
};
use beamline_domain::target::Tenant;
use clock::Clock;
use shared::{SharedSessions, Sharing};

/// Opening may mean making the store, and in a cluster an election.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// About 20 MB when full.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99_999);
/// Renewals at the same time; one that finds no place is made by the session's next request.
const RENEWALS: usize = 64;

/// The sticky sessions of this replica. Clones are the same.
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<SharedSessions>,
    node: Arc<Node>,
}

impl Sessions {
    /// Until [`Self::child`] runs, only this replica knows its sessions.
    pub fn new(store: Arc<dyn SessionStore>) -> Self {
        Self::limited_to(u32::MAX, store)
    }

    /// Such that no tenant has more than so many.
    pub fn limited_to(most_of_tenant: u32, store: Arc<dyn SessionStore>) -> Self {
        let shared = Arc::new(SharedSessions {
            store,
            quota: Mutex::new(SessionQuota::new(most_of_tenant)),
            cache: Mutex::new(SessionCache::new(REMEMBERED)),
            clock: Clock::default(),
            renewals: Arc::new(Semaphore::new(RENEWALS)),
            sharing: watch::Sender::new(Sharing::Unknown),
        });
        let node = Node::new("sessions", NodeKind::Worker);
        let shown = Arc::downgrade(&shared);
        node.describe(move |view| {
            if let Some(shared) = shown.upgrade() {
                view.in_flight = Some((RENEWALS - shared.renewals.available_permits()) as u64);
            }
        });
        Self { shared, node }
    }

    /// The task that opens the store and follows its changes. It has started when it has tried to
    /// open the store: a request that comes before would be remembered on this replica only.
    pub fn child(&self) -> Child {
        let for_task = Arc::clone(&self.shared);
        let for_start = self.clone();
        Child::task_with_start(
            &self.node,
            move || keeper::keep(Arc::clone(&for_task)),
            move || {
                let sessions = for_start.clone();
                async move {
                    // Whether it could be opened or not.
                    let _ = sessions.opened().await;
                }
            },
        )
    }

    /// Waits for the first attempt to open the store, at most 5 s, and says whether sessions are
    /// shared now.
    pub async fn opened(&self) -> bool {
        let mut sharing = self.shared.sharing.subscribe();
        let _ = timeout(OPEN_LIMIT, sharing.wait_for(|now| *now != Sharing::Unknown)).await;
        self.is_shared()
    }

    /// False while only this replica knows its sessions.
    pub fn is_shared(&self) -> bool {
        *self.shared.sharing.borrow() == Sharing::On
    }

    /// The provider of a session that has one, and renews it.
    pub async fn recall(&self, key: &SessionKey, ttl: Duration) -> Recalled {
        let shared = &self.shared;
        let look = shared.cache.lock().look(key, shared.clock.now_ms(), ttl);
        match look {
            Look::Known {
                provider,
                renewal_due,
            } => {
                shared.renew_if(renewal_due, key, ttl);
                Recalled {
                    provider: Some(provider),
                    shared: true,
                }
            }
            Look::Alone(provider) => Recalled {
                provider,
                shared: false,
            },
            Look::Ask => match shared.limited(shared.ask(key, ttl)).await {
                Some(provider) => Recalled {
                    provider,
                    shared: true,
                },
                None => {
                    let provider =
                        shared
                            .cache
                            .lock()
                            .recall_alone(key, shared.clock.now_ms(), ttl);
                    Recalled {
                        provider,
                        shared: false,
                    }
                }
            },
        }
    }

    /// Takes a new session out of what its tenant may have, or says how long until there is room
    /// for one.
    pub(crate) fn begin(&self, tenant_id: &str, ttl: Duration) -> Result<(), Duration> {
        let now = tokio::time::Instant::now().into_std();
        let mut quota = self.shared.quota.lock();
        quota.begin(Tenant::of(tenant_id), ttl, now)
    }

    /// The provider of a session, without renewing it: for who only wants to know.
    pub async fn peek(&self, key: &SessionKey) -> Recalled {
        let shared = &self.shared;
        let live = |pin: Pin| pin.is_live(shared.clock.now_ms()).then_some(pin.provider);
        if let Some(stored) = shared
            .limited(shared.store.get(key))
            .await
            .filter(|_| self.is_shared())
        {
            return Recalled {
                provider: stored.and_then(|stored| live(stored.pin)),
                shared: true,
            };
        }
        Recalled {
            provider: shared.remembered(key).and_then(live),
            shared: false,
        }
    }

    /// Gives a session to a provider unless it has one already. `instead_of` is the provider that
    /// it had and that cannot be called now; only that one loses it.
    pub async fn pin(
        &self,
        key: &SessionKey,
        provider: &str,
        ttl: Duration,
        instead_of: Option<&str>,
    ) -> Pinned {
        let shared = &self.shared;
        let look = shared.cache.lock().look(key, shared.clock.now_ms(), ttl);
        match look {
            Look::Known {
                provider,
                renewal_due,
            } if instead_of != Some(provider.as_str()) => {
                shared.renew_if(renewal_due, key, ttl);
                return Pinned {
                    provider,
                    shared: true,
                };
            }
            Look::Known { .. } | Look::Ask => {
                if let Some(provider) = shared
                    .limited(shared.agree(key, provider, ttl, instead_of))
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
        let now_ms = shared.clock.now_ms();
        let provider =
            shared
                .cache
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
            .field("sharing", &*self.shared.sharing.borrow())
            .finish_non_exhaustive()
    }
}
