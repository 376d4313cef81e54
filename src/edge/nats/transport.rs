//! Calls to extensions over NATS. They are spread over several connections by their subject,
//! because an answer that the client cannot read ends the connection that it comes by: it costs
//! what else is called there, and an extension that does it again is called over a connection of
//! its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use beamline_actors::ports::{Answer, Answers, Call, Transport, TransportError};
use beamline_actors::tree::{Child, Node, NodeKind};
use beamline_contract::trace::Carried;
use bytes::Bytes;
use futures_util::future::{BoxFuture, select_all, try_join_all};
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use super::connections::Connections;
use super::replies::Reading;

mod apart;
mod lane;
mod suspects;

use apart::{Alone, Apart};
use lane::{HEADER_ROOM, Lane, UsualTrip};

/// A connection that was ended alone is back long before.
const BACK_LIMIT: Duration = Duration::from_secs(1);

/// Calls extensions.
#[derive(Debug, Clone)]
pub struct NatsTransport {
    bus: Arc<Bus>,
}

#[derive(Debug)]
struct Bus {
    /// Where it goes when no connection stands.
    first: Arc<Lane>,
    lanes: Vec<Arc<Lane>>,
    apart: Arc<Apart>,
    usual_trip: Arc<UsualTrip>,
    /// Messages to ourselves so far: each goes over another connection than the one before.
    trips: AtomicUsize,
    /// What is still to be read, for the task that does.
    handed: tokio::sync::Mutex<mpsc::UnboundedReceiver<Reading>>,
}

impl NatsTransport {
    /// Subscribes to the answers. Fails with [`TransportError::NotConnected`] when a connection
    /// takes nothing.
    pub async fn new(connections: &Connections) -> Result<Self, TransportError> {
        let (hand_over, handed) = mpsc::unbounded_channel();
        let usual_trip = Arc::new(UsualTrip::default());
        let opening = connections.calls.iter().map(|connection| {
            let usual_trip = Arc::clone(&usual_trip);
            Lane::open(connection.clone(), usual_trip, hand_over.clone())
        });
        let lanes = try_join_all(opening).await?;
        let first = lanes.first().cloned();
        let first = first.ok_or(TransportError::NotConnected)?;
        let apart = Apart::new(connections, &lanes, &usual_trip, hand_over);
        let bus = Bus {
            first,
            lanes,
            apart,
            usual_trip,
            trips: AtomicUsize::new(0),
            handed: tokio::sync::Mutex::new(handed),
        };
        Ok(Self { bus: Arc::new(bus) })
    }

    /// The tasks that read the answers to calls, and that set extensions apart. Until the first
    /// runs, answers wait.
    pub fn children(&self) -> Vec<Child> {
        let bus = Arc::clone(&self.bus);
        let forgeries = self.bus.apart.forgeries();
        let node = Node::new("answers", NodeKind::Worker);
        node.describe(move |view| view.security_events = Some(forgeries.all()));
        let answers = Child::task(&node, move || Arc::clone(&bus).read_answers());
        vec![answers, self.bus.apart.child()]
    }

    /// How long a message to ourselves takes; `None` when it does not come back in time, or there
    /// is no connection.
    pub(crate) async fn round_trip(&self, limit: Duration) -> Option<Duration> {
        let connected: Vec<&Arc<Lane>> = self.bus.connected().collect();
        let trip = self.bus.trips.fetch_add(1, Ordering::Relaxed);
        let lane = connected.get(trip.checked_rem(connected.len())?)?;
        let deadline = Instant::now() + limit;
        // Over the client of the moment, so that one that was replaced goes also while nobody
        // calls.
        let replies = lane.replies(deadline).await.ok()?;
        let begun = Instant::now();
        let mut expected = replies.expect_own();
        let trip = async {
            expected.send_to_self(replies.client()).await;
            expected.answer().await
        };
        timeout_at(deadline, trip).await.ok()??;
        Some(begun.elapsed())
    }

    /// What that usually takes; a bus that is far away is not late.
    pub(crate) fn trips_take(&self, usual: Duration) {
        self.bus.usual_trip.set(usual);
    }

    #[cfg(test)]
    pub(crate) fn usual_trip(&self) -> Duration {
        self.bus.usual_trip.get()
    }

    /// One call and its one answer.
    #[cfg(test)]
    pub(super) fn ask(&self, call: Call) -> BoxFuture<'static, Result<Answer, TransportError>> {
        let bus = Arc::clone(&self.bus);
        Box::pin(async move { bus.call(call).await })
    }

    /// Calls that wait for an answer.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.bus.lanes.iter().map(|lane| lane.waiting()).sum()
    }
}

