//! Requests that were turned away. They are many where they are, so one line a second and kind of
//! refusal tells of all of them.

use std::collections::HashMap;
use std::time::Duration;

use beamline_domain::request::{Correlation, RequestKind};
use parking_lot::Mutex;
use tokio::time::Instant;

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
    pub(super) fn tell(
        &self,
        edge: &'static str,
        kind: RequestKind,
        outcome: &'static str,
        of: &Correlation,
    ) {
        let Some(more) = self.turn(outcome, Instant::now()) else {
            return;
        };
        tracing::info!(
            target: REQUEST,
            parent: None,
            tenant_id = of.tenant_id,
            request_id = of.request_id,
            trace_id = of.trace_id,
            edge,
            kind = kind.as_str(),
            outcome,
            more = Some(more).filter(|more| *more > 0),
            "request turned away"
        );
    }

    /// How many were not told of since the last line, when it is time for another.
    fn turn(&self, outcome: &'static str, now: Instant) -> Option<u64> {
        let mut all = self.0.lock();
        let Some(told) = all.get_mut(outcome) else {
            all.insert(outcome, Told { at: now, more: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(told.at) < EVERY {
            told.more += 1;
            return None;
        }
        told.at = now;
        Some(std::mem::take(&mut told.more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_tells_of_all_of_a_kind() {
        let refusals = Refusals::default();
        let now = Instant::now();
        assert_eq!(refusals.turn("overloaded", now), Some(0));
        assert_eq!(refusals.turn("overloaded", now), None);
        assert_eq!(refusals.turn("overloaded", now + EVERY / 2), None);
        assert_eq!(refusals.turn("shutting_down", now), Some(0));
        assert_eq!(refusals.turn("overloaded", now + EVERY), Some(2));
        assert_eq!(refusals.turn("overloaded", now + 2 * EVERY), Some(0));
    }
}
