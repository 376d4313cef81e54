//! Makes the calls. A call runs in its caller's task: it asks the breakers, sends, waits within its limits, retries as
//! registered and as the retry budgets grant, and tells the invoker how it went. No call passes through a mailbox.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, timeout};

use super::Invokers;
use crate::invoker::{Finished, Invoker, InvokerMsg};
use crate::ports::{Answer, Call, TransportError};
use crate::targets::{CallPermit, LOCAL_LAG, Withheld};
use beamline_contract::fields::Fields;
use beamline_domain::record::extension::Extension;
use beamline_domain::request::call::{self, CallFailure, Reply};
use beamline_domain::request::fallback::SUBSCRIBE_AGAIN;
use beamline_domain::request::plan::Rule;
use beamline_domain::request::run::{AttemptBudget, CallResult, Order};
use beamline_domain::target::breaker::Outcome;
use beamline_domain::target::concurrency::Load;
use beamline_domain::target::retry_budget::{Again, RetryTokens};

/// What all calls of one request have in common.
#[derive(Debug, Clone)]
pub struct CallScope {
    pub trace_id: Arc<str>,
    pub traceparent: Arc<str>,
    pub tenant_id: Arc<str>,
    /// No call runs beyond this; some time to answer is kept back already.
    pub deadline: Instant,
    /// Attempts beyond the first of each call.
    pub budget: AttemptBudget,
}

/// With less time than this left, a call is not made.
const LEAST_TIME: Duration = Duration::from_millis(1);
/// Who says after this part of its time that there is none left has kept to it.
const TO_THE_END: f64 = 0.75;
/// How far the outer limit of a call lies behind the transport's.
const TRANSPORT_SLACK: Duration = Duration::from_millis(20);
/// Full jitter: a retry waits a random part of this, doubled with each further one.
const RETRY_BASE: Duration = Duration::from_millis(25);
const RETRY_CAP: Duration = Duration::from_secs(1);
/// What is told to wait to whom an extension had no place for.
const OVERLOADED_MS: std::ops::Range<u64> = 50..250;
/// A bus that has been away for longer is not expected back soon. Also the longest wait for it.
const RECONNECT: Duration = Duration::from_secs(2);

impl Invokers {
    /// Makes one call: a provider's with one attempt, because its pipeline decides what comes after; any other with all
    /// that its record and the request's budget grant.
    pub async fn call(&self, order: &Order, scope: &CallScope) -> CallResult {
        let (begun, invoker) = (Instant::now(), self.invoker(&order.call.extension.id).await);
        let mut telling = Telling::new(&invoker, order, scope);
        let mut turn = Turn::first(order);
        let (mut attempts, mut last): (u32, Option<Attempt>) = (0, None);
        let mut retry_refused = false;
        let end = loop {
            let attempt = self.attempt(&invoker, order, scope, turn).await;
            // A retry that was not even sent says less than the failure before it.
            if let (false, Some(before)) = (attempt.sent, last.take()) {
                break before;
            }
            attempts += u32::from(attempt.sent);
            if attempt.sent && attempts == 1 && order.attempt <= 1 {
                self.shared.retries.attempted(&invoker.id);
            }
            let Err(failure) = &attempt.result else {
                break attempt;
            };
            let next = turn.after(attempt.place);
            let wait = wait_before(failure, order, attempts);
            if !attempt.sent
                || !may_retry(order, failure, attempts)
                || !self.fits(wait, next, order, scope)
            {
                break attempt;
            }
            retry_refused =
                scope.budget.left() > 0 && !self.shared.retries.take(Again::Retry(&invoker.id));
            if retry_refused || !scope.budget.take() {
                break attempt;
            }
            turn = next;
            last = Some(attempt);
            sleep(wait).await;
        };
        telling.ended(&end, begun.elapsed());
        CallResult {
            outcome: end.result,
            latency: begun.elapsed(),
            attempts,
            place: end.place,
            retry_refused,
        }
    }