impl Transport for NatsTransport {
    fn call(&self, call: Call) -> Answers {
        let bus = Arc::clone(&self.bus);
        // A whole answer is one message; frames are asked for by a header that calls do not have.
        Box::pin(stream::once(async move { bus.call(call).await }))
    }

    fn ping(
        &self,
        extension_id: &str,
        limit: Duration,
    ) -> BoxFuture<'static, Result<bool, TransportError>> {
        let call = ping_of(extension_id, limit);
        let lane = self.bus.lane_for(&call.subject);
        Box::pin(async move { lane.ping(call).await })
    }

    fn away_for(&self) -> Option<Duration> {
        // One that stands is enough; else what counts is the one that was lost last.
        let away: Option<Vec<Duration>> = self
            .bus
            .lanes
            .iter()
            .map(|lane| lane.connection.away_for())
            .collect();
        away?.into_iter().min()
    }

    fn back(&self) -> BoxFuture<'_, ()> {
        let back = self.bus.lanes.iter();
        let back = back.map(|lane| Box::pin(lane.connection.back()));
        Box::pin(async move { drop(select_all(back).await) })
    }

    fn is_settled(&self) -> bool {
        // One that stood while others were lost: the server was there all the time.
        self.bus
            .connected()
            .any(|lane| lane.connection.is_settled())
    }

    fn max_body(&self) -> usize {
        let rooms = self.bus.lanes.iter().map(|lane| lane.room(HEADER_ROOM));
        rooms.min().unwrap_or_default()
    }
}

impl Bus {
    async fn call(&self, call: Call) -> Result<Answer, TransportError> {
        if let Some(alone) = self.apart.lane_of(&call.subject) {
            return self.call_alone(&alone, call).await;
        }
        self.lane_for(&call.subject).call(call).await
    }

    /// There is no other connection for it, so one that is on its way back is waited for.
    async fn call_alone(&self, alone: &Alone, mut call: Call) -> Result<Answer, TransportError> {
        let begun = Instant::now();
        let connection = &alone.lane.connection;
        let back = timeout(BACK_LIMIT.min(call.timeout), connection.back());
        if back.await.is_err() {
            return Err(TransportError::NotConnected);
        }
        call.timeout = call.timeout.saturating_sub(begun.elapsed());
        match alone.lane.call(call).await {
            // Nobody else is called there, so nobody else can have ended it.
            Err(TransportError::NotConnected) if alone.broke(&self.lanes) => {
                let problem = "its answers have headers that nobody can read";
                Err(TransportError::Malformed(problem.to_owned()))
            }
            answer => answer,
        }
    }

    /// The same for all calls of a subject, as long as it is connected.
    fn lane_for(&self, subject: &str) -> Arc<Lane> {
        let home = spread(subject, self.lanes.len());
        let mut in_order = self.lanes.iter().cycle().skip(home).take(self.lanes.len());
        let connected = in_order.find(|lane| lane.connection.is_connected());
        Arc::clone(connected.unwrap_or(&self.first))
    }

    fn connected(&self) -> impl Iterator<Item = &Arc<Lane>> {
        let lanes = self.lanes.iter();
        lanes.filter(|lane| lane.connection.is_connected())
    }

    /// Over one client after the other, and over two while one takes the place of another.
    async fn read_answers(self: Arc<Self>) -> Result<(), JoinError> {
        let mut handed = self.handed.lock().await;
        let mut readers = JoinSet::new();
        loop {
            tokio::select! {
                Some(reading) = handed.recv() => drop(readers.spawn(reading.run())),
                Some(ended) = readers.join_next() => ended?,
            }
        }
    }
}

fn spread(subject: &str, over: usize) -> usize {
    let over = u64::try_from(over).unwrap_or(1).max(1);
    let place = xxhash_rust::xxh3::xxh3_64(subject.as_bytes()) % over;
    usize::try_from(place).unwrap_or_default()
}

/// What the NATS service protocol asks of all processes of one service; an extension's service has
/// its id as name.
fn ping_of(extension_id: &str, limit: Duration) -> Call {
    Call {
        subject: format!("$SRV.PING.{extension_id}").into(),
        body: Bytes::new(),
        traceparent: "".into(),
        carried: Carried::default(),
        trace_id: "".into(),
        tenant_id: "".into(),
        timeout: limit,
        attempt: 1,
    }
}
