//! The states of a breaker and how it goes from one to the other: that of everybody, and that of a
//! tenant with a trouble of its own.

use std::time::{Duration, Instant};

use super::evidence::{Ended, Evidence};
use super::outcome::{LONGEST_WAIT, Outcome};
use super::reading::{BreakerReading, OpenReason, Opening, State};
use super::settings::Settings;
use super::window::Counts;

#[derive(Debug, Clone, Default)]
pub(super) struct Machine {
    pub(super) phase: Phase,
    /// Changes with every transition.
    pub(super) generation: u64,
    pub(super) evidence: Evidence,
    /// Open times without a quiet time between them.
    pub(super) openings: u32,
    closed_at: Option<Instant>,
    /// When it opened first since it was closed.
    opened_at: Option<Instant>,
    last: Option<Opening>,
    /// Another replica's is open until then.
    suspect_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Phase {
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
pub(super) struct Trial {
    /// Without a verdict by then it is open again, until the other time.
    limit: Instant,
    reopen: Instant,
}

/// While enough probes are out, others may ask again this much later.
const PROBED: Duration = Duration::from_secs(1);

impl Machine {
    pub(super) fn still_open(until: Instant, level: u32, last: Opening) -> Self {
        Self {
            phase: Phase::Open { until },
            generation: 1,
            openings: level,
            opened_at: Some(last.at),
            last: Some(last),
            ..Self::default()
        }
    }

    /// Goes on as the machine of one tenant, while nothing is held against the others. Probes that
    /// are out are of the other breaker.
    pub(super) fn taken_over(mut self, generation: u64) -> Self {
        if let Phase::HalfOpen { in_flight, .. } = &mut self.phase {
            *in_flight = 0;
        }
        self.generation = generation;
        self.suspect_until = None;
        self
    }

    /// The one of everybody after its trouble was found to be that of one tenant.
    pub(super) fn cleared(&self) -> Self {
        Self {
            generation: self.generation + 1,
            last: self.last,
            ..Self::default()
        }
    }

    pub(super) fn admit(
        &mut self,
        settings: &Settings,
        now: Instant,
        roll: f64,
    ) -> Result<(), Duration> {
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
    pub(super) fn settle(&mut self, now: Instant) {
        if let (Phase::HalfOpen { trial, .. }, Phase::Open { until }) =
            (self.phase, self.phase_at(now))
        {
            self.last = Some(Opening {
                at: trial.limit,
                reason: OpenReason::NoVerdict,
                class: self.last.and_then(|last| last.class),
            });
            self.enter(Phase::Open { until });
        }
    }

    /// Takes the end of a call that it let through; it may close or open again, or open if it is
    /// closed and what speaks for that `counts`.
    pub(super) fn record(
        &mut self,
        call: &Ended,
        counts: impl FnOnce(OpenReason, Counts) -> bool,
        settings: &Settings,
        roll: f64,
    ) {
        if let Phase::HalfOpen { in_flight, .. } = &mut self.phase {
            *in_flight = in_flight.saturating_sub(1);
            return self.probed(call, settings, roll);
        }
        self.evidence.add(call, settings);
        if call.outcome == Outcome::Ignored {
            return;
        }
        let judged = if self.is_suspect(call.now) {
            &settings.wary()
        } else {
            settings
        };
        let Some(reason) = self.evidence.against(call, judged) else {
            return;
        };
        if counts(reason, self.evidence.window.counts(judged.window, call.now)) {
            self.open(reason, settings, call.now, roll);
        }
    }

    /// A probe is back that says nothing for everybody: another one may go in its place.
    pub(super) fn probe_is_back(&mut self) {
        if let Phase::HalfOpen { in_flight, .. } = &mut self.phase {
            *in_flight = in_flight.saturating_sub(1);
        }
    }

    /// A probe of the tenant has failed that this is the machine of, while it was closed: open for
    /// it, after so many open times of the breaker that was probed.
    pub(super) fn failed_as_probe(
        &mut self,
        call: &Ended,
        openings: u32,
        settings: &Settings,
        roll: f64,
    ) {
        self.closed_at = Some(call.now);
        self.openings = self.openings.max(openings);
        self.probe_failed(call, settings, roll);
    }

    fn probed(&mut self, call: &Ended, settings: &Settings, roll: f64) {
        match call.outcome {
            Outcome::Success => {
                let Phase::HalfOpen {
                    successes, trial, ..
                } = &mut self.phase
                else {
                    return;
                };
                *successes += 1;
                *trial = Trial::from(call.now, settings, self.openings, roll);
                if *successes >= settings.half_open_successes {
                    self.close(call.now);
                }
            }
            Outcome::Failure
            | Outcome::NoResponders
            | Outcome::Timeout
            | Outcome::AskedToWait(_) => self.probe_failed(call, settings, roll),
            // The probe told nothing: another call may probe in its place.
            Outcome::Ignored => {}
        }
    }

    fn probe_failed(&mut self, call: &Ended, settings: &Settings, roll: f64) {
        self.evidence.failed_again(call.class);
        let asked = if let Outcome::AskedToWait(wait) = call.outcome {
            wait.min(LONGEST_WAIT)
        } else {
            Duration::ZERO
        };
        self.open(OpenReason::ProbeFailed { asked }, settings, call.now, roll);
    }

    fn open(&mut self, reason: OpenReason, settings: &Settings, now: Instant, roll: f64) {
        if self.is_closed() && self.is_quiet(settings, now) {
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
        let class = match reason {
            OpenReason::SlowCalls { .. } => None,
            OpenReason::AskedToWait { .. } | OpenReason::ProbeFailed { .. } => {
                self.evidence.class()
            }
            OpenReason::FailuresInARow { .. } | OpenReason::FailureRate { .. } => {
                self.evidence.class()
            }
            OpenReason::NoVerdict => self.last.and_then(|last| last.class),
        };
        self.last = Some(Opening {
            at: now,
            reason,
            class,
        });
        self.enter(Phase::Open {
            until: now + open_for,
        });
    }

    fn close(&mut self, now: Instant) {
        self.evidence.clear();
        (self.opened_at, self.closed_at) = (None, Some(now));
        // What it has found out by itself is worth more.
        self.suspect_until = None;
        self.enter(Phase::Closed);
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
    }

    /// True when it was open or half open.
    pub(super) fn reset(&mut self, now: Instant) -> bool {
        let was_closed = self.is_closed();
        self.openings = 0;
        self.close(now);
        !was_closed
    }

    pub(super) fn is_alive(&mut self, now: Instant) {
        self.settle(now);
        let asked = self.last.is_some_and(|last| last.reason.asked_to_wait());
        if let Phase::Open { until } = &mut self.phase
            && *until > now
            && !asked
        {
            *until = now;
        }
    }

    pub(super) fn suspect(&mut self, until: Instant) {
        self.suspect_until = self.suspect_until.max(Some(until));
    }

    pub(super) fn is_suspect(&self, now: Instant) -> bool {
        self.suspect_until.is_some_and(|until| now < until)
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Closed for so long that an open time is the first again.
    fn is_quiet(&self, settings: &Settings, now: Instant) -> bool {
        self.closed_at
            .is_none_or(|at| now.saturating_duration_since(at) >= settings.reset_after)
    }

    /// Whether there is anything to remember of it.
    pub(super) fn is_blank(&self, settings: &Settings, now: Instant) -> bool {
        self.is_closed() && self.is_quiet(settings, now) && self.evidence.is_clean(now)
    }

    /// How long calls are kept back, if they are.
    pub(super) fn held_back(&self, now: Instant) -> Option<Duration> {
        match self.phase_at(now) {
            Phase::Open { until } => {
                Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
            }
            Phase::HalfOpen {
                in_flight,
                permits,
                trial,
                ..
            } if in_flight >= permits => {
                Some(PROBED.min(trial.limit.saturating_duration_since(now)))
            }
            Phase::HalfOpen { .. } | Phase::Closed => None,
        }
    }

    pub(super) fn state(&self, now: Instant) -> State {
        match self.phase_at(now) {
            Phase::Closed => State::Closed,
            Phase::Open { until } if now < until => State::Open { until },
            Phase::Open { .. } | Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    pub(super) fn stored_state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { until } => State::Open { until },
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    pub(super) fn reading(&self, now: Instant) -> BreakerReading {
        BreakerReading {
            state: self.state(now),
            failures: self.evidence.failures_in_a_row(),
            opened_at: self.opened_at,
            last: self.last,
            suspect_until: self.suspect_until.filter(|_| self.is_suspect(now)),
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        if let Phase::HalfOpen { in_flight, .. } = self.phase {
            in_flight
        } else {
            0
        }
    }

    pub(super) fn phase_at(&self, now: Instant) -> Phase {
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
