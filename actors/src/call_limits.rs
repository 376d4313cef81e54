//! How many calls of one extension run at the same time, so that one that hangs cannot hold every
//! request of the router, and one that says that it has too much to do gets less. A call that finds
//! no place waits shortly; it is never sent beyond the limit, and no breaker hears of it. What the
//! limit is and whose turn it is, `domain/target/places.rs` decides.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::metrics::{ExtensionLabel, ExtensionReason, Metrics, OTHER};
use crate::tree::TreeNode;
use beamline_domain::admission::longest_wait;
use beamline_domain::target::Tenant;
use beamline_domain::target::concurrency::Load;
use beamline_domain::target::places::{Asked, Places, Ticket};

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
    room: Mutex<Room>,
    in_flight: Gauge,
    shown_limit: Option<Gauge>,
    metrics: Metrics,
}

/// The places, and how those are told who wait for one.
#[derive(Debug)]
struct Room {
    places: Places,
    /// Whoever has left it has got its place; `None`: it was displaced.
    waiting: HashMap<Ticket, Option<oneshot::Sender<()>>>,
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
    tenant: Tenant,
    began: Instant,
    load: Load,
}

/// When a call gets its place.
#[derive(Debug)]
enum Turn<'l> {
    Now,
    Later(Waiter<'l>, oneshot::Receiver<()>),
    Never,
}

/// Somebody who waits. Dropped, it gives back what it was given meanwhile.
#[derive(Debug)]
struct Waiter<'l> {
    limit: &'l CallLimit,
    tenant: Tenant,
    ticket: Option<Ticket>,
}

/// Unless the deployment says otherwise; well below what the router takes in.
const MAX_IN_FLIGHT: u32 = 500;

fn show(gauge: Option<&Gauge>, places: &Places) {
    if let Some(gauge) = gauge {
        gauge.set(places.limit().get().into());
    }
}

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
        let places = Places::new(ceiling, now());
        let label = metrics.extension(id);
        // The limits of several that share a label make no sum.
        let shares = &*label == OTHER;
        let label = ExtensionLabel {
            extension_id: label,
        };
        let shown_limit = (!shares).then(|| metrics.extension_limit.of(&label));
        show(shown_limit.as_ref(), &places);
        Self {
            id: Arc::clone(id),
            room: Mutex::new(Room {
                places,
                waiting: HashMap::new(),
            }),
            in_flight: metrics.extension_in_flight.of(&label),
            shown_limit,
            metrics,
        }
    }

    fn set_ceiling(&self, ceiling: u32) {
        let mut room = self.room.lock();
        room.places.set_ceiling(ceiling, now());
        self.fill(&mut room);
    }

    fn reset(&self) {
        let mut room = self.room.lock();
        room.places.reset(now());
        self.fill(&mut room);
    }

    /// A place for a call of this tenant with so much time left; `None` when none comes free for it
    /// in time, or as many wait as may.
    pub(crate) async fn enter(&self, tenant: Tenant, left: Duration) -> Option<CallPlace<'_>> {
        match self.ask(tenant, !left.is_zero()) {
            Turn::Now => {}
            Turn::Later(waiter, told) => {
                let in_time = timeout(longest_wait(left), told).await.is_ok();
                if !waiter.ends() {
                    let displaced = in_time.then_some("queue_full");
                    return self.refuse(displaced.unwrap_or("no_place_in_time"));
                }
            }
            Turn::Never => return self.refuse("queue_full"),
        }
        self.in_flight.inc();
        Some(CallPlace {
            limit: self,
            tenant,
            began: now(),
            load: Load::Unknown,
        })
    }

    fn ask(&self, tenant: Tenant, patient: bool) -> Turn<'_> {
        let mut room = self.room.lock();
        let turn = match room.places.ask(tenant, patient, now()) {
            Asked::Granted => Turn::Now,
            Asked::QueueFull => Turn::Never,
            Asked::Waits(ticket) => self.later(&mut room, tenant, ticket),
            Asked::WaitsInsteadOf(ticket, displaced) => {
                room.waiting.insert(displaced, None);
                self.later(&mut room, tenant, ticket)
            }
        };
        self.fill(&mut room);
        turn
    }

    fn later(&self, room: &mut Room, tenant: Tenant, ticket: Ticket) -> Turn<'_> {
        let (tell, told) = oneshot::channel();
        room.waiting.insert(ticket, Some(tell));
        let waiter = Waiter {
            limit: self,
            tenant,
            ticket: Some(ticket),
        };
        Turn::Later(waiter, told)
    }

    fn refuse<T>(&self, reason: &'static str) -> Option<T> {
        let label = ExtensionReason {
            extension_id: self.metrics.extension(&self.id),
            reason,
        };
        self.metrics.extension_calls_refused.of(&label).inc();
        None
    }

    /// A call that began then gives its place back.
    fn leave(&self, tenant: Tenant, load: Load, began: Instant) {
        let mut room = self.room.lock();
        room.places.leave(tenant, load, began, now());
        self.fill(&mut room);
    }

    /// Tells those who wait that there is a place for them.
    fn fill(&self, room: &mut Room) {
        while room.places.waiting() > 0
            && let Some(ticket) = room.places.next(now())
        {
            // Whoever has just stopped listening finds that it was given one, and gives it back.
            if let Some(tell) = room.waiting.remove(&ticket).flatten() {
                let _ = tell.send(());
            }
        }
        show(self.shown_limit.as_ref(), &room.places);
    }

    fn in_use(&self) -> InUse {
        let room = self.room.lock();
        let limit = room.places.limit();
        InUse {
            in_flight: room.places.in_use(),
            waiting: u32::try_from(room.places.waiting()).unwrap_or(u32::MAX),
            limit: limit.get(),
            ceiling: limit.ceiling(),
        }
    }
}

impl Waiter<'_> {
    /// Stops waiting; whether it has got its place, which is the caller's then.
    fn ends(mut self) -> bool {
        self.leave_queue()
    }

    fn leave_queue(&mut self) -> bool {
        let Some(ticket) = self.ticket.take() else {
            return false;
        };
        let mut room = self.limit.room.lock();
        room.places.give_up(ticket);
        room.waiting.remove(&ticket).is_none()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.leave_queue() {
            self.limit.leave(self.tenant, Load::Unknown, now());
        }
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
        self.limit.leave(self.tenant, self.load, self.began);
    }
}

/// The limit's clock: the runtime's, so that tests can pause it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
