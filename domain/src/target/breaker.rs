//! The circuit breaker of one target: opens when calls fail or are slow, and closes when some
//! probes have succeeded.
//!
//! It never sees a request. It is asked whether a call may go, and told how the call ended. All
//! policies that call the target share it, because the traffic of each is evidence for all; each
//! outcome is judged by the settings of the call that brings it.

use std::time::{Duration, Instant};

mod mode;
mod overrides;
mod reading;
mod settings;
mod window;

pub use mode::Mode;
pub use overrides::{read_policy, read_record};
pub use reading::{BreakerReading, OpenReason, Opening, State};
pub use settings::Settings;
pub use window::Counts;

use window::Window;

/// How a call ended, as far as the breaker cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The extension did its work, whatever it said.
    Success,
    Failure,
    /// No answer in time: a failure, and slow.
    Timeout,
    /// A failure of an extension that says itself when to come back.
    AskedToWait(Duration),
    /// Says nothing about the extension: the router refused, the bus was away, the caller had no
    /// time.
    Ignored,
}

impl Outcome {
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failure | Self::Timeout | Self::AskedToWait(_))
    }
}

/// The right to make one call. Its outcome must be recorded; the generation tells a late one from a
/// timely one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    generation: u64,
    standing: Standing,
}

/// Whether the breaker itself let the call through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Granted,
    /// It is switched off: the outcome is counted and changes no state.
    Counted,
    /// It would have refused: the outcome is nothing that it could have seen.
    Unseen,
}

#[derive(Debug, Clone, Default)]
pub struct Breaker {
    phase: Phase,
    /// Changes with every transition.
    generation: u64,
    window: Window,
    /// Failures in a row.
    failures: u32,
    /// Replies since the last success that asked to come back later.
    waits_asked: u32,
    /// Open times without a quiet time between them.
    openings: u32,
    closed_at: Option<Instant>,
    /// When it opened first since it was closed.
    opened_at: Option<Instant>,
    last: Option<Opening>,
    /// Another replica's is open until then.
    suspect_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Phase {
    #[default]
    Closed,
    /// Refuses until then; the first call after it is a probe.
    Open { until: Instant },
    HalfOpen {
        in_flight: u32,
        /// Probes in flight that are enough.
        permits: u32,
        successes: u32,
        trial: Trial,
    },
}

/// How long it may stay half open.
#[derive(Debug, Clone, Copy)]
struct Trial {
    /// Without a verdict by then it is open again, until the other time.
    limit: Instant,
    reopen: Instant,
}

/// Replies that ask to come back later, after which they are obeyed.
const WAITS_ASKED: u32 = 2;
/// Longer waits are not obeyed, whatever its own open times are.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// While enough probes are out, others may ask again this much later.
const PROBED: Duration = Duration::from_secs(1);

impl Breaker {
    /// One that opened in an earlier life of the process, and still is.
    pub fn still_open(until: Instant, level: u32, last: Opening) -> Self {
        let phase = Phase::Open { until };
        let opened_at = Some(last.at);
        Self {
            phase,
            generation: 1,
            openings: level,
            opened_at,
            last: Some(last),
            ..Self::default()
        }
    }

    /// May a call go? If not, how long until the next try makes sense. `roll` is uniform in
    /// `0.0..1.0`.
    pub fn check(
        &mut self,
        mode: Mode,
        settings: &Settings,
        now: Instant,
        roll: f64,
    ) -> Result<Permit, Duration> {
        let permit = |standing, generation| Permit {
            generation,
            standing,
        };
        match mode {
            Mode::Disabled => Ok(permit(Standing::Counted, self.generation)),
            Mode::ForcedOpen(wait) => Err(wait),
            Mode::Normal => self
                .admit(settings, now, roll)
                .map(|()| permit(Standing::Granted, self.generation)),
            Mode::MetricsOnly => {
                let granted = self.admit(settings, now, roll).is_ok();
                let standing = if granted {
                    Standing::Granted
                } else {
                    Standing::Unseen
                };
                Ok(permit(standing, self.generation))
            }
        }
    }

    /// Takes the outcome of a call and how long it took. One from before the last change of state
    /// changes nothing.
    pub fn record(
        &mut self,
        permit: Permit,
        outcome: Outcome,
        took: Duration,
        settings: &Settings,
        now: Instant,
        roll: f64,
    ) {
        self.settle(now);
        if permit.generation != self.generation || permit.standing == Standing::Unseen {
            return;
        }
        if permit.standing == Standing::Counted {
            return self.count(outcome, took, settings, now);
        }
        if let Phase::HalfOpen { in_flight, .. } = &mut self.phase {
            *in_flight = in_flight.saturating_sub(1);
            return self.probed(outcome, settings, now, roll);
        }
        self.count(outcome, took, settings, now);
        if outcome == Outcome::Ignored {
            return;
        }
        let judged = if self.is_suspect(now) {
            &settings.wary()
        } else {
            settings
        };
        if let Some(reason) = self.too_bad(outcome, judged, now) {
            self.open(reason, settings, now, roll);
        }
    }

