//! Who may start now, who waits, and who is turned away: the rules at the door, with time as an
//! argument.
//!
//! A request starts at once while there are places. Else it waits, shortly, in a queue of its
//! tenant; tenants take turns. While more than one tenant calls, none has more than half of the
//! places: what is free then is kept for the others. What cannot be served in time is turned away
//! while that is still cheap.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod adaptive;
mod claim;
mod glance;
mod pressure;
mod rate;
mod trips;
mod waiting;

pub use adaptive::{AdaptiveLimit, Observed, WorkDone};
pub use claim::{Claim, Priority};
pub use pressure::{Pressure, PressureGauge, Reading};
pub use rate::Rate;
use rate::Rates;
pub use trips::TripTimes;
use waiting::{Queue, Waiting};

use crate::target::{LATELY, Seen, Tenant as Caller};

/// What a deployment admits.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionSettings {
    /// Requests in flight at the same time; as many more may wait.
    pub max_in_flight: usize,
    /// Fewer than that while the router itself is late.
    pub adaptive: bool,
    /// Bytes of all requests in flight and waiting.
    pub max_bytes: usize,
    /// Requests of one tenant over time; `None`: as many as it likes.
    pub tenant_rate: Option<Rate>,
    /// Requests of one tenant in flight and waiting; `None`: as many as there are places.
    pub tenant_in_flight: Option<usize>,
}

impl AdmissionSettings {
    /// Always so many requests at a time, of any tenant and size that the bus carries.
    pub fn limited_to(max_in_flight: usize) -> Self {
        Self {
            max_in_flight,
            adaptive: false,
            max_bytes: usize::MAX,
            tenant_rate: None,
            tenant_in_flight: None,
        }
    }
}

/// Why a request was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShedReason {
    /// Batch work leaves the last places to interactive requests.
    Batch,
    /// As many wait as may wait.
    QueueFull,
    /// No place came free in time.
    Waited,
    /// The requests in flight and waiting have too many bytes together.
    Bytes,
    /// The process is short of memory or of time.
    Pressure,
    /// As many of its tenant are in flight or wait as may.
    TenantFull,
    /// Its tenant sends more than it may; the wait until it may again.
    Rate(Duration),
}

impl ShedReason {
    /// The label `reason` of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::QueueFull => "queue_full",
            Self::Waited => "waited",
            Self::Bytes => "bytes",
            Self::Pressure => "pressure",
            Self::TenantFull => "tenant_full",
            Self::Rate(_) => "rate",
        }
    }
}

/// A request that is turned away.
#[derive(Debug, PartialEq, Eq)]
pub struct Shed<T> {
    pub item: T,
    pub reason: ShedReason,
    pub priority: Priority,
}

/// The place of a request that started. It goes back with [`Admission::leave`].
#[derive(Debug, PartialEq, Eq)]
pub struct AdmissionPlace {
    tenant: Arc<str>,
    bytes: usize,
}

impl AdmissionPlace {
    /// What it is counted with.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What became of a request that arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrived<T> {
    Started(AdmissionPlace, T),
    /// It waits; somebody who has waited may have made room for it. `wake`: the next
    /// [`Admission::poll`] is due earlier than was said before.
    Queued {
        displaced: Option<Shed<T>>,
        wake: bool,
    },
    Shed(Shed<T>),
}

/// What is to be done about those who wait.
#[derive(Debug, PartialEq, Eq)]
pub enum Polled<T> {
    Start(AdmissionPlace, T),
    Shed(Shed<T>),
    /// Nothing before this time, unless a place comes free.
    Wait(Option<Instant>),
}

/// What is in use, for whoever shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Of requests in flight, at this moment.
    pub limit: usize,
    /// What the limit may grow to.
    pub ceiling: usize,
    pub in_flight: usize,
    pub queued: usize,
    pub bytes: usize,
}

/// The door. `T` is what is let in.
#[derive(Debug)]
pub struct Admission<T> {
    settings: AdmissionSettings,
    adaptive: AdaptiveLimit,
    pressure: Pressure,
    /// Of requests in flight; what the three above come to.
    limit: usize,
    /// Somebody had to wait for a place since the last look.
    bound: bool,
    in_flight: usize,
    queued: usize,
    bytes: usize,
    /// Those that hold a place or wait.
    tenants: HashMap<Arc<str>, Tenant<T>>,
    /// Tenants with somebody waiting, the next to be served first.
    turns: VecDeque<Arc<str>>,
    rates: Option<Rates>,
    /// Those that have a name: who has none is held to half of the places anyway.
    callers: Seen,
    /// When somebody has waited long enough.
    next_sweep: Option<Instant>,
}