    async fn attempt(
        &self,
        invoker: &Invoker,
        order: &Order,
        scope: &CallScope,
        turn: Turn,
    ) -> Attempt {
        let own = order.call.target.timeout;
        // Before anything is held that others may need.
        if !self
            .bus_is_there(own.min(scope.deadline.saturating_duration_since(Instant::now())))
            .await
        {
            return Attempt::not_sent(CallFailure::BusUnavailable, turn.place);
        }
        let own_limit = self
            .shared
            .limits
            .of(&invoker.id, |id| self.max_in_flight(id));
        // Before the breaker is asked: its permits are not for waiting.
        let Some(taken) = own_limit.enter(patience(turn, scope)).await else {
            return Attempt::not_sent(
                CallFailure::Overloaded {
                    retry_after: backoff_after_overload(),
                },
                turn.place,
            );
        };
        let left = scope.deadline.saturating_duration_since(Instant::now());
        let granted = self
            .may_send(order, left)
            .and_then(|()| self.has_time(order, turn.place, left));
        let granted = granted.and_then(|()| permit(invoker, order, &scope.tenant_id, turn.place));
        let (place, subject, permit) = match granted {
            Ok(granted) => granted,
            Err(failure) => return Attempt::not_sent(failure, turn.place),
        };
        let limit = own.min(left);
        let call = Call {
            subject: Arc::clone(&subject),
            body: order.body.clone(),
            traceparent: scope.traceparent.to_string(),
            trace_id: Arc::clone(&scope.trace_id),
            tenant_id: Arc::clone(&scope.tenant_id),
            timeout: limit,
            attempt: turn.number,
        };
        let begun = Instant::now();
        // The transport's own limit comes first: it can tell a silent extension from a bus that is gone.
        let answer = timeout(limit + TRANSPORT_SLACK, self.shared.transport.call(call)).await;
        let answer = answer.unwrap_or(Err(TransportError::Timeout));
        let took = begun.elapsed();
        // The answer may have been there in time: who was late is this process, or the bus.
        let is_late = matches!(answer, Err(TransportError::BusLate))
            || self.is_late()
            || took > limit + LOCAL_LAG;
        // A service that gives up much earlier has a failure like any other.
        let to_the_end = took >= limit.mul_f64(TO_THE_END);
        let result = read(order, answer, own > left, to_the_end);
        let outcome = match &result {
            Ok(_) => Outcome::Success,
            Err(CallFailure::Timeout | CallFailure::Deadline) if is_late => Outcome::Ignored,
            // With half its time it should have answered; with less, a caller in a hurry would open it for everybody.
            Err(CallFailure::Deadline) if limit >= own / 2 => Outcome::Timeout,
            Err(CallFailure::NoResponders) if !self.shared.transport.is_settled() => {
                Outcome::Ignored
            }
            Err(failure) => failure.outcome(),
        };
        permit.finish(outcome, took);
        let isolation = order.call.target.breaker.isolation;
        if let Some(wait) = result.as_ref().err().and_then(CallFailure::wants_patience) {
            invoker
                .target(&subject)
                .pause_for(&scope.tenant_id, isolation, wait);
        }
        // After that, or the next one would not know.
        taken.finish(Load::of(result.as_ref().err(), outcome, isolation));
        Attempt {
            result,
            outcome,
            took,
            place,
            sent: true,
        }
    }

    /// Waits for a bus that has just gone away. Nothing is handed to it meanwhile: it would be sent when nobody waits any
    /// more.
    async fn bus_is_there(&self, limit: Duration) -> bool {
        let transport = &self.shared.transport;
        let Some(away_for) = transport.away_for() else {
            return true;
        };
        timeout(
            RECONNECT.saturating_sub(away_for).min(limit),
            transport.back(),
        )
        .await
        .is_ok()
    }

    fn is_late(&self) -> bool {
        self.shared.local_lag.load(Ordering::Relaxed)
    }

    /// What can be known before anything is sent.
    fn may_send(&self, order: &Order, left: Duration) -> Result<(), CallFailure> {
        let transport = &self.shared.transport;
        if left < LEAST_TIME {
            return Err(CallFailure::Deadline);
        }
        if !transport.is_connected() {
            return Err(CallFailure::BusUnavailable);
        }
        if order.body.len() > transport.max_body() {
            return Err(CallFailure::TooLarge {
                size: order.body.len(),
                limit: transport.max_body(),
            });
        }
        Ok(())
    }

