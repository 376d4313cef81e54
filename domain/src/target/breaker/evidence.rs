//! What speaks against a target: failures in a row, and the share of failures and of slow calls.
//!
//! Calls that go wrong together are one event. While an extension stands still for a moment, all
//! calls in flight end badly, however many they are; that says no more than one of them would.

use std::time::{Duration, Instant};

use beamline_contract::failure::FailureKind;

use super::outcome::{LONGEST_WAIT, Outcome};
use super::reading::OpenReason;
use super::settings::Settings;
use super::window::{Counts, Window};

/// The end of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) class: Option<FailureKind>,
    pub(super) took: Duration,
    pub(super) began: Instant,
    pub(super) now: Instant,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    pub(super) window: Window,
    failing: Runs,
    dragging: Runs,
    /// Replies since the last success that asked to come back later.
    waits_asked: u32,
    /// Of the last failure.
    class: Option<FailureKind>,
}

/// Calls of one sort without another between them, and the largest of those runs lately.
#[derive(Debug, Clone, Copy, Default)]
struct Runs {
    current: Run,
    largest: Option<Largest>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Run {
    events: u32,
    /// Calls that came with others: all but one of each event.
    more: u32,
    /// Calls that went well between them, and do not show that it is over.
    good: u32,
    /// A call that began before then belongs to the last event.
    until: Option<Instant>,
    /// The end of the last call of the run.
    last: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Largest {
    more: u32,
    good: u32,
    second: u32,
}

/// Replies that ask to come back later, after which they are obeyed.
const WAITS_ASKED: u32 = 2;
/// A run of so many events is no moment any more. The number has been tried by simulation: a pause
/// of three timeouts makes four of them at most.
const NO_MOMENT: u32 = 5;
impl Evidence {
    pub(super) fn add(&mut self, call: &Ended, settings: &Settings) {
        let outcome = call.outcome;
        if outcome == Outcome::Ignored {
            return;
        }
        if let Outcome::AskedToWait(_) = outcome {
            self.waits_asked = self.waits_asked.saturating_add(1);
        } else if outcome == Outcome::Success {
            self.waits_asked = 0;
        }
        let failed = outcome.is_failure();
        let slow = is_slow(call, settings);
        self.window.add(failed, slow, call.now);
        if !failed && self.failing.current.events > 0 {
            self.failing.current = Run::default();
        }
        if !slow && self.dragging.current.events > 0 {
            self.dragging.good(call);
        }
        if failed || slow {
            self.went_wrong(call, failed, slow, settings);
        }
    }

    fn went_wrong(&mut self, call: &Ended, failed: bool, slow: bool, settings: &Settings) {
        let second = self.window.second(call.now);
        // Four fifths of the timeout at least are one silence, however soon callers give up: so
        // five of them never fit into a pause of three timeouts.
        let silence = call.now.max(call.began + settings.timeout * 4 / 5);
        if failed {
            let silent = call.outcome == Outcome::Timeout;
            let until = if silent { silence } else { call.now };
            self.failing.bad(call, until, second, settings);
            self.class = call.class;
        }
        if slow {
            self.dragging.bad(call, silence, second, settings);
        }
    }

    /// What the last failure was about.
    pub(super) fn class(&self) -> Option<FailureKind> {
        self.class
    }

    /// A probe of an open breaker has failed.
    pub(super) fn failed_again(&mut self, class: Option<FailureKind>) {
        self.class = class;
        self.failing.current.events = self.failing.current.events.saturating_add(1);
    }

    /// What is enough to open, after the end of this call.
    pub(super) fn against(&self, call: &Ended, settings: &Settings) -> Option<OpenReason> {
        if let Outcome::AskedToWait(wait) = call.outcome
            && self.waits_asked >= WAITS_ASKED
        {
            return Some(OpenReason::AskedToWait {
                wait: wait.min(LONGEST_WAIT),
            });
        }
        let failures = self.failures_in_a_row();
        if failures >= settings.consecutive_failures {
            return Some(OpenReason::FailuresInARow { failures });
        }
        if self.window.is_clean(call.now) {
            return None;
        }
        self.rates(call.now, settings)
    }

    /// The largest run is left out of the rates: it may have been one moment.
    fn rates(&self, now: Instant, settings: &Settings) -> Option<OpenReason> {
        let all = self.window.counts(settings.window, now);
        let second = self.window.second(now);
        let rate = |part: u32, runs: &Runs| {
            let (bad, good) = runs.one_moment(second, settings);
            let bad = bad.min(part);
            let calls = all.calls - bad - good.min(all.calls - part);
            (Counts::percent(part - bad, calls), calls)
        };
        let (percent, calls) = rate(all.failures, &self.failing);
        if calls >= settings.minimum_calls && percent >= settings.failure_rate {
            return Some(OpenReason::FailureRate { percent, calls });
        }
        let (percent, calls) = rate(all.slow, &self.dragging);
        let counts = settings.slow_call_rate < 100 && calls >= settings.minimum_calls;
        (counts && percent >= settings.slow_call_rate)
            .then_some(OpenReason::SlowCalls { percent, calls })
    }

    /// Those that came together are one.
    pub(super) fn failures_in_a_row(&self) -> u32 {
        self.failing.current.events
    }

    /// No call that could still count failed or was slow.
    pub(super) fn is_clean(&self, now: Instant) -> bool {
        self.window.is_clean(now)
    }

    pub(super) fn clear(&mut self) {
        self.window.clear();
        self.failing = Runs::default();
        self.dragging = Runs::default();
        self.waits_asked = 0;
    }
}

pub(super) fn is_slow(call: &Ended, settings: &Settings) -> bool {
    call.outcome == Outcome::Timeout || call.took >= settings.slow_call_duration
}

impl Runs {
    fn bad(&mut self, call: &Ended, until: Instant, second: u32, settings: &Settings) {
        let run = &mut self.current;
        run.last = Some(call.now);
        if run.until.is_some_and(|until| call.began < until) {
            run.more = run.more.saturating_add(1);
        } else {
            run.events = run.events.saturating_add(1);
            run.until = Some(until);
        }
        if run.events >= no_moment(settings) {
            self.largest = None;
            return;
        }
        let known = self
            .largest
            .filter(|largest| largest.second + settings.window > second);
        if known.is_none_or(|known| known.more <= run.more) {
            self.largest = Some(Largest {
                more: run.more,
                good: run.good,
                second,
            });
        }
    }

    /// When it goes on after a pause, all that has come in meanwhile is answered at once: what came
    /// last in no time, what came first late. Only what began after that shows that it is over.
    fn good(&mut self, call: &Ended) {
        if self.current.last.is_some_and(|last| call.began < last) {
            self.current.good = self.current.good.saturating_add(1);
        } else {
            self.current = Run::default();
        }
    }

    /// Calls of the window that may have gone wrong for one reason of a moment, and those between
    /// them.
    fn one_moment(&self, second: u32, settings: &Settings) -> (u32, u32) {
        if self.current.events >= no_moment(settings) {
            return (0, 0);
        }
        self.largest
            .filter(|largest| largest.second + settings.window > second)
            .map_or((0, 0), |largest| (largest.more, largest.good))
    }
}

/// Settings that need less than the default have it so.
fn no_moment(settings: &Settings) -> u32 {
    settings.consecutive_failures.min(NO_MOMENT)
}
