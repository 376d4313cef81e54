//! One request through its named steps: parse, policy, plan, pre, validate, choose, call the provider, post, answer.
//!
//! The actor decides and hands off: calls run in a task and their results come back as a message. After each step the
//! run is kept where it survives this actor.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::fail_points;
use crate::invokers::{CallScope, Invokers};
use crate::pipelines::InFlight;
use crate::reply::Outgoing;
use crate::tree::{OnDrop, OwnedTask};
use beamline_domain::conditions::Facts;
use beamline_domain::request::Request;
use beamline_domain::request::call::CallFailure;
use beamline_domain::request::plan::Plan;
use beamline_domain::request::run::{AttemptBudget, CallResult, Next, Order, Run, is_fatal};
use beamline_domain::session::{Pinned, Recalled};
use beamline_domain::target::selection::Outlook;

#[derive(Debug)]
pub(crate) enum PipelineMsg {
    /// Do the next step.
    Advance,
    /// The calls of this step are done.
    CallsDone(Vec<CallResult>),
    /// Which provider the session has.
    Recalled(Recalled),
    Pinned(Pinned),
    /// The task that worked on a step is gone without a result.
    TaskLost,
    /// There is just time left to answer.
    DeadlineReached,
}

/// The actor of one request.
#[derive(Debug)]
pub(crate) struct Pipeline;

#[derive(Debug)]
pub(crate) struct PipelineState {
    request: Arc<InFlight>,
    run: Option<Run>,
    /// What is being waited for.
    task: Option<OwnedTask>,
    deadline: Option<OwnedTask>,
}

/// Kept back from every deadline for writing the answer: the larger of this and a fiftieth. Timers fire up to 1 ms late, and
/// two of them stand between the end of the last call and the deadline; with less, answers would come after it.
const LEAST_RESERVE: Duration = Duration::from_millis(4);

impl Actor for Pipeline {
    type Msg = PipelineMsg;
    type State = PipelineState;
    type Arguments = Arc<InFlight>;

    async fn pre_start(
        &self,
        myself: ActorRef<PipelineMsg>,
        request: Arc<InFlight>,
    ) -> Result<PipelineState, ActorProcessingErr> {
        let run = request.checkpoint.lock().clone();
        let mut state = PipelineState {
            request,
            run,
            task: None,
            deadline: None,
        };
        state.watch_deadline(&myself);
        Ok(state)
    }

    /// Entered once it is linked, so that every end after this is an event for the supervisor; an actor that does not get
    /// this far drops the request, and that answers it.
    async fn post_start(
        &self,
        myself: ActorRef<PipelineMsg>,
        state: &mut PipelineState,
    ) -> Result<(), ActorProcessingErr> {
        state
            .request
            .shared
            .carried_by(myself.get_id(), &state.request)?;
        myself.send_message(PipelineMsg::Advance)?;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<PipelineMsg>,
        message: PipelineMsg,
        state: &mut PipelineState,
    ) -> Result<(), ActorProcessingErr> {
        state.request.steps.begun();
        fail_points::reached("pipeline");
        match message {
            PipelineMsg::Advance => state.advance(&myself),
            PipelineMsg::CallsDone(results) => state.resume(&myself, |run| run.apply(results)),
            PipelineMsg::Recalled(recalled) => state.resume(&myself, |run| run.recalled(recalled)),
            PipelineMsg::Pinned(pinned) => state.resume(&myself, |run| run.pinned(&pinned)),
            PipelineMsg::TaskLost => return Err("the task of a step was lost".into()),
            PipelineMsg::DeadlineReached => state.deadline_reached(&myself),
        }
        Ok(())
    }
}