    /// A guardrail that usually takes longer than what is left would only use it up. A provider was chosen with that in mind.
    fn has_time(&self, order: &Order, place: usize, left: Duration) -> Result<(), CallFailure> {
        let Some(place) = order
            .call
            .target
            .place(place)
            .filter(|_| order.call.rule != Rule::Provider)
        else {
            return Ok(());
        };
        let vitals = self.vitals(order.call.id(), &place.subject);
        let too_slow = vitals.fresh && vitals.latency.is_some_and(|usual| usual > left);
        if too_slow {
            Err(CallFailure::TooLittleTime)
        } else {
            Ok(())
        }
    }

    /// Whether there is time for the wait and for what another attempt usually takes.
    fn fits(&self, wait: Duration, next: Turn, order: &Order, scope: &CallScope) -> bool {
        let usual = order
            .call
            .target
            .place(next.place)
            .and_then(|place| self.vitals(order.call.id(), &place.subject).latency);
        let needed = wait.saturating_add(usual.unwrap_or_default().max(LEAST_TIME));
        needed < scope.deadline.saturating_duration_since(Instant::now())
    }
}

/// Time that an attempt can spare for a place. A retry waits for none: where calls wait, it is the first to give way.
fn patience(turn: Turn, scope: &CallScope) -> Duration {
    if turn.number > 1 {
        Duration::ZERO
    } else {
        scope.deadline.saturating_duration_since(Instant::now())
    }
}

/// Which attempt is made next, and at which place it begins to look for a permit.
#[derive(Debug, Clone, Copy)]
struct Turn {
    number: u32,
    place: usize,
}

impl Turn {
    /// The order may be a later attempt of somebody who counts himself.
    fn first(order: &Order) -> Self {
        Self {
            number: order.attempt.max(1),
            place: order.turn,
        }
    }

    /// A retry goes to the place after the one that failed.
    fn after(self, failed: usize) -> Self {
        Self {
            number: self.number.saturating_add(1),
            place: failed + 1,
        }
    }
}

/// The first place from `start` on, and around, that did not ask to be left alone and whose breaker lets the call through.
/// When none does, the call is refused until the first of them opens up.
fn permit(
    invoker: &Invoker,
    order: &Order,
    tenant_id: &Arc<str>,
    start: usize,
) -> Result<(usize, Arc<str>, CallPermit), CallFailure> {
    let target = &order.call.target;
    let count = target.places.len();
    let operator = order.call.extension.breaker_operator.as_ref();
    let mode = operator
        .map(|operator| operator.mode(SystemTime::now()))
        .unwrap_or_default();
    let (mut soonest, mut busy): (Option<Duration>, bool) = (None, false);
    for index in (start..start + count).filter_map(|index| index.checked_rem(count)) {
        let Some(place) = target.places.get(index) else {
            continue;
        };
        let wait = match invoker
            .target(&place.subject)
            .permit_for(tenant_id, mode, &target.breaker)
        {
            Ok(permit) => return Ok((index, Arc::clone(&place.subject), permit)),
            Err(Withheld::CircuitOpen(wait)) => wait,
            Err(Withheld::AskedToWait(wait)) => {
                busy = true;
                wait
            }
        };
        soonest = Some(soonest.map_or(wait, |known| known.min(wait)));
    }
    Err(match soonest {
        Some(retry_after) if busy => CallFailure::Overloaded { retry_after },
        Some(retry_after) => CallFailure::CircuitOpen { retry_after },
        None => CallFailure::Refused("it has no subject".to_owned()),
    })
}

/// What came back; `hurried` when the request had less time left than the extension is given, `to_the_end` when what it had
/// is nearly used up.
fn read(
    order: &Order,
    answer: Result<Answer, TransportError>,
    hurried: bool,
    to_the_end: bool,
) -> Result<Reply, CallFailure> {
    match answer {
        Ok(answer) => match call::read(order.call.extension.kind, &answer) {
            // It kept to the time that it was given, and said so just before that was over.
            Err(failure) if to_the_end && failure.is_out_of_time() && hurried => {
                Err(CallFailure::Deadline)
            }
            Err(failure) if to_the_end && failure.is_out_of_time() => Err(CallFailure::Timeout),
            read => read,
        },
        // Not the extension's time was over, the request's was.
        Err(TransportError::Timeout | TransportError::BusLate) if hurried => {
            Err(CallFailure::Deadline)
        }
        Err(error) => Err(CallFailure::from(error)),
    }
}

