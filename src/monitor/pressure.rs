//! How late the runtime is, and how much memory is in use.
//!
//! A thread watches that is not one of the runtime's: those may all be blocked. A timer of the
//! runtime says that it lives, and the thread looks how long ago that was. The two are one task, so
//! that none goes on without the other.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use beamline_actors::door::Door;
use beamline_actors::fail_points;
use beamline_actors::invokers::Invokers;
use beamline_actors::metrics::Metrics;
use beamline_actors::tree::{OnDrop, on_own_thread};
use beamline_domain::admission::{Pressure, PressureGauge, Reading};
use parking_lot::Mutex;

use super::memory;

const TICK: Duration = Duration::from_millis(10);
/// Memory is looked at, and the figures are shown, once in so many ticks.
const SELDOM: u32 = 25;

/// What is watched by one thread after the other.
#[derive(Debug)]
pub(super) struct PressureWatch {
    door: Door,
    invokers: Invokers,
    metrics: Metrics,
    memory_limit: Option<usize>,
    /// Held by the thread that tells the door. Without it, one that is about to end could take back
    /// what the next one has told.
    turn: Mutex<()>,
}

/// When the timer of the runtime ran last, in nanoseconds since `begun`.
#[derive(Debug)]
struct Pulse {
    begun: Instant,
    last: AtomicU64,
}

impl PressureWatch {
    pub(super) fn new(
        door: Door,
        invokers: Invokers,
        metrics: Metrics,
        memory_limit: Option<usize>,
    ) -> Self {
        Self {
            door,
            invokers,
            metrics,
            memory_limit,
            turn: Mutex::new(()),
        }
    }

    /// Watches the runtime that it runs in, until it is dropped.
    pub(super) async fn watch(self: Arc<Self>) -> io::Result<()> {
        let pulse = Arc::new(Pulse::begin());
        let seen = Arc::clone(&pulse);
        let (_stop_on_drop, stopped) = mpsc::channel();
        let thread = on_own_thread("monitor", move || self.look(&seen, &stopped));
        tokio::select! {
            ended = thread => ended,
            () = pulse.beat() => Ok(()),
        }
    }

    fn look(&self, pulse: &Pulse, stopped: &mpsc::Receiver<()>) {
        let _turn = self.turn.lock();
        let _take_back = OnDrop::new(|| self.take_back());
        let mut gauge = PressureGauge::default();
        let mut level = Pressure::None;
        let mut memory = None;
        let mut worst = Duration::ZERO;
        for look in (0..SELDOM).cycle() {
            if stopped.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let lag = pulse.lag();
            worst = worst.max(lag);
            if look == 0 {
                fail_points::reached("pressure");
                memory = self.memory_limit.and_then(memory::share_of);
                self.show(memory, worst);
                worst = Duration::ZERO;
            }
            let now = Instant::now();
            let pressed = gauge.observe(Reading { memory, lag }, now);
            self.invokers.lags(gauge.was_late(now));
            if pressed != level {
                self.press(pressed);
                log(pressed, lag, memory);
                level = pressed;
            }
        }
    }

    fn show(&self, memory: Option<f64>, lag: Duration) {
        self.metrics.memory_used.set(memory.unwrap_or_default());
        self.metrics.lag.set(lag.as_secs_f64());
    }

    fn press(&self, level: Pressure) {
        self.door.press(level);
        self.metrics.pressure.set(level as i64);
    }

    fn take_back(&self) {
        self.press(Pressure::None);
        self.invokers.lags(false);
        self.show(None, Duration::ZERO);
    }
}

fn log(level: Pressure, lag: Duration, memory: Option<f64>) {
    let lag_ms = lag.as_millis();
    let is_over = level == Pressure::None;
    let level = level.as_str();
    if is_over {
        tracing::info!(
            level,
            lag_ms,
            memory,
            recovered = true,
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
    fn begin() -> Self {
        Self {
            begun: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// Beats without end.
    async fn beat(&self) {
        loop {
            tokio::time::sleep(TICK).await;
            self.beat_once();
        }
    }

    fn beat_once(&self) {
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
        pulse.beat_once();
        assert!(pulse.lag() < ago.saturating_sub(TICK));
    }
}
