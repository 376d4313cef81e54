//! The permits of a half-open breaker under every interleaving of some tasks: never too many are
//! out, and all come home. The guard is the one that calls use; only the lock is loom's, so that it
//! can try every order.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use beamline_actors::targets::{Gate, Held};
use beamline_contract::record::{BreakerOverrides, BreakerSetting, Kind};
use beamline_domain::target::Tenant;
use beamline_domain::target::breaker::{Breaker, CallEnd, Mode, Outcome, Permit, Settings, State};
use loom::model::Builder;
use loom::sync::Mutex;
use loom::thread;

const TIMEOUT: Duration = Duration::from_secs(1);

/// A breaker behind a lock, at one moment.
#[derive(Debug)]
struct Target {
    breaker: Mutex<Breaker>,
    /// Not loom's: it only watches, and would double the orders to try.
    out: AtomicUsize,
    now: Instant,
}

impl Gate for Target {
    type Breaker = ();

    fn returned(&self, (): &(), permit: Permit, settings: &Settings, end: CallEnd) {
        self.breaker
            .lock()
            .unwrap()
            .record(permit, end, settings, self.now, 0.5);
    }
}

impl Target {
    /// One that has opened and may be probed.
    fn half_open(settings: &Settings) -> Arc<Self> {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        let permit = breaker
            .check(Tenant::NOBODY, Mode::Normal, settings, start, 0.5)
            .unwrap();
        breaker.record(
            permit,
            CallEnd::new(Outcome::Failure, Duration::ZERO),
            settings,
            start,
            0.5,
        );
        let now = start + settings.open_cap;
        assert_eq!(breaker.state(now), State::HalfOpen);
        Arc::new(Self {
            breaker: Mutex::new(breaker),
            out: AtomicUsize::new(0),
            now,
        })
    }

    fn permit(self: &Arc<Self>, settings: &Settings) -> Option<Held<Self>> {
        let permit = self
            .breaker
            .lock()
            .unwrap()
            .check(Tenant::NOBODY, Mode::Normal, settings, self.now, 0.5)
            .ok()?;
        Some(Held::new(
            Arc::clone(self),
            (),
            permit,
            *settings,
            Instant::now(),
        ))
    }

    /// A probe, as far as it is granted, and how it ends.
    fn probe(self: &Arc<Self>, settings: &Settings, end: End) {
        let Some(permit) = self.permit(settings) else {
            return;
        };
        let most = usize::try_from(settings.half_open_permits).unwrap();
        assert!(
            self.out.fetch_add(1, Ordering::SeqCst) < most,
            "too many probes are out"
        );
        // The others may go on here.
        thread::yield_now();
        self.out.fetch_sub(1, Ordering::SeqCst);
        match end {
            End::Told(outcome) => permit.finish(outcome, Duration::ZERO),
            End::Cancelled => drop(permit),
            End::Panicked => {
                let attempt = AssertUnwindSafe(move || {
                    let _held = permit;
                    std::panic::resume_unwind(Box::new("the attempt panicked"));
                });
                catch_unwind(attempt).unwrap_err();
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum End {
    Told(Outcome),
    Cancelled,
    Panicked,
}

fn settings(permits: u32) -> Settings {
    let mut written = BreakerOverrides::default();
    written.set(BreakerSetting::ConsecutiveFailures, 1);
    written.set(BreakerSetting::HalfOpenPermits, permits);
    Settings::new(Kind::Pre, TIMEOUT, &written)
}

/// Three tasks that each make a probe, in every order with at most three switches in the middle of
/// one.
fn in_every_order(permits: u32, ends: [End; 3], holds: impl Fn(&Target) + Send + Sync + 'static) {
    let mut model = Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let settings = settings(permits);
        let target = Target::half_open(&settings);
        let spawn = |end| {
            let target = Arc::clone(&target);
            thread::spawn(move || target.probe(&settings, end))
        };
        let [here, first, second] = ends;
        let tasks = [spawn(first), spawn(second)];
        target.probe(&settings, here);
        for task in tasks {
            task.join().unwrap();
        }
        assert_eq!(
            target.breaker.lock().unwrap().in_flight(),
            0,
            "a permit is lost"
        );
        holds(&target);
    });
}

#[test]
fn permits_come_home_from_whatever_happens_to_a_probe() {
    for permits in [1, 2] {
        in_every_order(
            permits,
            [End::Cancelled, End::Panicked, End::Told(Outcome::Ignored)],
            |target| {
                let breaker = target.breaker.lock().unwrap();
                assert_eq!(
                    breaker.state(target.now),
                    State::HalfOpen,
                    "nothing was told"
                );
            },
        );
        in_every_order(
            permits,
            [End::Told(Outcome::Success), End::Panicked, End::Cancelled],
            |target| {
                assert_eq!(
                    target.breaker.lock().unwrap().state(target.now),
                    State::HalfOpen
                );
            },
        );
    }
}

#[test]
fn one_failed_probe_opens_it_whatever_the_others_say() {
    let ends = [
        End::Told(Outcome::Success),
        End::Told(Outcome::Failure),
        End::Told(Outcome::Success),
    ];
    in_every_order(3, ends, |target| {
        assert!(matches!(
            target.breaker.lock().unwrap().state(target.now),
            State::Open { .. }
        ));
    });
}