#[derive(Debug)]
struct Tenant<T> {
    held: usize,
    queue: Queue<T>,
}

/// Of the places, in percent, what batch work may bring into use.
const BATCH_PERCENT: usize = 70;
/// No request waits longer for a place, nor longer than a tenth of the time that it has left.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// Those who waited long enough are looked for this often at most.
const SWEEP_EVERY: Duration = Duration::from_millis(1);

/// How long something with so much time left may wait for a place.
pub fn longest_wait(left: Duration) -> Duration {
    (left / 10).min(LONGEST_WAIT)
}

impl<T> Admission<T> {
    pub fn new(settings: AdmissionSettings) -> Self {
        Self {
            settings,
            adaptive: AdaptiveLimit::new(settings.max_in_flight),
            pressure: Pressure::None,
            limit: settings.max_in_flight,
            bound: false,
            in_flight: 0,
            queued: 0,
            bytes: 0,
            tenants: HashMap::new(),
            turns: VecDeque::new(),
            rates: settings.tenant_rate.map(Rates::new),
            callers: Seen::default(),
            next_sweep: None,
        }
    }

    pub fn usage(&self) -> Usage {
        Usage {
            limit: self.limit,
            ceiling: self.settings.max_in_flight,
            in_flight: self.in_flight,
            queued: self.queued,
            bytes: self.bytes,
        }
    }

    pub fn pressure(&self) -> Pressure {
        self.pressure
    }

    /// Whether it is time for [`Admission::observe`].
    pub fn is_due(&self, hops: u64, now: Instant) -> bool {
        self.settings.adaptive && self.adaptive.is_due(hops, now)
    }

    /// Lets the limit follow how late the router has been. `outside` requests wait for somebody
    /// else. True when somebody who waits may start now: poll then.
    pub fn observe(&mut self, work: WorkDone, outside: usize, now: Instant) -> bool {
        let inside = self.in_flight.saturating_sub(outside);
        let bound = std::mem::take(&mut self.bound) || self.queued > 0;
        self.adaptive.observe(
            &Observed {
                work,
                inside,
                outside,
                bound,
            },
            now,
        );
        self.limit_anew()
    }

    /// Takes note of the pressure that the process is under. True when somebody who waits may start
    /// now: poll then. Half of the ceiling alone would mean nothing to who is far below it, so half
    /// of what is in use counts as well.
    pub fn press(&mut self, pressure: Pressure, outside: usize, now: Instant) -> bool {
        if pressure >= Pressure::Severe
            && self.pressure < Pressure::Severe
            && self.settings.adaptive
        {
            self.adaptive
                .halve(self.in_flight.saturating_sub(outside), outside, now);
        }
        self.pressure = pressure;
        self.limit_anew()
    }

    fn limit_anew(&mut self) -> bool {
        self.limit = self.pressure.limit(self.adaptive.limit());
        self.queued > 0 && self.in_flight < self.limit
    }

    /// Decides about a request.
    pub fn arrive(&mut self, claim: Claim, item: T, now: Instant) -> Arrived<T> {
        if !claim.tenant.is_empty() {
            self.callers.saw(Caller::of(&claim.tenant), now);
        }
        if let Err(reason) = self.may_enter(&claim, now) {
            return Arrived::Shed(Shed {
                item,
                reason,
                priority: claim.priority,
            });
        }
        if self.has_room(&claim.tenant, now) && self.next_turn(now).is_none() {
            self.bytes += claim.bytes;
            return Arrived::Started(self.place(claim.tenant, claim.bytes), item);
        }
        self.bound = true;
        let displaced = if self.queued < self.limit {
            None
        } else {
            match self.make_room(&claim.tenant, now) {
                Some(displaced) => Some(displaced),
                None => {
                    return Arrived::Shed(Shed {
                        item,
                        reason: ShedReason::QueueFull,
                        priority: claim.priority,
                    });
                }
            }
        };
        let until = now + longest_wait(claim.left);
        let wake = self.next_sweep.is_none_or(|at| until < at);
        if wake {
            self.next_sweep = Some(until);
        }
        self.enqueue(claim, item, until, now);
        Arrived::Queued { displaced, wake }
    }

