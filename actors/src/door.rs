//! The door: takes requests in, lets them wait or turns them away, and starts a pipeline for each
//! that has a place.
//!
//! A permit exists before an actor does, so load beyond the limit is refused here. Places come back
//! by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use beamline_domain::admission::{Claim, Pressure, Shed, Usage};
use beamline_domain::request::error::RequestError;
use ractor::actor::actor_cell::ACTIVE_STATES;
use ractor::{ActorCell, ActorRuntime};
use tokio::time::sleep_until;

use crate::entrance::{DoorPermit, Due, Entrance, Entry};
use crate::in_flight::{FlightTable, InFlight, Ledger};
use crate::incoming::Incoming;
use crate::invokers::Invokers;
use crate::metrics::Metrics;
use crate::pipeline::{Carried, Pipeline};
use crate::registry::Registry;
use crate::responder::Outgoing;
use crate::services::{PipelineServices, PipelineSettings};
use crate::sessions::Sessions;
use crate::story::{Ended, Observer};
use crate::tree::{Address, Node, NodeKind, OnDrop, TreeNode};

mod refusal;

use refusal::{refusal, restarting};

/// The way in; all clones share it.
#[derive(Debug, Clone)]
pub struct Door {
    shared: Arc<DoorState>,
}

#[derive(Debug)]
struct DoorState {
    services: Arc<PipelineServices>,
    entrance: Arc<Entrance>,
    flights: Arc<FlightTable>,
    ledger: Arc<Ledger>,
    metrics: Metrics,
    /// Requests that were turned away.
    turned_away: AtomicU64,
    /// The supervisor of the pipelines.
    address: Address<PipelinesMsg>,
}

/// What the supervisor of the pipelines hears from the door.
#[derive(Debug)]
pub enum PipelinesMsg {
    /// The task that serves the queue is gone.
    QueueUnserved,
    /// For tests of the supervision: fails the actor.
    #[cfg(any(test, feature = "testing"))]
    Crash,
}

/// Requests in flight that the tree shows.
const SHOWN: usize = 50;

impl Door {
    pub fn new(
        settings: PipelineSettings,
        registry: Registry,
        invokers: Invokers,
        sessions: Sessions,
        metrics: Metrics,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let node = Node::new("pipelines", NodeKind::Supervisor);
        let shared = Arc::new(DoorState {
            entrance: Entrance::new(settings.admission, metrics.clone()),
            services: Arc::new(PipelineServices {
                settings,
                registry,
                invokers,
                sessions,
            }),
            flights: Arc::default(),
            ledger: Arc::new(Ledger::new(metrics.clone(), observer)),
            metrics,
            turned_away: AtomicU64::new(0),
            address: Address::new(Arc::clone(&node)),
        });
        let shown = Arc::downgrade(&shared);
        node.describe(move |view| {
            if let Some(shared) = shown.upgrade() {
                shared.describe(view);
            }
        });
        Self { shared }
    }

    /// Takes a request in. Never waits: when this returns, the request is in flight, in the queue,
    /// or refused.
    pub fn admit(&self, incoming: Incoming) {
        let shared = &self.shared;
        shared.ledger.received();
        shared.address.node().count_handled();
        let Some(supervisor) = shared.supervisor() else {
            return shared.refuse(incoming, &restarting());
        };
        let limits = &shared.services.settings.requests;
        let claim = Claim::read(&incoming.headers, &incoming.body, limits);
        // Counted before: one that waits may be answered before this returns.
        shared.ledger.taken();
        match shared.entrance.enter(claim, incoming) {
            Entry::Started(incoming, permit) => shared.start(incoming, permit, supervisor),
            Entry::Queued { displaced: None } => {}
            Entry::Queued {
                displaced: Some(shed),
            }
            | Entry::Shed(shed) => shared.turn_away(shed),
        }
    }

    /// Refuses a request that is not to be read.
    pub fn refuse(&self, incoming: Incoming, error: &RequestError) {
        self.shared.ledger.received();
        self.shared.address.node().count_handled();
        self.shared.refuse(incoming, error);
    }

    /// Requests taken in and not answered.
    pub fn in_flight(&self) -> usize {
        self.shared.ledger.unanswered()
    }

    /// Requests that were turned away so far.
    pub fn turned_away(&self) -> u64 {
        self.shared.turned_away.load(Ordering::Relaxed)
    }

    /// What is in use.
    pub fn usage(&self) -> Usage {
        self.shared.entrance.usage()
    }

    /// Makes the door refuse more, or less again. Cheap, and may be called from any thread.
    pub fn press(&self, pressure: Pressure) {
        self.shared.entrance.press(pressure);
    }

    /// What a trip through the bus takes longer than usual at the moment: requests on it wait for
    /// this router as well.
    pub fn trips_take_longer(&self, excess: Duration) {
        self.shared.entrance.trips_take_longer(excess);
    }

    pub fn pressure(&self) -> Pressure {
        self.shared.entrance.pressure()
    }

