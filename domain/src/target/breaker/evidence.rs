//! What speaks against a target: failures in a row, and the share of failures and of slow calls.
//!
//! Calls that go wrong together are one event. While an extension stands still for a moment, all
//! calls in flight end badly, however many they are; that says no more than one of them would.

use std::time::{Duration, Instant};

use super::reading::OpenReason;
use super::settings::Settings;
use super::window::{Counts, Window};
use super::{LONGEST_WAIT, Outcome};

/// The end of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
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
    /// A call that began before then belongs to the last event.
    until: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Largest {
    more: u32,
    second: u32,
}

/// Replies that ask to come back later, after which they are obeyed.
const WAITS_ASKED: u32 = 2;
/// A run of so many events is no moment any more. The number has been tried by simulation: a pause
/// of three timeouts makes four of them at most.
const NO_MOMENT: u32 = 5;
/// What begins within this part of the timeout after a call that stayed without an answer, or was
/// slow, met the same silence. As much as a slow call takes by default.
const SILENCE: f64 = 0.8;

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
        let slow = is_slow(call, settings);
        self.window.add(outcome.is_failure(), slow, call.now);
        let second = self.window.second(call.now);
        let silence = call.began + settings.timeout.mul_f64(SILENCE);
        let until = if outcome == Outcome::Timeout {
            silence
        } else {
            call.now
        };
        self.failing
            .add(outcome.is_failure(), call.began, until, second, settings);
        self.dragging
            .add(slow, call.began, silence, second, settings);
    }

    /// A probe of an open breaker has failed.
    pub(super) fn failed_again(&mut self) {
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
            let one_moment = runs.one_moment(second, settings).min(part);
            let calls = all.calls - one_moment;
            (Counts::percent(part - one_moment, calls), calls)
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
    fn add(&mut self, bad: bool, began: Instant, until: Instant, second: u32, settings: &Settings) {
        if !bad {
            self.current = Run::default();
            return;
        }
        let run = &mut self.current;
        if run.until.is_some_and(|until| began < until) {
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
            let more = run.more;
            self.largest = Some(Largest { more, second });
        }
    }

    /// Calls of the window that may have gone wrong for one reason of a moment.
    fn one_moment(&self, second: u32, settings: &Settings) -> u32 {
        if self.current.events >= no_moment(settings) {
            return 0;
        }
        self.largest
            .filter(|largest| largest.second + settings.window > second)
            .map_or(0, |largest| largest.more)
    }
}

/// Settings that need less than the default have it so.
fn no_moment(settings: &Settings) -> u32 {
    settings.consecutive_failures.min(NO_MOMENT)
}