impl PipelineState {
    /// Goes on until something has to be waited for.
    fn advance(&mut self, myself: &ActorRef<PipelineMsg>) {
        let mut run = match self.run.take() {
            Some(run) => run,
            None => match self.begin(myself) {
                Some(run) => run,
                None => return myself.stop(None),
            },
        };
        loop {
            match run.next_step() {
                Next::Call(orders) => {
                    self.call(orders, &run, myself);
                    break;
                }
                Next::Recall { key, ttl } => {
                    let sessions = self.request.shared.sessions.clone();
                    self.hand_off(myself, async move {
                        PipelineMsg::Recalled(sessions.recall(&key, ttl).await)
                    });
                    break;
                }
                Next::Pin {
                    key,
                    provider,
                    ttl,
                    instead_of,
                } => {
                    let sessions = self.request.shared.sessions.clone();
                    self.hand_off(myself, async move {
                        PipelineMsg::Pinned(
                            sessions
                                .pin(&key, &provider, ttl, instead_of.as_deref())
                                .await,
                        )
                    });
                    break;
                }
                Next::Wait(time) => {
                    self.hand_off(myself, async move {
                        sleep(time).await;
                        PipelineMsg::Advance
                    });
                    break;
                }
                Next::Choose => self.choose(&mut run),
                Next::Answer => {
                    self.request.answer_run(&run);
                    myself.stop(None);
                    break;
                }
            }
            self.keep(&run);
        }
        self.run = Some(run);
    }

    /// Parse, find the policy, plan. `None` when that ended in an answer.
    fn begin(&mut self, myself: &ActorRef<PipelineMsg>) -> Option<Run> {
        let shared = Arc::clone(&self.request.shared);
        let settings = &shared.settings;
        let parsed = Request::parse(
            &self.request.body,
            &self.request.headers,
            &settings.requests,
            || fastrand::u64(..),
        );
        let request = match parsed {
            Ok(request) => request,
            Err(refusal) => {
                let (error, correlation) = *refusal;
                self.request.answer(Outgoing::error(&error, &correlation));
                return None;
            }
        };
        let facts = Facts {
            tenant_id: &request.tenant_id,
            policy_id: &request.policy_id,
            environment: &settings.environment,
            message_type: &request.message.message_type,
            context: &request.context,
        };
        let mut outlook = Outlook {
            vitals: &|id, subject| shared.invokers.vitals_for(&request.tenant_id, id, subject),
            roll: &mut fastrand::f64,
            left: request.timeout,
        };
        let plan = match Plan::new(
            &facts,
            &shared.registry.snapshot(),
            &settings.plans,
            &mut outlook,
        ) {
            Ok(plan) => plan,
            Err(error) => {
                let timeout_clamped = request.clamped.then_some(request.timeout);
                let deadline = Some(self.request.received + request.timeout);
                let refusal = Outgoing::error(&error, &request.correlation());
                self.request.answer(Outgoing {
                    timeout_clamped,
                    deadline,
                    ..refusal
                });
                return None;
            }
        };
        let budget = AttemptBudget::new(settings.extra_attempts);
        let mut run = Run::new(
            self.request.kind,
            Arc::new(request),
            Arc::new(plan),
            &settings.environment,
            budget,
        );
        run.retry_tokens = Some(shared.invokers.retry_tokens());
        self.keep(&run);
        self.watch_deadline(myself);
        Some(run)
    }

    /// Makes the calls of a step side by side in a task; the actor goes on listening.
    fn call(&mut self, orders: Vec<Order>, run: &Run, myself: &ActorRef<PipelineMsg>) {
        let invokers = self.request.shared.invokers.clone();
        let scope = CallScope {
            trace_id: run.request.trace.trace_id.as_str().into(),
            traceparent: run.request.trace.traceparent().into(),
            tenant_id: Arc::clone(&run.request.tenant_id),
            deadline: self.deadline_of(run),
            budget: run.guardrail_budget(),
        };
        self.hand_off(myself, async move {
            PipelineMsg::CallsDone(side_by_side(&invokers, &orders, &scope).await)
        });
    }

    /// Waits for something in a task, and hears of it as a message.
    fn hand_off(
        &mut self,
        myself: &ActorRef<PipelineMsg>,
        work: impl Future<Output = PipelineMsg> + Send + 'static,
    ) {
        let (actor, for_lost) = (myself.clone(), myself.clone());
        let lost = OnDrop::new(move || {
            let _ = for_lost.send_message(PipelineMsg::TaskLost);
        });
        let (steps, spawned) = (Arc::clone(&self.request.steps), Instant::now());
        self.task = Some(OwnedTask::spawn(async move {
            let outside = steps.outside(spawned);
            let message = work.await;
            drop(outside);
            lost.disarm();
            steps.ready();
            let _ = actor.send_message(message);
        }));
    }