    /// A sign of life beside the traffic. It brings the next probe forward, but only calls close a
    /// breaker: what answers pings may still fail at its work. What the extension itself asked for
    /// is left alone.
    pub fn is_alive(&mut self, now: Instant) {
        self.settle(now);
        let asked = self.last.is_some_and(|last| last.reason.asked_to_wait());
        if let Phase::Open { until } = &mut self.phase
            && *until > now
            && !asked
        {
            *until = now;
        }
    }

    /// Another replica's breaker for this target is open until then. It opens nothing here, but
    /// fewer failures are enough while it lasts.
    pub fn suspect(&mut self, until: Instant) {
        self.suspect_until = self.suspect_until.max(Some(until));
    }

    /// Somebody knows better: closed, as if nothing had ever happened, but for why it opened last.
    /// What calls that are on their way bring changes nothing. True when it was open or half open.
    pub fn reset(&mut self, now: Instant) -> bool {
        let was_closed = matches!(self.phase, Phase::Closed);
        self.openings = 0;
        self.close(now);
        !was_closed
    }

    /// How long calls are kept back, if they are. Asking changes nothing.
    pub fn held_back(&self, mode: Mode, now: Instant) -> Option<Duration> {
        match (mode, self.phase_at(now)) {
            (Mode::Disabled | Mode::MetricsOnly, _) => None,
            (Mode::ForcedOpen(wait), _) => Some(wait),
            (Mode::Normal, Phase::Open { until }) => {
                Some(until.saturating_duration_since(now)).filter(|w| !w.is_zero())
            }
            (
                Mode::Normal,
                Phase::HalfOpen {
                    in_flight,
                    permits,
                    trial,
                    ..
                },
            ) if in_flight >= permits => {
                Some(PROBED.min(trial.limit.saturating_duration_since(now)))
            }
            (Mode::Normal, Phase::HalfOpen { .. } | Phase::Closed) => None,
        }
    }

