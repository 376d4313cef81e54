//! How many calls of one extension run at the same time, so that one that hangs cannot hold every request of the router.
//! A call that finds no place waits shortly; it is never sent beyond the limit, and no breaker hears of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::domain::admission::longest_wait;
use crate::metrics::{ExtensionLabel, Metrics};
use crate::supervision::{NodeView, OnDrop};

/// The limits of all extensions that were called.
#[derive(Debug)]
pub(super) struct CallLimits {
    max_in_flight: AtomicUsize,
    limits: RwLock<HashMap<Arc<str>, Arc<CallLimit>>>,
    metrics: Metrics,
}

/// The limit of one extension.
#[derive(Debug)]
pub(super) struct CallLimit {
    max: usize,
    places: Semaphore,
    waiting: AtomicUsize,
    in_flight: Gauge,
}

/// A call's place; it goes back when it is dropped.
#[derive(Debug)]
pub(super) struct CallPlace<'l> {
    limit: &'l CallLimit,
    _permit: SemaphorePermit<'l>,
}

/// Unless the deployment says otherwise; well below what the router takes in.
const MAX_IN_FLIGHT: usize = 500;

impl CallLimits {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { max_in_flight: AtomicUsize::new(MAX_IN_FLIGHT), limits: RwLock::default(), metrics }
    }

    /// For extensions that are called for the first time after this.
    pub(super) fn set(&self, max_in_flight: usize) {
        self.max_in_flight.store(max_in_flight, Ordering::Relaxed);
    }

    pub(super) fn of(&self, id: &Arc<str>) -> Arc<CallLimit> {
        if let Some(limit) = self.limits.read().get(id) {
            return Arc::clone(limit);
        }
        let max = self.max_in_flight.load(Ordering::Relaxed);
        let label = ExtensionLabel { extension_id: id.to_string() };
        let in_flight = self.metrics.extension_in_flight.get_or_create_owned(&label);
        let limit = CallLimit { max, places: Semaphore::new(max), waiting: AtomicUsize::new(0), in_flight };
        Arc::clone(self.limits.write().entry(Arc::clone(id)).or_insert_with(|| Arc::new(limit)))
    }

    pub(super) fn retain(&self, belongs: impl Fn(&str) -> bool) {
        self.limits.write().retain(|id, _| {
            let keep = belongs(id);
            if !keep {
                self.metrics.extension_in_flight.remove(&ExtensionLabel { extension_id: id.to_string() });
            }
            keep
        });
    }

    pub(super) fn describe(&self, id: &str, view: &mut NodeView) {
        let Some(limit) = self.limits.read().get(id).cloned() else { return };
        view.in_flight = Some(limit.max.saturating_sub(limit.places.available_permits()) as u64);
        view.limit = Some(limit.max as u64);
        view.waiting = Some(limit.waiting.load(Ordering::Relaxed) as u64);
    }
}

impl CallLimit {
    /// A place for a call with so much time left; `None` when none comes free in time, or as many wait as may run.
    pub(super) async fn enter(&self, left: Duration) -> Option<CallPlace<'_>> {
        let permit = match self.places.try_acquire() {
            Ok(permit) => permit,
            Err(_taken) => self.wait(left).await?,
        };
        self.in_flight.inc();
        Some(CallPlace { limit: self, _permit: permit })
    }

    async fn wait(&self, left: Duration) -> Option<SemaphorePermit<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _done = OnDrop::new(|| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        });
        if before >= self.max {
            return None;
        }
        timeout(longest_wait(left), self.places.acquire()).await.ok()?.ok()
    }
}

impl Drop for CallPlace<'_> {
    fn drop(&mut self) {
        self.limit.in_flight.dec();
    }
}
