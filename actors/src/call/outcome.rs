//! What the invoker hears of a call: for its figures, metrics and log lines.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use beamline_contract::answer::ExtensionStatus;
use beamline_contract::fields::Fields;
use beamline_domain::request::failure::CallFailure;
use beamline_domain::request::reply::Reply;
use beamline_domain::request::run::CallOrder;
use serde_json::value::RawValue;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::attempt::Attempt;
use super::{CallScope, Telling};
use crate::invoker::{Finished, Invoker, InvokerMsg};
use crate::story::{AttemptTold, CallTold, FailureTold};

/// Tells the invoker and the request how a call went, also when the task that makes it is cut off
/// in the middle.
pub(super) struct CallRecord<'c> {
    invoker: &'c Invoker,
    order: &'c CallOrder,
    scope: &'c CallScope,
    begun: Instant,
    attempts: SmallVec<[AttemptTold; 1]>,
    /// The attempt that was sent and has not ended.
    under_way: Option<(AttemptTold, Instant)>,
    is_told: bool,
}

impl<'c> CallRecord<'c> {
    pub(super) fn new(invoker: &'c Invoker, order: &'c CallOrder, scope: &'c CallScope) -> Self {
        Self {
            invoker,
            order,
            scope,
            begun: Instant::now(),
            attempts: SmallVec::new(),
            under_way: None,
            is_told: scope.rehearsal,
        }
    }

    /// An attempt that was asked for at one moment is sent at another.
    pub(super) fn sends(&mut self, endpoint: usize, asked: Instant, sent: Instant) {
        let attempt = AttemptTold {
            waited: sent.duration_since(asked),
            sent: true,
            ..AttemptTold::at(&self.order.call, endpoint, asked)
        };
        self.under_way = Some((attempt, sent));
    }

    pub(super) fn attempted(&mut self, attempt: &Attempt) {
        self.under_way = None;
        let failure = attempt.verdict.result.as_ref().err();
        self.attempts.push(AttemptTold {
            waited: attempt.waited,
            took: attempt.took,
            sent: attempt.sent,
            failure: failure.map(FailureTold::of),
            ..AttemptTold::at(&self.order.call, attempt.endpoint, attempt.begun)
        });
    }

    pub(super) fn ended(&mut self, last: &Attempt, latency: Duration) {
        if mem::replace(&mut self.is_told, true) {
            return;
        }
        let result = &last.verdict.result;
        let went_well = last.verdict.health();
        let finished = Finished {
            kind: self.order.call.extension.kind,
            latency,
            status: status(result).as_str(),
            failure: failure(result).map(|failure| (failure.reason(), failure.label())),
            evidence: went_well.map(|well| (well, last.took)),
            tolerated: last.tolerated,
            tokens: tokens(result),
            trace_id: Arc::clone(&self.scope.trace_id),
            tenant_id: Arc::clone(&self.scope.tenant_id),
        };
        self.tell_story(result, latency);
        let _ = self.invoker.address.send(InvokerMsg::Finished(finished));
    }

    fn tell_story(&mut self, result: &Result<Reply, CallFailure>, latency: Duration) {
        let Some(Telling { story, stage }) = &self.scope.story else {
            return;
        };
        let call = &self.order.call;
        story.called(CallTold {
            extension_id: Arc::clone(&self.invoker.id),
            kind: call.extension.kind,
            version: Arc::clone(&call.target.version),
            route: call.route.clone(),
            stage: *stage,
            began: self.begun,
            took: latency,
            status: status(result),
            failure: result.as_ref().err().map(FailureTold::of),
            attempts: mem::take(&mut self.attempts),
        });
    }
}

/// What went wrong; nothing, where nobody needs it any more. What an extension says is for its
/// caller: logs have class and code.
fn failure(result: &Result<Reply, CallFailure>) -> Option<&CallFailure> {
    let failure = result.as_ref().err();
    failure.filter(|failure| **failure != CallFailure::Cancelled)
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
        if let Some((attempt, sent)) = self.under_way.take() {
            self.attempts.push(AttemptTold {
                took: sent.elapsed(),
                failure: Some(FailureTold::of(&failure)),
                ..attempt
            });
        }
        let cut_off = Attempt::not_sent(failure, 0, self.begun);
        self.ended(&cut_off, self.begun.elapsed());
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
