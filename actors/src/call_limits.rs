//! How many calls of one extension run at the same time, so that one that hangs cannot hold every
//! request of the router, and one that says that it has too much to do gets less. A call that finds
//! no place waits shortly; it is never sent beyond the limit, and no breaker hears of it. What the
//! limit is, `domain/concurrency.rs` decides.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::metrics::{ExtensionLabel, ExtensionReason, Metrics};
use crate::tree::{OnDrop, TreeNode};
use beamline_domain::admission::longest_wait;
use beamline_domain::target::concurrency::{ConcurrencyLimit, Load};

/// The limits of all extensions that were called.
#[derive(Debug)]
pub(crate) struct CallLimits {
    max_in_flight: AtomicU32,
    limits: RwLock<HashMap<Arc<str>, Arc<CallLimit>>>,
    metrics: Metrics,
}

/// The limit of one extension.
#[derive(Debug)]
pub(crate) struct CallLimit {
    id: Arc<str>,
    places: Semaphore,
    size: Mutex<Size>,
    waiting: AtomicUsize,
    in_flight: Gauge,
    shown_limit: Gauge,
    metrics: Metrics,
}

/// How many places there are, and how many there should be.
#[derive(Debug)]
struct Size {
    limit: ConcurrencyLimit,
    /// Places that exist, taken or free. More than the limit while those beyond it are in use: they
    /// go when they come back.
    places: u32,
}

/// What is in use of a limit at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InUse {
    pub in_flight: u32,
    pub waiting: u32,
    /// Calls that may run now.
    pub limit: u32,
    /// What the limit may be at most.
    pub ceiling: u32,
}

/// A call's place; it goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct CallPlace<'l> {
    limit: &'l CallLimit,
    permit: Option<SemaphorePermit<'l>>,
    began: Instant,
    load: Load,
}

/// Unless the deployment says otherwise; well below what the router takes in.
const MAX_IN_FLIGHT: u32 = 500;

impl CallLimits {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            max_in_flight: AtomicU32::new(MAX_IN_FLIGHT),
            limits: RwLock::default(),
            metrics,
        }
    }

    /// The ceiling of extensions that have none of their own; for those that are called for the
    /// first time after this.
    pub(crate) fn set(&self, max_in_flight: u32) {
        self.max_in_flight.store(max_in_flight, Ordering::Relaxed);
    }

    /// The limit of an extension; at its first call `own` says what its record has for a ceiling.
    pub(crate) fn of(
        &self,
        id: &Arc<str>,
        own: impl FnOnce(&str) -> Option<u32>,
    ) -> Arc<CallLimit> {
        if let Some(limit) = self.limits.read().get(id) {
            return Arc::clone(limit);
        }
        // Under the lock that also `retain` takes, so that a ceiling which changes meanwhile is not
        // missed.
        let new = || {
            Arc::new(CallLimit::new(
                id,
                self.ceiling(own(id)),
                self.metrics.clone(),
            ))
        };
        Arc::clone(
            self.limits
                .write()
                .entry(Arc::clone(id))
                .or_insert_with(new),
        )
    }

    /// Forgets extensions that are gone, and brings the ceilings of the others up to date: `known`
    /// says for each id whether it is there still, and with what ceiling of its own.
    pub(crate) fn retain(&self, known: impl Fn(&str) -> Option<Option<u32>>) {
        self.limits.write().retain(|id, limit| {
            let own = known(id);
            if let Some(own) = own {
                limit.set_ceiling(self.ceiling(own));
            } else {
                let label = ExtensionLabel {
                    extension_id: id.to_string(),
                };
                self.metrics.extension_in_flight.remove(&label);
                self.metrics.extension_limit.remove(&label);
            }
            own.is_some()
        });
    }

    fn ceiling(&self, own: Option<u32>) -> u32 {
        own.unwrap_or_else(|| self.max_in_flight.load(Ordering::Relaxed))
    }

    /// An operator has reset the extension.
    pub(crate) fn reset(&self, id: &str) {
        let known = self.limits.read().get(id).cloned();
        if let Some(limit) = known {
            limit.reset();
        }
    }

    /// What is in use of an extension's limit; `None` before its first call.
    pub(crate) fn in_use(&self, id: &str) -> Option<InUse> {
        self.limits.read().get(id).map(|limit| limit.in_use())
    }

    pub(crate) fn describe(&self, id: &str, view: &mut TreeNode) {
        let Some(in_use) = self.in_use(id) else {
            return;
        };
        view.in_flight = Some(in_use.in_flight.into());
        view.limit = Some(in_use.limit.into());
        view.ceiling = Some(in_use.ceiling.into());
        view.waiting = Some(in_use.waiting.into());
    }
}