    /// A request in flight has become so many bytes: what stages make of a message takes memory as
    /// well as what came in. It is not turned away for that any more, but others may be.
    pub fn holds(&mut self, place: &mut AdmissionPlace, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(place.bytes).saturating_add(bytes);
        place.bytes = bytes;
    }

    /// A place comes back. True when somebody waits for it: poll then.
    pub fn leave(&mut self, place: AdmissionPlace) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(place.bytes);
        if let Some(tenant) = self.tenants.get_mut(&place.tenant) {
            tenant.held = tenant.held.saturating_sub(1);
        }
        self.forget_if_idle(&place.tenant);
        self.queued > 0
    }

    /// The next thing to do; to be called again until it says [`Polled::Wait`].
    pub fn poll(&mut self, now: Instant) -> Polled<T> {
        if let Some((tenant, waiting)) = self.take_next(now) {
            if waiting.until < now {
                self.forget_if_idle(&tenant);
                return Polled::Shed(self.shed(waiting, ShedReason::Waited));
            }
            let place = self.place(tenant, waiting.bytes);
            return Polled::Start(place, waiting.item);
        }
        if self.next_sweep.is_some_and(|at| at <= now) {
            if let Some(late) = self.take_late(now) {
                return Polled::Shed(self.shed(late, ShedReason::Waited));
            }
            self.plan_sweep(now);
        }
        Polled::Wait(self.next_sweep)
    }

    /// Empties the queue, because nobody will serve it.
    pub fn drain(&mut self) -> Vec<T> {
        let mut all = Vec::with_capacity(self.queued);
        while let Some(tenant) = self.turns.front().cloned() {
            match self.take_of(&tenant, Queue::take_oldest) {
                Some(waiting) => {
                    self.bytes = self.bytes.saturating_sub(waiting.bytes);
                    self.forget_if_idle(&tenant);
                    all.push(waiting.item);
                }
                None => drop(self.turns.pop_front()),
            }
        }
        all
    }

    fn may_enter(&mut self, claim: &Claim, now: Instant) -> Result<(), ShedReason> {
        if self.pressure.sheds(claim.priority) {
            return Err(ShedReason::Pressure);
        }
        let batch_limit = (self.limit * BATCH_PERCENT).div_ceil(100);
        if claim.priority == Priority::Batch && self.in_flight + self.queued >= batch_limit {
            return Err(ShedReason::Batch);
        }
        if self.bytes.saturating_add(claim.bytes) > self.settings.max_bytes {
            return Err(ShedReason::Bytes);
        }
        if let Some(most) = self.settings.tenant_in_flight {
            let tenant = self.tenants.get(&claim.tenant);
            if tenant.is_some_and(|tenant| tenant.held + tenant.queue.len() >= most) {
                return Err(ShedReason::TenantFull);
            }
        }
        // Last, because it takes something from the tenant.
        self.rates
            .as_mut()
            .map_or(Ok(()), |rates| rates.take(&claim.tenant, now))
            .map_err(ShedReason::Rate)
    }

    fn place(&mut self, tenant: Arc<str>, bytes: usize) -> AdmissionPlace {
        self.in_flight += 1;
        self.tenants.entry(Arc::clone(&tenant)).or_default().held += 1;
        AdmissionPlace { tenant, bytes }
    }

    fn enqueue(&mut self, claim: Claim, item: T, until: Instant, now: Instant) {
        let Claim {
            tenant,
            priority,
            bytes,
            ..
        } = claim;
        self.queued += 1;
        self.bytes += bytes;
        let queue = &mut self.tenants.entry(Arc::clone(&tenant)).or_default().queue;
        if queue.is_empty() {
            self.turns.push_back(tenant);
        }
        queue.push(Waiting {
            item,
            priority,
            bytes,
            since: now,
            until,
        });
    }

    /// Takes somebody off the full queue: the oldest of the tenant with the most waiting, the last
    /// in turn of several. A tenant's own queue gives way only where somebody has waited for a
    /// while: in a burst, who came first is served.
    fn make_room(&mut self, for_tenant: &Arc<str>, now: Instant) -> Option<Shed<T>> {
        let length = |tenant: &&Arc<str>| {
            self.tenants
                .get(*tenant)
                .map_or(0, |tenant| tenant.queue.len())
        };
        let longest = self.turns.iter().max_by_key(length)?.clone();
        let own = self
            .tenants
            .get(for_tenant)
            .map_or(0, |tenant| tenant.queue.len());
        let is_own = own >= length(&&longest);
        let from = if is_own {
            Arc::clone(for_tenant)
        } else {
            longest
        };
        if is_own
            && !self
                .tenants
                .get(&from)
                .is_some_and(|tenant| tenant.queue.gives_way(now))
        {
            return None;
        }
        let waiting = self.take_of(&from, Queue::take_oldest)?;
        self.forget_if_idle(&from);
        Some(self.shed(waiting, ShedReason::QueueFull))
    }

    fn shed(&mut self, waiting: Waiting<T>, reason: ShedReason) -> Shed<T> {
        self.bytes = self.bytes.saturating_sub(waiting.bytes);
        Shed {
            item: waiting.item,
            reason,
            priority: waiting.priority,
        }
    }

    /// Whether there is a place for one more of this tenant.
    fn has_room(&self, tenant: &Arc<str>, now: Instant) -> bool {
        let half = self.limit.div_ceil(2);
        // In this order: most of the time nobody has to be looked up.
        self.in_flight < self.limit
            && (self.in_flight < half
                || (!tenant.is_empty() && !self.callers.several(LATELY, now))
                || self
                    .tenants
                    .get(tenant)
                    .is_none_or(|known| known.held < half))
    }

    /// The first that waits and may start. While a place is free at most one tenant holds half, so
    /// it is one of the first two.
    fn next_turn(&self, now: Instant) -> Option<usize> {
        if self.in_flight >= self.limit {
            return None;
        }
        let mut turns = self.turns.iter();
        turns.position(|tenant| self.has_room(tenant, now))
    }

    /// The tenant whose turn it is, and who of it starts.
    fn take_next(&mut self, now: Instant) -> Option<(Arc<str>, Waiting<T>)> {
        let at = self.next_turn(now)?;
        let tenant = self.turns.remove(at)?;
        self.turns.push_back(Arc::clone(&tenant));
        let waiting = self.take_of(&tenant, |queue| queue.take_next(now))?;
        if self
            .tenants
            .get(&tenant)
            .is_some_and(|tenant| tenant.queue.is_standing())
        {
            // Its old end may be let go earlier than was planned.
            self.next_sweep = self.next_sweep.map(|at| at.min(now + SWEEP_EVERY));
        }
        Some((tenant, waiting))
    }

    /// Takes one off a tenant's queue, and the tenant out of the turns with its last.
    fn take_of(
        &mut self,
        tenant: &Arc<str>,
        take: impl FnOnce(&mut Queue<T>) -> Option<Waiting<T>>,
    ) -> Option<Waiting<T>> {
        let queue = &mut self.tenants.get_mut(tenant)?.queue;
        let waiting = take(queue)?;
        self.queued = self.queued.saturating_sub(1);
        if queue.is_empty() {
            self.turns.retain(|other| other != tenant);
        }
        if self.queued == 0 {
            self.next_sweep = None;
        }
        Some(waiting)
    }

    fn take_late(&mut self, now: Instant) -> Option<Waiting<T>> {
        let is_late = |tenant: &&Arc<str>| {
            self.tenants
                .get(*tenant)
                .is_some_and(|tenant| tenant.queue.has_late(now))
        };
        let tenant = self.turns.iter().find(is_late)?.clone();
        let waiting = self.take_of(&tenant, |queue| queue.take_late(now))?;
        self.forget_if_idle(&tenant);
        Some(waiting)
    }

    fn plan_sweep(&mut self, now: Instant) {
        let queues = self
            .turns
            .iter()
            .filter_map(|tenant| self.tenants.get(tenant));
        let next = queues.filter_map(|tenant| tenant.queue.next_late()).min();
        self.next_sweep = next.map(|at| at.max(now + SWEEP_EVERY));
    }

    fn forget_if_idle(&mut self, tenant: &Arc<str>) {
        if self
            .tenants
            .get(tenant)
            .is_some_and(|tenant| tenant.held == 0 && tenant.queue.is_empty())
        {
            self.tenants.remove(tenant);
        }
    }
}

impl<T> Default for Tenant<T> {
    fn default() -> Self {
        Self {
            held: 0,
            queue: Queue::default(),
        }
    }
}

#[cfg(test)]
mod tests;