    /// The state as of `now`: an open time that is over shows as half open, though no call has come
    /// yet.
    pub fn state(&self, now: Instant) -> State {
        match self.phase_at(now) {
            Phase::Closed => State::Closed,
            Phase::Open { until } if now < until => State::Open { until },
            Phase::Open { .. } | Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// The state as of the last transition that somebody has made.
    pub fn stored_state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { until } => State::Open { until },
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// What is shown of it.
    pub fn reading(&self, now: Instant) -> BreakerReading {
        let suspect_until = self.suspect_until.filter(|_| self.is_suspect(now));
        let Self {
            failures,
            opened_at,
            last,
            ..
        } = *self;
        BreakerReading {
            state: self.state(now),
            failures,
            opened_at,
            last,
            suspect_until,
        }
    }

    /// Open times in a row, the present one included.
    pub fn level(&self) -> u32 {
        self.openings
    }

    /// Changes with every transition.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    fn is_suspect(&self, now: Instant) -> bool {
        self.suspect_until.is_some_and(|until| now < until)
    }

    /// The calls of the last seconds.
    pub fn counts(&self, settings: &Settings, now: Instant) -> Counts {
        self.window.counts(settings.window, now)
    }

    /// Probes that are out.
    pub fn in_flight(&self) -> u32 {
        if let Phase::HalfOpen { in_flight, .. } = self.phase {
            in_flight
        } else {
            0
        }
    }

    fn admit(&mut self, settings: &Settings, now: Instant, roll: f64) -> Result<(), Duration> {
        self.settle(now);
        let openings = self.openings;
        let another = || Trial::from(now, settings, openings, roll);
        match &mut self.phase {
            Phase::Closed => Ok(()),
            Phase::Open { until } if now < *until => Err(*until - now),
            Phase::Open { .. } => {
                let permits = settings.half_open_permits;
                self.enter(Phase::HalfOpen {
                    in_flight: 1,
                    permits,
                    successes: 0,
                    trial: another(),
                });
                Ok(())
            }
            Phase::HalfOpen {
                in_flight, trial, ..
            } if *in_flight < settings.half_open_permits => {
                if now >= trial.limit {
                    *trial = another();
                }
                *in_flight += 1;
                Ok(())
            }
            Phase::HalfOpen { trial, .. } => {
                Err(PROBED.min(trial.limit.saturating_duration_since(now)))
            }
        }
    }

    /// Half open for too long, it has been open again since then.
    fn settle(&mut self, now: Instant) {
        if let (Phase::HalfOpen { trial, .. }, Phase::Open { until }) =
            (self.phase, self.phase_at(now))
        {
            self.last = Some(Opening {
                at: trial.limit,
                reason: OpenReason::NoVerdict,
            });
            self.enter(Phase::Open { until });
        }
    }

    fn phase_at(&self, now: Instant) -> Phase {
        match self.phase {
            // With a success and nobody out, it waits for traffic: where calls are rare, it would
            // never close otherwise.
            Phase::HalfOpen {
                in_flight,
                successes,
                trial,
                ..
            } if now >= trial.limit && (in_flight > 0 || successes == 0) => Phase::Open {
                until: trial.reopen,
            },
            phase @ (Phase::Closed | Phase::Open { .. } | Phase::HalfOpen { .. }) => phase,
        }
    }

    fn count(&mut self, outcome: Outcome, took: Duration, settings: &Settings, now: Instant) {
        match outcome {
            Outcome::Ignored => return,
            Outcome::Success => (self.failures, self.waits_asked) = (0, 0),
            Outcome::Failure | Outcome::Timeout => self.failures = self.failures.saturating_add(1),
            Outcome::AskedToWait(_) => {
                self.failures = self.failures.saturating_add(1);
                self.waits_asked = self.waits_asked.saturating_add(1);
            }
        }
        let slow = outcome == Outcome::Timeout || took >= settings.slow_call_duration;
        self.window.add(outcome.is_failure(), slow, now);
    }

    fn too_bad(&self, outcome: Outcome, settings: &Settings, now: Instant) -> Option<OpenReason> {
        if let Outcome::AskedToWait(wait) = outcome
            && self.waits_asked >= WAITS_ASKED
        {
            return Some(OpenReason::AskedToWait {
                wait: wait.min(LONGEST_WAIT),
            });
        }
        if self.failures >= settings.consecutive_failures {
            return Some(OpenReason::FailuresInARow {
                failures: self.failures,
            });
        }
        if self.window.is_clean(now) {
            return None;
        }
        let Counts {
            calls,
            failures,
            slow,
        } = self.window.counts(settings.window, now);
        let failing = Counts::percent(failures, calls);
        let dragging = Counts::percent(slow, calls);
        if calls < settings.minimum_calls {
            None
        } else if failing >= settings.failure_rate {
            Some(OpenReason::FailureRate {
                percent: failing,
                calls,
            })
        } else if settings.slow_call_rate < 100 && dragging >= settings.slow_call_rate {
            Some(OpenReason::SlowCalls {
                percent: dragging,
                calls,
            })
        } else {
            None
        }
    }

    fn probed(&mut self, outcome: Outcome, settings: &Settings, now: Instant, roll: f64) {
        match outcome {
            Outcome::Success => {
                let Phase::HalfOpen {
                    successes, trial, ..
                } = &mut self.phase
                else {
                    return;
                };
                *successes += 1;
                *trial = Trial::from(now, settings, self.openings, roll);
                if *successes >= settings.half_open_successes {
                    self.close(now);
                }
            }
            Outcome::Failure | Outcome::Timeout | Outcome::AskedToWait(_) => {
                self.failures = self.failures.saturating_add(1);
                let asked = if let Outcome::AskedToWait(wait) = outcome {
                    wait.min(LONGEST_WAIT)
                } else {
                    Duration::ZERO
                };
                self.open(OpenReason::ProbeFailed { asked }, settings, now, roll);
            }
            // The probe told nothing: another call may probe in its place.
            Outcome::Ignored => {}
        }
    }

    fn open(&mut self, reason: OpenReason, settings: &Settings, now: Instant, roll: f64) {
        let quiet = self
            .closed_at
            .is_none_or(|at| now.saturating_duration_since(at) >= settings.reset_after);
        if matches!(self.phase, Phase::Closed) && quiet {
            self.openings = 0;
        }
        self.openings = self.openings.saturating_add(1);
        let own = settings.open_time(self.openings, roll);
        let open_for = match reason {
            OpenReason::AskedToWait { wait } => wait,
            OpenReason::ProbeFailed { asked } => own.max(asked),
            OpenReason::FailuresInARow { .. } | OpenReason::FailureRate { .. } => own,
            OpenReason::SlowCalls { .. } | OpenReason::NoVerdict => own,
        };
        self.opened_at = self.opened_at.or(Some(now));
        self.last = Some(Opening { at: now, reason });
        self.enter(Phase::Open {
            until: now + open_for,
        });
    }

    fn close(&mut self, now: Instant) {
        self.window.clear();
        (self.failures, self.waits_asked) = (0, 0);
        (self.opened_at, self.closed_at) = (None, Some(now));
        // What it has found out by itself is worth more.
        self.suspect_until = None;
        self.enter(Phase::Closed);
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
    }
}

impl Trial {
    /// Its end is drawn at its beginning, so that the state can be told at any time.
    fn from(now: Instant, settings: &Settings, openings: u32, roll: f64) -> Self {
        let limit = now + settings.half_open_max;
        Self {
            limit,
            reopen: limit + settings.open_time(openings, roll),
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