impl CallLimit {
    fn new(id: &Arc<str>, ceiling: u32, metrics: Metrics) -> Self {
        let limit = ConcurrencyLimit::new(ceiling, now());
        let places = limit.get();
        let label = ExtensionLabel {
            extension_id: id.to_string(),
        };
        let shown_limit = metrics.extension_limit.get_or_create_owned(&label);
        shown_limit.set(places.into());
        Self {
            id: Arc::clone(id),
            places: Semaphore::new(places as usize),
            size: Mutex::new(Size { limit, places }),
            waiting: AtomicUsize::new(0),
            in_flight: metrics.extension_in_flight.get_or_create_owned(&label),
            shown_limit,
            metrics,
        }
    }

    fn set_ceiling(&self, ceiling: u32) {
        let mut size = self.size.lock();
        size.limit.set_ceiling(ceiling, now());
        self.fit(&mut size);
    }

    fn reset(&self) {
        let mut size = self.size.lock();
        size.limit.reset(now());
        self.fit(&mut size);
    }

    /// A place for a call with so much time left; `None` when none comes free in time, or as many
    /// wait as may run.
    pub(crate) async fn enter(&self, left: Duration) -> Option<CallPlace<'_>> {
        self.wanted();
        let permit = match self.places.try_acquire() {
            Ok(permit) => permit,
            Err(_taken) => self.wait(left).await?,
        };
        self.in_flight.inc();
        Some(CallPlace {
            limit: self,
            permit: Some(permit),
            began: now(),
            load: Load::Unknown,
        })
    }

    fn wanted(&self) {
        let mut size = self.size.lock();
        let in_use = self.taken(&size);
        size.limit.wanted(in_use, now());
        self.fit(&mut size);
    }

    async fn wait(&self, left: Duration) -> Option<SemaphorePermit<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _done = OnDrop::new(|| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        });
        if before >= self.size.lock().limit.get() as usize {
            return self.refuse("queue_full");
        }
        match timeout(longest_wait(left), self.places.acquire()).await {
            Ok(permit) => permit.ok(),
            Err(_elapsed) => self.refuse("no_place_in_time"),
        }
    }

    fn refuse<T>(&self, reason: &'static str) -> Option<T> {
        let label = ExtensionReason {
            extension_id: self.id.to_string(),
            reason,
        };
        self.metrics
            .extension_calls_refused
            .get_or_create(&label)
            .inc();
        None
    }

    /// A call that began then gives its place back.
    fn leave(&self, place: SemaphorePermit<'_>, load: Load, began: Instant) {
        let mut size = self.size.lock();
        size.limit.ended(load, began, now());
        if size.places > size.limit.get() {
            // Not to the next one who waits: it is one too many.
            place.forget();
            size.places -= 1;
        } else {
            drop(place);
        }
        self.fit(&mut size);
    }

    /// Makes places, or takes free ones away, until there are as many as the limit says; those in
    /// use go when they come back.
    fn fit(&self, size: &mut Size) {
        let limit = size.limit.get();
        if size.places < limit {
            self.places.add_permits((limit - size.places) as usize);
            size.places = limit;
        } else if size.places > limit {
            let gone = self.places.forget_permits((size.places - limit) as usize);
            size.places -= u32::try_from(gone).unwrap_or_default();
        }
        self.shown_limit.set(limit.into());
    }

    fn in_use(&self) -> InUse {
        let size = self.size.lock();
        let waiting = u32::try_from(self.waiting.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        InUse {
            in_flight: self.taken(&size),
            waiting,
            limit: size.limit.get(),
            ceiling: size.limit.ceiling(),
        }
    }

    fn taken(&self, size: &Size) -> u32 {
        size.places
            .saturating_sub(u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX))
    }
}

impl CallPlace<'_> {
    /// Gives the place back and tells how its call ended. Dropped, it says nothing.
    pub(crate) fn finish(mut self, load: Load) {
        self.load = load;
    }
}

impl Drop for CallPlace<'_> {
    fn drop(&mut self) {
        self.limit.in_flight.dec();
        if let Some(permit) = self.permit.take() {
            self.limit.leave(permit, self.load, self.began);
        }
    }
}

/// The limit's clock: the runtime's, so that tests can pause it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
