//! How long a message to ourselves takes through the bus.

use std::sync::Arc;
use std::time::Duration;

use beamline_actors::door::Door;
use beamline_actors::fail_points;
use beamline_actors::metrics::Metrics;
use beamline_actors::tree::OnDrop;
use beamline_domain::admission::TripTimes;
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::edge::nats::NatsTransport;

const EVERY: Duration = Duration::from_millis(20);
/// A message that took longer is lost, or the bus is gone.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct RoundTrips {
    pub(super) transport: NatsTransport,
    pub(super) door: Door,
    pub(super) metrics: Metrics,
    /// Kept when the task is made anew: while the bus is late, nobody could learn what is usual.
    pub(super) times: Mutex<TripTimes>,
    /// Held by the task that tells the door. Without it, one that is about to end could take back
    /// what the next one has told.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl RoundTrips {
    /// Sends one after the other, without end.
    pub(super) async fn watch(self: Arc<Self>) {
        let _turn = self.turn.lock().await;
        let _take_back = OnDrop::new(|| self.tell(Duration::ZERO));
        loop {
            sleep(EVERY).await;
            fail_points::reached("round_trips");
            let excess = self.measure().await;
            self.tell(excess);
        }
    }

    /// By how much the next one was slower than usual.
    async fn measure(&self) -> Duration {
        let took = self.transport.round_trip(LIMIT).await;
        let mut times = self.times.lock();
        let Some(took) = took else {
            times.lost();
            return Duration::ZERO;
        };
        let excess = times.took(took);
        self.transport.trips_take(times.usual());
        excess
    }

    fn tell(&self, excess: Duration) {
        self.door.trips_take_longer(excess);
        self.metrics.bus_lag.set(excess.as_secs_f64());
    }
}
