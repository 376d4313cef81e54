//! Where the requests in flight are and how long their work waits for a thread: what the limit at
//! the door follows. Counted without a lock, at every hop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use beamline_domain::admission::WorkDone;

/// Of all requests in flight.
#[derive(Debug, Default)]
pub(super) struct Work {
    waited_ns: AtomicU64,
    hops: AtomicU64,
    outside: AtomicUsize,
    trips: AtomicU64,
    trip_excess_ns: AtomicU64,
}

impl Work {
    pub(super) fn hops(&self) -> u64 {
        self.hops.load(Ordering::Relaxed)
    }

    pub(super) fn outside(&self) -> usize {
        self.outside.load(Ordering::Relaxed)
    }

    /// What was counted since this was asked last.
    pub(super) fn take(&self) -> WorkDone {
        WorkDone {
            waited: Duration::from_nanos(self.waited_ns.swap(0, Ordering::Relaxed)),
            hops: self.hops.swap(0, Ordering::Relaxed),
            trips: self.trips.swap(0, Ordering::Relaxed),
            trip_excess: Duration::from_nanos(self.trip_excess_ns.load(Ordering::Relaxed)),
        }
    }

    /// What a trip through the bus takes longer than usual at the moment.
    pub(super) fn trips_take_longer(&self, excess: Duration) {
        self.trip_excess_ns
            .store(nanoseconds(excess), Ordering::Relaxed);
    }

    fn waited(&self, time: Duration) {
        self.waited_ns
            .fetch_add(nanoseconds(time), Ordering::Relaxed);
        self.hops.fetch_add(1, Ordering::Relaxed);
    }
}

/// The same of one request: when its actor was given something to do.
#[derive(Debug)]
pub(crate) struct Steps {
    work: Arc<Work>,
    since: Instant,
    /// Nanoseconds after `since`, and one more; zero when it has nothing to do.
    ready: AtomicU64,
}

impl Steps {
    /// There is something to do from the beginning.
    pub(super) fn new(work: Arc<Work>) -> Self {
        Self {
            work,
            since: Instant::now(),
            ready: AtomicU64::new(1),
        }
    }

    /// The actor has a message to handle from now on.
    pub(crate) fn ready(&self) {
        self.ready.store(
            nanoseconds(self.since.elapsed()).saturating_add(1),
            Ordering::Relaxed,
        );
    }

    /// The actor has begun to handle it.
    pub(crate) fn begun(&self) {
        if let Some(ready) = self.ready.swap(0, Ordering::Relaxed).checked_sub(1) {
            self.work.waited(
                self.since
                    .elapsed()
                    .saturating_sub(Duration::from_nanos(ready)),
            );
        }
    }

    /// A task that was spawned at this time runs, and waits for somebody else until this is
    /// dropped.
    pub(crate) fn outside(self: &Arc<Self>, spawned: Instant) -> Outside {
        self.work.waited(spawned.elapsed());
        self.work.trips.fetch_add(1, Ordering::Relaxed);
        self.work.outside.fetch_add(1, Ordering::Relaxed);
        Outside(Arc::clone(self))
    }
}

/// A request is waiting for somebody else.
#[derive(Debug)]
pub(crate) struct Outside(Arc<Steps>);

impl Drop for Outside {
    fn drop(&mut self) {
        self.0.work.outside.fetch_sub(1, Ordering::Relaxed);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
