//! One call of an extension, with all attempts that it may make. It runs in its caller's task, and
//! none passes through a mailbox. What each attempt does is in `attempt`; whether there is another
//! one, the rules in the domain say.

use std::sync::Arc;

use beamline_contract::trace::Carried;
use beamline_domain::request::failure::CallFailure;
use beamline_domain::request::retry::FailedAttempt;
use beamline_domain::request::run::{CallOrder, CallResult, Stage};
use beamline_domain::target::retry_budget::{Again, RetryTokens};
use tokio::time::{Instant, sleep};

use crate::invoker::Invoker;
use crate::invokers::Invokers;
use crate::story::Story;

mod attempt;
mod endpoint;
mod outcome;
mod side_by_side;

use attempt::{Attempt, Turn};
use outcome::CallRecord;
pub(crate) use side_by_side::side_by_side;

/// What all calls of one step have in common.
#[derive(Debug, Clone)]
pub struct CallScope {
    pub trace_id: Arc<str>,
    pub traceparent: Arc<str>,
    /// `tracestate` and `baggage` of the request.
    pub carried: Carried,
    pub tenant_id: Arc<str>,
    /// No call runs beyond this; some time to answer is kept back already.
    pub deadline: Instant,
    /// Of a dry run: what comes of it is no evidence, and no request pays for it.
    pub rehearsal: bool,
    /// Where it is told how the calls went.
    pub story: Option<Telling>,
}

/// The request that a call is made for, and in which stage.
#[derive(Debug, Clone)]
pub struct Telling {
    pub story: Arc<Story>,
    pub stage: Stage,
}

impl Invokers {
    /// Makes one call: a provider's with one attempt, because its pipeline decides what comes
    /// after; any other with all that its record and the request grant.
    pub async fn call(&self, order: &CallOrder, scope: &CallScope) -> CallResult {
        let begun = Instant::now();
        let invoker = self.invoker(&order.call.extension.id).await;
        let mut record = CallRecord::new(&invoker, order, scope);
        let ended = self.attempts(&invoker, order, scope, &mut record).await;
        record.ended(&ended.attempt, begun.elapsed());
        CallResult {
            outcome: ended.attempt.verdict.result,
            latency: begun.elapsed(),
            attempts: ended.attempts,
            endpoint: ended.attempt.endpoint,
            retry_refused: ended.retry_refused,
        }
    }

    async fn attempts(
        &self,
        invoker: &Invoker,
        order: &CallOrder,
        scope: &CallScope,
        record: &mut CallRecord<'_>,
    ) -> Ended {
        let mut turn = Turn::first(order);
        let mut attempt = self.attempt(invoker, order, scope, turn, record).await;
        record.attempted(&attempt);
        if !attempt.sent {
            return Ended::after(attempt, 0);
        }
        if order.attempt <= 1 && !scope.rehearsal {
            self.retry_budgets().attempted(&invoker.id);
        }
        let mut attempts = 1;
        loop {
            let Err(failure) = &attempt.verdict.result else {
                return Ended::after(attempt, attempts);
            };
            turn = turn.after(attempt.endpoint);
            let Some(failed) = self.repeatable(failure, order, scope, attempts - 1, turn) else {
                return Ended::after(attempt, attempts);
            };
            let Some(wait) = failed.wait_by_record(fastrand::f64()) else {
                return Ended::after(attempt, attempts);
            };
            let is_granted =
                scope.rehearsal || self.retry_budgets().take(Again::Retry(&invoker.id));
            if !is_granted {
                return Ended {
                    retry_refused: true,
                    ..Ended::after(attempt, attempts)
                };
            }
            sleep(wait).await;
            let next = self.attempt(invoker, order, scope, turn, record).await;
            record.attempted(&next);
            // A retry that was not even sent says less than the failure before it.
            if !next.sent {
                return Ended::after(attempt, attempts);
            }
            attempts += 1;
            attempt = next;
        }
    }

    /// What the rules go by, while the request still grants the call an attempt. `made`: its
    /// retries so far.
    fn repeatable(
        &self,
        failure: &CallFailure,
        order: &CallOrder,
        scope: &CallScope,
        made: u32,
        next: Turn,
    ) -> Option<FailedAttempt> {
        if made >= order.extra_attempts {
            return None;
        }
        let call = &order.call;
        let endpoint = call.target.endpoint(next.endpoint)?;
        let usual = self.endpoint_state(call.id(), &endpoint.subject).latency;
        let left = scope.deadline.saturating_duration_since(Instant::now());
        Some(FailedAttempt::new(call, failure, made, usual, left))
    }
}

/// How a call ended: its last attempt, and how many were sent.
#[derive(Debug)]
struct Ended {
    attempt: Attempt,
    attempts: u32,
    retry_refused: bool,
}

impl Ended {
    fn after(attempt: Attempt, attempts: u32) -> Self {
        Self {
            attempt,
            attempts,
            retry_refused: false,
        }
    }
}
