//! What the invoker hears of a call: for its figures, metrics and log lines.

use std::sync::Arc;
use std::time::Duration;

use beamline_contract::answer::ExtensionStatus;
use beamline_contract::fields::Fields;
use beamline_domain::request::failure::CallFailure;
use beamline_domain::request::reply::Reply;
use beamline_domain::request::run::CallOrder;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::CallScope;
use super::attempt::Attempt;
use crate::invoker::{Finished, Invoker, InvokerMsg};

/// Tells the invoker how a call went, also when the task that makes it is cut off in the middle.
pub(super) struct CallRecord<'c> {
    invoker: &'c Invoker,
    order: &'c CallOrder,
    scope: &'c CallScope,
    begun: Instant,
    is_told: bool,
}

impl<'c> CallRecord<'c> {
    pub(super) fn new(invoker: &'c Invoker, order: &'c CallOrder, scope: &'c CallScope) -> Self {
        Self {
            invoker,
            order,
            scope,
            begun: Instant::now(),
            is_told: false,
        }
    }

    pub(super) fn ended(&mut self, last: &Attempt, latency: Duration) {
        self.is_told = true;
        let result = &last.verdict.result;
        let went_well = last.verdict.health();
        let finished = Finished {
            kind: self.order.call.extension.kind,
            latency,
            status: status(result).as_str(),
            failure: self.failure(result),
            evidence: went_well.map(|well| (well, last.took)),
            tolerated: last.tolerated,
            tokens: tokens(result),
            trace_id: Arc::clone(&self.scope.trace_id),
            tenant_id: Arc::clone(&self.scope.tenant_id),
        };
        let _ = self.invoker.address.send(InvokerMsg::Finished(finished));
    }

    fn failure(&self, result: &Result<Reply, CallFailure>) -> Option<(&'static str, String)> {
        match result {
            Ok(_) => None,
            // Nothing went wrong: nobody needs it any more.
            Err(CallFailure::Cancelled) => None,
            // What an extension says is for its caller: logs have class and code.
            Err(failure) => Some((failure.reason(), failure.label())),
        }
    }
}

impl Drop for CallRecord<'_> {
    fn drop(&mut self) {
        if self.is_told {
            return;
        }
        // Before its deadline a call is cut off only because its result is no longer wanted.
        let failure = if Instant::now() < self.scope.deadline {
            CallFailure::Cancelled
        } else {
            CallFailure::Deadline
        };
        self.ended(&Attempt::not_sent(failure, 0), self.begun.elapsed());
    }
}

fn status(result: &Result<Reply, CallFailure>) -> ExtensionStatus {
    match result {
        Ok(Reply::Reject { .. }) => ExtensionStatus::Rejected,
        Ok(_) => ExtensionStatus::Success,
        Err(failure) => failure.status(),
    }
}

fn tokens(result: &Result<Reply, CallFailure>) -> Option<f64> {
    let Ok(Reply::Completion {
        usage: Some(usage), ..
    }) = result
    else {
        return None;
    };
    total_tokens(usage).filter(|tokens| tokens.is_finite() && *tokens >= 0.0)
}

fn total_tokens(usage: &RawValue) -> Option<f64> {
    Fields::parse(usage.get()).ok()?.number("total_tokens")
}
