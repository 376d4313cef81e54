//! Requests that were turned away. They are many where they are, so one line a second and kind of
//! refusal tells of all of them.

use std::collections::HashMap;
use std::time::Duration;

use beamline_actors::story::Ended;
use beamline_contract::time::milliseconds;
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::line::REQUEST;

/// By the outcome: a handful of codes.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<&'static str, Told>>);

#[derive(Debug)]
struct Told {
    at: Instant,
    /// Since then.
    more: u64,
}

const EVERY: Duration = Duration::from_secs(1);

impl Refusals {
    pub(super) fn tell(&self, refused: &Ended) {
        if !self.is_due(refused.outcome, Instant::now()) {
            return;
        }
        tracing::info!(
            target: REQUEST,
            parent: None,
            tenant_id = refused.tenant_id.as_deref(),
            request_id = refused.request_id.as_deref(),
            trace_id = &*refused.trace_id,
            edge = refused.edge,
            kind = refused.kind.as_str(),
            outcome = refused.outcome,
            latency_ms = milliseconds(refused.took),
            "request turned away"
        );
    }

    /// Tells of the others while it is not dropped.
    pub(super) async fn watch(&self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for (outcome, more) in self.untold(Instant::now()) {
                tracing::info!(target: REQUEST, parent: None, outcome, more, "more requests turned away");
            }
        }
    }

    /// Whether this one has a line of its own; else it is counted.
    fn is_due(&self, outcome: &'static str, now: Instant) -> bool {
        let mut all = self.0.lock();
        let told = all.entry(outcome).or_insert(Told {
            at: now.checked_sub(EVERY).unwrap_or(now),
            more: 0,
        });
        if told.more > 0 || now.saturating_duration_since(told.at) < EVERY {
            told.more += 1;
            return false;
        }
        told.at = now;
        true
    }

    /// Those of more than a second ago, which are told now.
    fn untold(&self, now: Instant) -> Vec<(&'static str, u64)> {
        let mut all = self.0.lock();
        let due = all
            .iter_mut()
            .filter(|(_, told)| told.more > 0 && now.saturating_duration_since(told.at) >= EVERY);
        due.map(|(outcome, told)| {
            told.at = now;
            (*outcome, std::mem::take(&mut told.more))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_tells_of_all_of_a_kind() {
        let refusals = Refusals::default();
        let now = Instant::now() + EVERY;
        assert!(refusals.is_due("overloaded", now));
        assert!(!refusals.is_due("overloaded", now));
        assert!(!refusals.is_due("overloaded", now + EVERY / 2));
        assert!(refusals.is_due("shutting_down", now));
        assert_eq!(refusals.untold(now + EVERY / 2), []);
        assert_eq!(refusals.untold(now + EVERY), [("overloaded", 2)]);
        assert_eq!(refusals.untold(now + 2 * EVERY), []);
        assert!(refusals.is_due("overloaded", now + 2 * EVERY));
    }
}
