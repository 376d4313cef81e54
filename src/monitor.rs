//! Watches how late the runtime is and how much memory is in use, and tells the door.
//!
//! The watching thread is not one of the runtime's: those may all be blocked. A timer of the runtime says that it lives, and
//! the thread looks how long ago that was.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use beamline_actors::door::Door;
use beamline_actors::invokers::Invokers;
use beamline_actors::metrics::Metrics;
use beamline_actors::tree::OwnedTask;
use beamline_domain::admission::{Pressure, PressureGauge, Reading, TripTimes};

use crate::edge::nats::NatsTransport;

mod memory;

/// Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Monitor {
    _timer: OwnedTask,
    _trips: OwnedTask,
    _stop: mpsc::Sender<()>,
}

/// Who is told of what is measured.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) door: Door,
    pub(crate) invokers: Invokers,
    pub(crate) metrics: Metrics,
    pub(crate) transport: NatsTransport,
}

/// When the timer of the runtime ran last, in nanoseconds since `begun`.
#[derive(Debug)]
struct Pulse {
    begun: Instant,
    last: AtomicU64,
}

const TICK: Duration = Duration::from_millis(10);
const TRIP_EVERY: Duration = Duration::from_millis(20);
/// A message that took longer is lost, or the bus is gone.
const TRIP_LIMIT: Duration = Duration::from_secs(5);
/// Memory is looked at, and the figures are shown, once in so many ticks.
const SELDOM: u32 = 25;

impl Monitor {
    /// Needs a runtime, the one that is watched. Without a limit, memory is not watched.
    pub(crate) fn start(watched: Watched, memory_limit: Option<usize>) -> io::Result<Self> {
        let pulse = Arc::new(Pulse {
            begun: Instant::now(),
            last: AtomicU64::new(0),
        });
        let beating = Arc::clone(&pulse);
        let timer = OwnedTask::spawn(async move {
            loop {
                tokio::time::sleep(TICK).await;
                beating.beat();
            }
        });
        let (door, metrics) = (watched.door.clone(), watched.metrics.clone());
        let trips = OwnedTask::spawn(watch_trips(watched.transport.clone(), door, metrics));
        let (stop, stopped) = mpsc::channel();
        let watch = move || watch(&watched, &pulse, memory_limit, &stopped);
        std::thread::Builder::new()
            .name("monitor".into())
            .spawn(watch)?;
        Ok(Self {
            _timer: timer,
            _trips: trips,
            _stop: stop,
        })
    }
}

/// Sends messages to itself through the bus, one after the other.
async fn watch_trips(transport: NatsTransport, door: Door, metrics: Metrics) {
    let mut times = TripTimes::default();
    loop {
        tokio::time::sleep(TRIP_EVERY).await;
        let excess = match transport.round_trip(TRIP_LIMIT).await {
            Some(took) => {
                let excess = times.took(took);
                transport.trips_take(times.usual());
                excess
            }
            None => {
                times.lost();
                Duration::ZERO
            }
        };
        door.trips_take_longer(excess);
        metrics.bus_lag.set(excess.as_secs_f64());
    }
}

fn watch(
    watched: &Watched,
    pulse: &Pulse,
    memory_limit: Option<usize>,
    stopped: &mpsc::Receiver<()>,
) {
    let (mut gauge, mut level) = (PressureGauge::default(), Pressure::None);
    let (mut memory, mut worst) = (None, Duration::ZERO);
    for look in (0..SELDOM).cycle() {
        if stopped.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let lag = pulse.lag();
        worst = worst.max(lag);
        if look == 0 {
            memory = memory_limit.and_then(memory::share_of);
            watched.metrics.memory_used.set(memory.unwrap_or_default());
            watched.metrics.lag.set(worst.as_secs_f64());
            worst = Duration::ZERO;
        }
        let now = Instant::now();
        let pressed = gauge.observe(Reading { memory, lag }, now);
        watched.invokers.lags(gauge.was_late(now));
        if pressed != level {
            watched.door.press(pressed);
            watched.metrics.pressure.set(pressed as i64);
            tell(pressed, lag, memory);
            level = pressed;
        }
    }
}

fn tell(level: Pressure, lag: Duration, memory: Option<f64>) {
    let (level, lag_ms) = (level.as_str(), lag.as_millis());
    if level == Pressure::None.as_str() {
        tracing::info!(
            level,
            lag_ms,
            memory,
            "this process has memory and time again"
        );
    } else {
        tracing::warn!(
            level,
            lag_ms,
            memory,
            "this process is short of memory or time; requests are refused"
        );
    }
}

impl Pulse {
    fn beat(&self) {
        let now = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// How late the timer is.
    fn lag(&self) -> Duration {
        let last = Duration::from_nanos(self.last.load(Ordering::Relaxed));
        self.begun
            .elapsed()
            .saturating_sub(last)
            .saturating_sub(TICK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_that_stops_is_later_and_later() {
        let ago = Duration::from_secs(2);
        let pulse = Pulse {
            begun: Instant::now().checked_sub(ago).unwrap(),
            last: AtomicU64::new(0),
        };
        assert!(pulse.lag() >= ago.saturating_sub(TICK));
        pulse.beat();
        assert!(pulse.lag() < ago.saturating_sub(TICK));
    }
}
