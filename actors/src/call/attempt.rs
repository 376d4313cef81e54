//! One attempt: it finds a place and an endpoint, sends, waits within its limits, and tells breaker
//! and limit how it went.

use std::sync::Arc;
use std::time::Duration;

use beamline_domain::request::failure::CallFailure;
use beamline_domain::request::plan::Rule;
use beamline_domain::request::reply;
use beamline_domain::request::run::CallOrder;
use beamline_domain::request::verdict::{Evidence, Verdict, judge};
use beamline_domain::target::Tenant;
use beamline_domain::target::breaker::{CallEnd, Outcome};
use beamline_domain::target::concurrency::Load;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use super::CallScope;
use super::endpoint::{Admitted, admit};
use super::outcome::CallRecord;
use crate::invoker::Invoker;
use crate::invokers::Invokers;
use crate::ports::{Answer, Call, TransportError};
use crate::targets::LOCAL_LAG;

/// With less time than this left, a call is not made.
const LEAST_TIME: Duration = Duration::from_millis(1);
/// How far the outer limit of a call lies behind the transport's.
const TRANSPORT_SLACK: Duration = Duration::from_millis(20);
/// What a caller is told to wait for whom an extension had no place: not all come back together.
const OVERLOADED_MS: std::ops::Range<u64> = 50..250;
/// A bus that has been away for longer is not expected back soon. Also the longest wait for it.
const RECONNECT: Duration = Duration::from_secs(2);

/// One try of a call.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) verdict: Verdict,
    /// Why its answer would be refused, were it not for `router.strict_answers`.
    pub(super) tolerated: Option<&'static str>,
    pub(super) begun: Instant,
    /// Until it had a place, and a bus.
    pub(super) waited: Duration,
    pub(super) took: Duration,
    /// The position of the endpoint that took it.
    pub(super) endpoint: usize,
    pub(super) sent: bool,
}

impl Attempt {
    pub(super) fn not_sent(failure: CallFailure, endpoint: usize, begun: Instant) -> Self {
        Self {
            begun,
            waited: begun.elapsed(),
            verdict: Verdict {
                result: Err(failure),
                outcome: Outcome::Ignored,
                load: Load::Unknown,
                backoff: None,
            },
            tolerated: None,
            took: Duration::ZERO,
            endpoint,
            sent: false,
        }
    }
}

/// Which attempt is made next, and at which endpoint it begins to look for a permit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) number: u32,
    pub(super) endpoint: usize,
}

impl Turn {
    /// The order may be a later attempt of somebody who counts himself.
    pub(super) fn first(order: &CallOrder) -> Self {
        Self {
            number: order.attempt.max(1),
            endpoint: order.turn,
        }
    }

    /// A retry goes to the endpoint after the one that failed.
    pub(super) fn after(self, failed: usize) -> Self {
        Self {
            number: self.number.saturating_add(1),
            endpoint: failed + 1,
        }
    }
}