    /// Waits until nothing is in flight, at most `limit`; false when something still is.
    pub async fn is_idle_within(&self, limit: Duration) -> bool {
        self.shared.ledger.is_idle_within(limit).await
    }

    /// Answers `shutting_down` to everything in flight and waiting; says how many that were.
    pub fn cut(&self) -> usize {
        let error = RequestError::shutting_down();
        let mut cut = self.shared.answer_queue(&error);
        for request in self.shared.flights.all() {
            cut += usize::from(request.fail(&error));
        }
        cut
    }

    pub fn services(&self) -> &Arc<PipelineServices> {
        &self.shared.services
    }

    pub fn node(&self) -> &Arc<Node> {
        self.shared.address.node()
    }

    /// For tests of the supervision: fails the supervisor of the pipelines.
    #[cfg(any(test, feature = "testing"))]
    pub fn crash(&self) {
        let _ = self.shared.address.send(PipelinesMsg::Crash);
    }

    pub(crate) fn address(&self) -> &Address<PipelinesMsg> {
        &self.shared.address
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(crate) fn flights(&self) -> &FlightTable {
        &self.shared.flights
    }

    /// Another actor goes on with a request whose first one failed.
    pub(crate) fn restart(&self, request: Arc<InFlight>, supervisor: ActorCell) {
        *request.supervisor.lock() = supervisor.get_id();
        self.shared.carry(request, supervisor);
    }

    /// Lets in who waits as places come free, and turns away who has waited long enough, as long as
    /// it is not dropped.
    pub(crate) async fn serve_queue(self, ended: impl FnOnce()) {
        let shared = Arc::clone(&self.shared);
        // Nobody else would serve those who wait.
        let _ended = OnDrop::new(move || {
            shared.answer_queue(&restarting());
            ended();
        });
        let entrance = &self.shared.entrance;
        loop {
            let due = entrance.due();
            let again = due.again;
            self.shared.serve(due);
            match again {
                Some(at) => tokio::select! {
                    () = entrance.changed() => {}
                    () = sleep_until(at) => {}
                },
                None => entrance.changed().await,
            }
        }
    }
}

impl DoorState {
    /// The supervisor of the moment, if it is at work.
    fn supervisor(&self) -> Option<ActorCell> {
        let cell = self.address.cell()?;
        ACTIVE_STATES.contains(&cell.get_status()).then_some(cell)
    }

    fn start(&self, incoming: Incoming, permit: DoorPermit, supervisor: ActorCell) {
        let ledger = Arc::clone(&self.ledger);
        let request = InFlight::new(incoming, permit, ledger, supervisor.get_id());
        self.carry(request, supervisor);
    }

    fn carry(&self, request: Arc<InFlight>, supervisor: ActorCell) {
        let carried = Carried {
            request,
            services: Arc::clone(&self.services),
            flights: Arc::clone(&self.flights),
        };
        // An actor that cannot start drops the request, and a dropped request is answered.
        let _ = ActorRuntime::<Pipeline>::spawn_linked_instant(None, Pipeline, carried, supervisor);
    }

    /// Does what is due for those who wait.
    fn serve(&self, due: Due) {
        for shed in due.shed {
            self.turn_away(shed);
        }
        for (incoming, permit) in due.started {
            match self.supervisor() {
                Some(supervisor) => self.start(incoming, permit, supervisor),
                None => {
                    self.refuse(incoming, &restarting());
                    self.ledger.gone();
                }
            }
        }
    }

    /// Answers one that was turned away.
    fn turn_away(&self, shed: Shed<Incoming>) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        self.refuse(shed.item, &refusal(shed.reason));
        self.ledger.gone();
    }

    /// Answers everybody who waits; says how many that were.
    fn answer_queue(&self, error: &RequestError) -> usize {
        let waiting = self.entrance.drain();
        let count = waiting.len();
        for incoming in waiting {
            self.refuse(incoming, error);
            self.ledger.gone();
        }
        count
    }

    fn refuse(&self, incoming: Incoming, error: &RequestError) {
        let correlation = incoming.headers.correlation(|| fastrand::u64(..));
        self.ledger
            .answered(incoming.edge, incoming.kind, error.code.as_str());
        let ended = Ended::refused(
            incoming.edge,
            incoming.kind,
            error.code.as_str(),
            &correlation,
            incoming.received,
        );
        incoming
            .responder
            .answer(Outgoing::error(error, &correlation));
        self.ledger.observer.refused(ended);
    }

    fn describe(&self, view: &mut TreeNode) {
        let all = self.flights.all();
        let usage = self.entrance.usage();
        view.in_flight = Some(usage.in_flight as u64);
        view.limit = Some(usage.limit as u64);
        view.ceiling = Some(usage.ceiling as u64);
        view.waiting = Some(usage.queued as u64);
        view.omitted_children = all.len().saturating_sub(SHOWN) as u64;
        view.children = all
            .iter()
            .take(SHOWN)
            .map(|request| request.view())
            .collect();
    }
}
