//! Admission under a lock that is never held for long.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

mod work;

use crate::incoming::Incoming;
use crate::metrics::{Metrics, ShedLabel};
use beamline_domain::admission::{
    Admission, AdmissionPlace, AdmissionSettings, Arrived, Claim, Polled, Pressure, Shed, Usage,
};
pub(crate) use work::Steps;
use work::Work;

/// Where requests get their places.
#[derive(Debug)]
pub(crate) struct Entrance {
    admission: Mutex<Admission<Incoming>>,
    /// Somebody waits, and there may be a place, or a wait that ends earlier than was planned.
    changed: Notify,
    work: Arc<Work>,
    metrics: Metrics,
}

/// Smaller changes of what a request takes cost more to count than they matter.
const WORTH_COUNTING: usize = 4096;

/// A place at the door. It goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct DoorPermit {
    entrance: Arc<Entrance>,
    place: Option<AdmissionPlace>,
}

/// What became of a request at the door.
#[derive(Debug)]
pub(crate) enum Entry {
    Started(Incoming, DoorPermit),
    Queued { displaced: Option<Shed<Incoming>> },
    Shed(Shed<Incoming>),
}

/// What is to be done for those who waited.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub(crate) started: Vec<(Incoming, DoorPermit)>,
    pub(crate) shed: Vec<Shed<Incoming>>,
    /// When to look again, unless something changes before.
    pub(crate) again: Option<Instant>,
}

impl Entrance {
    pub(crate) fn new(settings: AdmissionSettings, metrics: Metrics) -> Arc<Self> {
        metrics.requests_limit.set(gauge(settings.max_in_flight));
        metrics.requests_ceiling.set(gauge(settings.max_in_flight));
        Arc::new(Self {
            admission: Mutex::new(Admission::new(settings)),
            changed: Notify::new(),
            work: Arc::default(),
            metrics,
        })
    }

    /// Lets a request in, lets it wait, or turns it away.
    pub(crate) fn enter(self: &Arc<Self>, claim: Claim, incoming: Incoming) -> Entry {
        let now = Instant::now().into_std();
        let mut admission = self.admission.lock();
        let more = self.look(&mut admission, now);
        let arrived = admission.arrive(claim, incoming, now);
        self.show(admission.usage());
        drop(admission);
        if more {
            self.changed.notify_one();
        }
        match arrived {
            Arrived::Started(place, incoming) => Entry::Started(incoming, self.permit(place)),
            Arrived::Queued { displaced, wake } => {
                if wake {
                    self.changed.notify_one();
                }
                Entry::Queued {
                    displaced: displaced.inspect(|shed| self.count(shed)),
                }
            }
            Arrived::Shed(shed) => {
                self.count(&shed);
                Entry::Shed(shed)
            }
        }
    }

    /// Everything that is due for those who wait.
    pub(crate) fn due(self: &Arc<Self>) -> Due {
        let now = Instant::now().into_std();
        let mut due = Due::default();
        let mut admission = self.admission.lock();
        self.look(&mut admission, now);
        loop {
            match admission.poll(now) {
                Polled::Start(place, incoming) => due.started.push((incoming, self.permit(place))),
                Polled::Shed(shed) => due.shed.push(shed),
                Polled::Wait(until) => {
                    due.again = until.map(Instant::from_std);
                    break;
                }
            }
        }
        self.show(admission.usage());
        drop(admission);
        due.shed.iter().for_each(|shed| self.count(shed));
        due
    }

    /// Resolves when there may be something due.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Everybody who waits, because nobody will serve them.
    pub(crate) fn drain(&self) -> Vec<Incoming> {
        let mut admission = self.admission.lock();
        let all = admission.drain();
        self.show(admission.usage());
        all
    }

    pub(crate) fn usage(&self) -> Usage {
        self.admission.lock().usage()
    }

    /// What the process is short of.
    pub(crate) fn press(&self, pressure: Pressure) {
        let mut admission = self.admission.lock();
        let more = admission.press(pressure, self.work.outside(), Instant::now().into_std());
        self.show(admission.usage());
        drop(admission);
        if more {
            self.changed.notify_one();
        }
    }

    /// What a trip through the bus takes longer than usual at the moment.
    pub(crate) fn trips_take_longer(&self, excess: Duration) {
        self.work.trips_take_longer(excess);
    }

    pub(crate) fn pressure(&self) -> Pressure {
        self.admission.lock().pressure()
    }

    /// Lets the limit follow what was counted, if it is time; true when more may start.
    fn look(&self, admission: &mut Admission<Incoming>, now: std::time::Instant) -> bool {
        if !admission.is_due(self.work.hops(), now) {
            return false;
        }
        admission.observe(self.work.take(), self.work.outside(), now)
    }

    fn permit(self: &Arc<Self>, place: AdmissionPlace) -> DoorPermit {
        DoorPermit {
            entrance: Arc::clone(self),
            place: Some(place),
        }
    }

    fn show(&self, usage: Usage) {
        self.metrics.requests_limit.set(gauge(usage.limit));
        self.metrics.requests_queued.set(gauge(usage.queued));
        self.metrics.request_bytes.set(gauge(usage.bytes));
    }

    fn count(&self, shed: &Shed<Incoming>) {
        let label = ShedLabel {
            reason: shed.reason.as_str(),
            priority: shed.priority.as_str(),
        };
        self.metrics.requests_shed.get_or_create(&label).inc();
    }
}

impl DoorPermit {
    /// Counts the steps of the request that starts now.
    pub(crate) fn steps(&self) -> Arc<Steps> {
        Arc::new(Steps::new(Arc::clone(&self.entrance.work)))
    }
}

impl DoorPermit {
    /// The request takes so many bytes by now.
    pub(crate) fn holds(&mut self, bytes: usize) {
        let Some(place) = &mut self.place else {
            return;
        };
        if place.bytes().abs_diff(bytes) < WORTH_COUNTING {
            return;
        }
        let mut admission = self.entrance.admission.lock();
        admission.holds(place, bytes);
        self.entrance.show(admission.usage());
    }
}

impl Drop for DoorPermit {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else {
            return;
        };
        let mut admission = self.entrance.admission.lock();
        let wanted = admission.leave(place);
        self.entrance.show(admission.usage());
        drop(admission);
        if wanted {
            self.entrance.changed.notify_one();
        }
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
