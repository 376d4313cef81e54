//! The retry engine, for providers and guardrails alike: whether a failed attempt is made once
//! more, and after which wait.

use std::sync::Arc;
use std::time::Duration;

use crate::policy::Backoff;
use crate::request::failure::{CallFailure, FailureClass, Repeat};
use crate::request::plan::{PlannedCall, Rule};
use beamline_contract::failure::FailureKind;
use beamline_contract::policy::Strategy;

/// A failed attempt, as far as another one depends on it.
#[derive(Debug, Clone, Copy)]
pub struct FailedAttempt {
    pub class: FailureClass,
    /// Retries that the record grants for this failure; 0 when another attempt could not help.
    pub granted: u32,
    /// False when a retry cannot or must not be made, whatever a rule says.
    pub may_retry: bool,
    /// Retries made so far.
    pub made: u32,
    /// A retry has no other endpoint to go to.
    pub only_endpoint: bool,
    /// The wait that the extension asked for.
    pub requested_wait: Option<Duration>,
    /// How long its answers usually take.
    pub usual: Option<Duration>,
    /// What is left of the request's time.
    pub time_left: Duration,
}

/// Waits between the retries that a record grants: full jitter over 25 ms, doubled.
const RECORD_BACKOFF: Backoff = Backoff {
    strategy: Strategy::Exponential,
    base: Duration::from_millis(25),
    max: Duration::from_secs(1),
    jitter: true,
};
/// An extension that nobody heard for is asked again at the same endpoint after this, or up to
/// twice as long: time to subscribe again.
const RESUBSCRIBE: Duration = Duration::from_millis(50);
/// With less time than this after the wait, a retry is not made.
const LEAST_TIME: Duration = Duration::from_millis(1);

impl FailedAttempt {
    pub fn new(
        call: &PlannedCall,
        failure: &CallFailure,
        made: u32,
        usual: Option<Duration>,
        time_left: Duration,
    ) -> Self {
        let row = failure.row();
        Self {
            class: row.class,
            granted: granted(row.repeat, call),
            may_retry: true,
            made,
            only_endpoint: call.target.endpoints.len() == 1,
            requested_wait: failure.requested_wait(),
            usual,
            time_left,
        }
    }

    /// The wait before the next attempt that the record grants, if it grants one and there is time.
    /// `roll` is uniform in `0.0..1.0`.
    pub fn wait_by_record(&self, roll: f64) -> Option<Duration> {
        self.wait(self.granted, self.record_backoff(roll), roll)
    }

    /// The same where a rule grants `granted` retries with `backoff` between them.
    pub fn wait(&self, granted: u32, backoff: Backoff, roll: f64) -> Option<Duration> {
        let wait = backoff
            .wait(self.made + 1, roll)
            .max(self.requested_wait.unwrap_or_default());
        let needed = wait.saturating_add(self.usual.unwrap_or_default().max(LEAST_TIME));
        let is_granted = self.may_retry && self.made < granted;
        (is_granted && needed < self.time_left).then_some(wait)
    }

    fn record_backoff(&self, roll: f64) -> Backoff {
        let is_unreached = self.class.kind == Some(FailureKind::NoResponders);
        if !(is_unreached && self.only_endpoint) {
            return RECORD_BACKOFF;
        }
        Backoff {
            strategy: Strategy::Fixed,
            base: RESUBSCRIBE.mul_f64(1.0 + roll),
            jitter: false,
            ..RECORD_BACKOFF
        }
    }
}

/// The retries that a failure is worth. Somebody pays twice for what a provider does twice, and an
/// extension may declare that it has effects: these are not repeated where the first attempt may
/// have been carried out.
fn granted(repeat: Repeat, call: &PlannedCall) -> u32 {
    let record = call.target.retry;
    match repeat {
        Repeat::Never => 0,
        Repeat::Helps => record,
        Repeat::NotReached => record.max(1),
        Repeat::MayBeDone { .. } if has_effects(call) => 0,
        Repeat::MayBeDone { granted_once: true } => record.max(1),
        Repeat::MayBeDone {
            granted_once: false,
        } => record,
    }
}

/// A provider, or a record with `metadata.idempotent: false`.
fn has_effects(call: &PlannedCall) -> bool {
    call.rule == Rule::Provider || call.extension.metadata.flag("idempotent") == Some(false)
}

/// How many attempts beyond its first each of some calls may make that run side by side, out of
/// `budget` for all of them. First come the retries that records grant, then the one that a call
/// has without a grant, for when nobody is reached.
pub fn extra_attempts(budget: u32, calls: &[Arc<PlannedCall>]) -> Vec<u32> {
    let by_record: Vec<u32> = calls.iter().map(|call| by_record(call)).collect();
    let mut shares = share_out(budget, &by_record);
    let left = budget - shares.iter().sum::<u32>();
    let ungranted: Vec<u32> = calls.iter().map(|call| ungranted(call)).collect();
    for (share, more) in shares.iter_mut().zip(share_out(left, &ungranted)) {
        *share += more;
    }
    shares
}

/// One to each in turn, in their order, while there are any: who gets the last ones must not depend
/// on who fails first.
fn share_out(budget: u32, wanted: &[u32]) -> Vec<u32> {
    let mut left = budget;
    let mut shares = vec![0; wanted.len()];
    for round in 0..wanted.iter().copied().max().unwrap_or_default() {
        for (share, wanted) in shares.iter_mut().zip(wanted) {
            if *wanted > round && left > 0 {
                left -= 1;
                *share += 1;
            }
        }
    }
    shares
}

/// What comes after a failed provider is the policy's to say.
fn by_record(call: &PlannedCall) -> u32 {
    match call.rule {
        Rule::Provider => 0,
        Rule::Processor(_) | Rule::Validator(_) => call.target.retry,
    }
}

fn ungranted(call: &PlannedCall) -> u32 {
    u32::from(call.rule != Rule::Provider && call.target.retry == 0)
}

#[cfg(test)]
mod tests;