/// What may have been done is repeated because guardrails only look at a message and change it; one that does more says so.
fn may_retry(order: &Order, failure: &CallFailure, attempts: u32) -> bool {
    let may_be_done = matches!(failure, CallFailure::Timeout | CallFailure::BusUnavailable);
    let unsafe_to_repeat = may_be_done && declares_effects(&order.call.extension);
    !unsafe_to_repeat && attempts <= order.call.own_retries(failure)
}

/// `metadata.idempotent` of the record is false.
fn declares_effects(extension: &Extension) -> bool {
    extension
        .metadata
        .get("idempotent")
        .is_some_and(|raw| raw.get() == "false")
}

/// The wait that the extension asked for, or a random one.
fn wait_before(failure: &CallFailure, order: &Order, attempts: u32) -> Duration {
    if let Some(wait) = failure.asked_to_wait() {
        return wait;
    }
    if *failure == CallFailure::NoResponders && order.call.target.places.len() == 1 {
        return SUBSCRIBE_AGAIN.mul_f64(1.0 + fastrand::f64());
    }
    backoff(attempts)
}

/// Uniform in zero to 25 ms, doubled with each attempt.
fn backoff(attempt: u32) -> Duration {
    let most = RETRY_BASE
        .saturating_mul(1 << attempt.saturating_sub(1).min(10))
        .min(RETRY_CAP);
    most.mul_f64(fastrand::f64())
}

/// Not all who found no place come back together.
fn backoff_after_overload() -> Duration {
    Duration::from_millis(fastrand::u64(OVERLOADED_MS))
}

/// One try of a call.
#[derive(Debug)]
struct Attempt {
    result: Result<Reply, CallFailure>,
    /// What it says about the extension.
    outcome: Outcome,
    took: Duration,
    /// Index among the target's places.
    place: usize,
    sent: bool,
}

impl Attempt {
    fn not_sent(failure: CallFailure, place: usize) -> Self {
        Self {
            result: Err(failure),
            outcome: Outcome::Ignored,
            took: Duration::ZERO,
            place,
            sent: false,
        }
    }
}

/// Tells the invoker how a call went, also when the task that makes it is cut off in the middle.
struct Telling<'c> {
    invoker: &'c Invoker,
    order: &'c Order,
    scope: &'c CallScope,
    begun: Instant,
    told: bool,
}

impl<'c> Telling<'c> {
    fn new(invoker: &'c Invoker, order: &'c Order, scope: &'c CallScope) -> Self {
        Self {
            invoker,
            order,
            scope,
            begun: Instant::now(),
            told: false,
        }
    }

    fn ended(&mut self, attempt: &Attempt, latency: Duration) {
        let (status, failure) = match &attempt.result {
            Ok(Reply::Reject { .. }) => ("rejected", None),
            Ok(_) => ("success", None),
            // Nothing went wrong: nobody needs it any more.
            Err(failure @ CallFailure::Cancelled) => (failure.status(), None),
            Err(failure) => (
                failure.status(),
                Some((failure.reason(), failure.sentence(&self.invoker.id))),
            ),
        };
        let tokens = match &attempt.result {
            Ok(Reply::Completion {
                usage: Some(usage), ..
            }) => Fields::parse(usage.get())
                .ok()
                .and_then(|u| u.number("total_tokens")),
            Ok(_) | Err(_) => None,
        };
        self.tell(Finished {
            kind: self.order.call.extension.kind,
            latency,
            status,
            failure,
            evidence: (attempt.outcome != Outcome::Ignored)
                .then_some((attempt.outcome == Outcome::Success, attempt.took)),
            tokens: tokens.filter(|t| t.is_finite() && *t >= 0.0),
            trace_id: Arc::clone(&self.scope.trace_id),
            tenant_id: Arc::clone(&self.scope.tenant_id),
        });
    }

    fn tell(&mut self, finished: Finished) {
        self.told = true;
        let _ = self.invoker.address.send(InvokerMsg::Finished(finished));
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        // Before its deadline a call is cut off only because its result is no longer wanted.
        let in_time = Instant::now() < self.scope.deadline;
        let failure = if in_time {
            CallFailure::Cancelled
        } else {
            CallFailure::Deadline
        };
        self.ended(&Attempt::not_sent(failure, 0), self.begun.elapsed());
    }
}