impl Invokers {
    pub(super) async fn attempt(
        &self,
        invoker: &Invoker,
        order: &CallOrder,
        scope: &CallScope,
        turn: Turn,
        record: &mut CallRecord<'_>,
    ) -> Attempt {
        let asked = Instant::now();
        let extra_time = order.call.target.extra_time(order.body.len());
        let own_time = order.call.target.timeout + extra_time;
        // Before anything is held that others may need.
        if !self.bus_is_there(own_time.min(time_left(scope))).await {
            return Attempt::not_sent(CallFailure::BusUnavailable, turn.endpoint, asked);
        }
        let call_limit = self.call_limit(&invoker.id);
        // Before the breaker is asked: its permits are not for waiting.
        let tenant = if scope.rehearsal {
            Tenant::NOBODY
        } else {
            Tenant::of(&scope.tenant_id)
        };
        let Some(place) = call_limit.enter(tenant, patience(turn, scope)).await else {
            let retry_after = Duration::from_millis(fastrand::u64(OVERLOADED_MS));
            let failure = CallFailure::Overloaded { retry_after };
            return Attempt::not_sent(failure, turn.endpoint, asked);
        };
        let left = time_left(scope);
        let admitted = self
            .check(order, turn.endpoint, left)
            .and_then(|()| admit(invoker, order, extra_time, scope, turn.endpoint));
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(failure) => return Attempt::not_sent(failure, turn.endpoint, asked),
        };
        let (limit, leaves_time) = order.share.limit(own_time, left);
        let begun = Instant::now();
        record.sends(admitted.endpoint, asked, begun);
        let answer = self.send(order, scope, turn, &admitted, limit).await;
        let took = begun.elapsed();
        let isolation = order.call.target.breaker.isolation;
        let strictness = self.strictness();
        let mut tolerated = None;
        let target = invoker.target(&admitted.subject);
        let verdict = judge(
            answer.map(|answer| {
                let read = reply::read_with(strictness, order.call.extension.kind, &answer);
                tolerated = read.tolerated;
                read.result
            }),
            Evidence {
                own_time,
                limit,
                leaves_time,
                took,
                usual: target
                    .usual_at_most(own_time)
                    .map(|usual| usual + extra_time),
                router_is_late: self.is_late() || took > limit + LOCAL_LAG,
                bus_is_settled: self.transport().is_settled(),
                isolation,
            },
        );
        // Without a permit it is a dry run, and nobody hears of how it went.
        if let Some(permit) = admitted.permit {
            permit.finish_with(CallEnd {
                outcome: verdict.outcome,
                class: verdict.class(),
                took,
            });
            if let Some(wait) = verdict.backoff {
                target.told_to_wait(&scope.tenant_id, isolation, wait);
            }
            // After that, or the next one would not know.
            place.finish(verdict.load);
        }
        Attempt {
            verdict,
            tolerated,
            begun: asked,
            waited: begun.duration_since(asked),
            took,
            endpoint: admitted.endpoint,
            sent: true,
        }
    }

    /// Sends the call and waits for its answer. The transport's own limit comes first: it can tell
    /// a silent extension from a bus that is gone.
    async fn send(
        &self,
        order: &CallOrder,
        scope: &CallScope,
        turn: Turn,
        admitted: &Admitted,
        limit: Duration,
    ) -> Result<Answer, TransportError> {
        let mut answers = self.transport().call(Call {
            subject: Arc::clone(&admitted.subject),
            body: order.body.clone(),
            traceparent: Arc::clone(&scope.traceparent),
            carried: scope.carried.clone(),
            trace_id: Arc::clone(&scope.trace_id),
            tenant_id: Arc::clone(&scope.tenant_id),
            timeout: limit,
            attempt: turn.number,
        });
        match timeout(limit + TRANSPORT_SLACK, answers.next()).await {
            Ok(Some(answer)) => answer,
            Ok(None) | Err(_) => Err(TransportError::Timeout),
        }
    }

    /// Waits for a bus that has just gone away. Nothing is handed to it meanwhile: it would be sent
    /// when nobody waits any more.
    async fn bus_is_there(&self, limit: Duration) -> bool {
        let transport = self.transport();
        let Some(away_for) = transport.away_for() else {
            return true;
        };
        let expected = RECONNECT.saturating_sub(away_for);
        timeout(expected.min(limit), transport.back()).await.is_ok()
    }

    /// What can be known before anything is sent.
    fn check(&self, order: &CallOrder, endpoint: usize, left: Duration) -> Result<(), CallFailure> {
        let transport = self.transport();
        if left < LEAST_TIME {
            return Err(CallFailure::Deadline);
        }
        if !transport.is_connected() {
            return Err(CallFailure::BusUnavailable);
        }
        let size = order.body.len();
        let limit = transport.max_body();
        if size > limit {
            return Err(CallFailure::TooLarge { size, limit });
        }
        if let Some(limit) = order.call.extension.max_payload_bytes
            && size as u64 > limit
        {
            return Err(CallFailure::OverItsLimit { size, limit });
        }
        if self.is_too_slow(order, endpoint, left) {
            return Err(CallFailure::TooLittleTime);
        }
        Ok(())
    }

    /// A guardrail that usually takes longer than what is left would only use it up. A provider was
    /// chosen with that in mind.
    fn is_too_slow(&self, order: &CallOrder, endpoint: usize, left: Duration) -> bool {
        if order.call.rule == Rule::Provider {
            return false;
        }
        let Some(endpoint) = order.call.target.endpoint(endpoint) else {
            return false;
        };
        let state = self.endpoint_state(order.call.id(), &endpoint.subject);
        state.fresh && state.latency.is_some_and(|usual| usual > left)
    }
}

/// Time that an attempt can spare for a place. A retry and a dry run wait for none: where calls
/// wait, they are the first to give way.
fn patience(turn: Turn, scope: &CallScope) -> Duration {
    if turn.number > 1 || scope.rehearsal {
        Duration::ZERO
    } else {
        time_left(scope)
    }
}

fn time_left(scope: &CallScope) -> Duration {
    scope.deadline.saturating_duration_since(Instant::now())
}