    /// Goes on with what was waited for.
    fn resume(&mut self, myself: &ActorRef<PipelineMsg>, take: impl FnOnce(&mut Run)) {
        let Some(mut run) = self.run.take() else {
            return;
        };
        take(&mut run);
        self.keep(&run);
        self.run = Some(run);
        self.advance(myself);
    }

    fn choose(&self, run: &mut Run) {
        let invokers = &self.request.shared.invokers;
        let tenant_id = Arc::clone(&run.request.tenant_id);
        run.choose(&mut Outlook {
            vitals: &|id, subject| invokers.vitals_for(&tenant_id, id, subject),
            roll: &mut fastrand::f64,
            left: self
                .deadline_of(run)
                .saturating_duration_since(Instant::now()),
        });
    }

    fn deadline_reached(&mut self, myself: &ActorRef<PipelineMsg>) {
        self.task = None;
        if let Some(mut run) = self.run.take() {
            run.time_out(self.request.received.elapsed());
            self.request.answer_run(&run);
        }
        myself.stop(None);
    }

    /// Keeps what the run has reached, for an actor that may have to go on from here.
    fn keep(&self, run: &Run) {
        *self.request.checkpoint.lock() = Some(run.clone());
    }

    fn watch_deadline(&mut self, myself: &ActorRef<PipelineMsg>) {
        let timeout = self
            .request
            .checkpoint
            .lock()
            .as_ref()
            .map(|run| run.request.timeout);
        let Some(timeout) = timeout else { return };
        // Calls end at the deadline less the reserve; what still waits shortly before the deadline will not be in time.
        let last_moment = self.request.received + timeout.saturating_sub(reserve(timeout) / 4);
        let myself = myself.clone();
        self.deadline = Some(OwnedTask::spawn(async move {
            sleep_until(last_moment).await;
            let _ = myself.send_message(PipelineMsg::DeadlineReached);
        }));
    }

    fn deadline_of(&self, run: &Run) -> Instant {
        self.request.received
            + run
                .request
                .timeout
                .saturating_sub(reserve(run.request.timeout))
    }
}

/// Makes the calls of a step at the same time. One that decides about the request cuts off those after it in the order of
/// the policy; those before it are waited for, because theirs would be the deciding one, whoever is faster. What the
/// request may still retry is shared out before the first of them fails.
pub(crate) async fn side_by_side(
    invokers: &Invokers,
    orders: &[Order],
    scope: &CallScope,
) -> Vec<CallResult> {
    let decided = watch::Sender::new(usize::MAX);
    let registered: Vec<u32> = orders
        .iter()
        .map(|order| order.call.registered_retries())
        .collect();
    let shares = scope.budget.share_out(&registered);
    // What is left then is for those who have one retry only when they were not reached.
    let unregistered: Vec<u32> = orders
        .iter()
        .map(|order| order.call.unregistered_retries())
        .collect();
    let more = scope.budget.share_out(&unregistered);
    let own = |(share, more): (&AttemptBudget, &AttemptBudget)| {
        let budget = if share.left() > 0 { share } else { more }.clone();
        CallScope {
            budget,
            ..scope.clone()
        }
    };
    let scopes: Vec<CallScope> = shares.each.iter().zip(&more.each).map(own).collect();
    let one = |(index, (order, scope))| {
        let (decided, mut heard) = (&decided, decided.subscribe());
        async move {
            let begun = Instant::now();
            let result = tokio::select! {
                // With both at hand, chance must not decide what the answer says of this call.
                biased;
                result = invokers.call(order, scope) => result,
                _ = heard.wait_for(|by| *by < index) => {
                    let outcome = Err(CallFailure::Cancelled);
                    return CallResult { outcome, latency: begun.elapsed(), attempts: 1, place: 0, retry_refused: false };
                }
            };
            if is_fatal(&order.call, &result.outcome) {
                decided.send_modify(|by| *by = index.min(*by));
            }
            result
        }
    };
    join_all(orders.iter().zip(&scopes).enumerate().map(one)).await
}

fn reserve(timeout: Duration) -> Duration {
    LEAST_RESERVE.max(timeout / 50)
}
