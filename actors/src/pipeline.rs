//! One request through its named steps: parse, policy, plan, pre, validate, choose, call the
//! provider, post, answer.
//!
//! The actor decides and hands off: calls run in a task and their results come back as a message.
//! While it waits, the run is kept where it survives this actor; it works on a copy, so that a
//! panic leaves the last finished step as it was.

use std::sync::Arc;
use std::time::Duration;

use beamline_contract::details::QUOTA;
use beamline_domain::conditions::Facts;
use beamline_domain::request::error::RequestError;
use beamline_domain::request::plan::Plan;
use beamline_domain::request::run::{CallOrder, CallResult, Next, Run, Stage};
use beamline_domain::request::{Correlation, Request};
use beamline_domain::session::{Pinned, Recalled};
use beamline_domain::target::selection::ChoiceContext;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::{Instant, sleep, sleep_until};

use crate::call::{CallScope, Telling, side_by_side};
use crate::fail_points;
use crate::in_flight::{FlightTable, InFlight};
use crate::responder::{About, Outgoing};
use crate::services::PipelineServices;
use crate::tree::{OnDrop, OwnedTask};

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

/// What the actor is given.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) request: Arc<InFlight>,
    pub(crate) services: Arc<PipelineServices>,
    pub(crate) flights: Arc<FlightTable>,
}

#[derive(Debug)]
pub(crate) struct PipelineState {
    request: Arc<InFlight>,
    services: Arc<PipelineServices>,
    flights: Arc<FlightTable>,
    /// What is being waited for.
    task: Option<OwnedTask>,
    deadline: Option<OwnedTask>,
}

/// Kept back from every deadline for writing the answer: the larger of this and a fiftieth. Timers
/// fire up to 1 ms late, and two of them stand between the end of the last call and the deadline;
/// with less, answers would come after it.
const LEAST_RESERVE: Duration = Duration::from_millis(4);
/// Nobody is told to come back at once.
const LEAST_WAIT: Duration = Duration::from_millis(1);

impl Actor for Pipeline {
    type Msg = PipelineMsg;
    type State = PipelineState;
    type Arguments = Carried;

    async fn pre_start(
        &self,
        myself: ActorRef<PipelineMsg>,
        carried: Carried,
    ) -> Result<PipelineState, ActorProcessingErr> {
        let mut state = PipelineState {
            request: carried.request,
            services: carried.services,
            flights: carried.flights,
            task: None,
            deadline: None,
        };
        state.watch_deadline(&myself);
        Ok(state)
    }

    /// Entered once it is linked, so that every end after this is an event for the supervisor; an
    /// actor that does not get this far drops the request, and that answers it.
    async fn post_start(
        &self,
        myself: ActorRef<PipelineMsg>,
        state: &mut PipelineState,
    ) -> Result<(), ActorProcessingErr> {
        state.flights.carried_by(myself.get_id(), &state.request)?;
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
            PipelineMsg::Advance => match state.reached() {
                Some(run) => state.advance(run, &myself),
                None => state.begin(&myself),
            },
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
    /// Parse, find the policy, plan; then the first step.
    fn begin(&mut self, myself: &ActorRef<PipelineMsg>) {
        let services = Arc::clone(&self.services);
        let settings = &services.settings;
        let in_flight = Arc::clone(&self.request);
        let parsed = Request::parse(
            &in_flight.body,
            &in_flight.headers,
            &settings.requests,
            || fastrand::u64(..),
        );
        let request = match parsed {
            Ok(request) => request,
            Err(refusal) => {
                let (error, correlation) = *refusal;
                self.refuse(myself, || Outgoing::error(&error, &correlation));
                return;
            }
        };
        let plan = match self.plan(&request) {
            Ok(plan) => plan,
            Err(error) => {
                self.refuse(myself, || refused(&error, &request, in_flight.received));
                return;
            }
        };
        let run = Run::new(
            in_flight.kind,
            request,
            Arc::new(plan),
            Arc::clone(&settings.environment),
            settings.extra_attempts,
        );
        // Set by the actor before this one where that failed.
        let _ = in_flight.request.set(Arc::clone(&run.request));
        self.watch_deadline(myself);
        self.advance(run, myself);
    }

    fn plan(&self, request: &Request) -> Result<Plan, RequestError> {
        let settings = &self.services.settings;
        let invokers = &self.services.invokers;
        let facts = Facts {
            tenant_id: &request.tenant_id,
            policy_id: &request.policy_id,
            environment: &settings.environment,
            message_type: &request.message.message_type,
            context: &request.context,
        };
        let mut choice = ChoiceContext {
            endpoint_state: &|id, subject| {
                invokers.endpoint_state_for(&request.tenant_id, id, subject)
            },
            roll: &mut fastrand::f64,
            left: request.timeout,
        };
        let snapshot = self.services.registry.snapshot();
        Plan::new(&facts, &snapshot, &settings.plans, &mut choice)
    }

    fn refuse(&self, myself: &ActorRef<PipelineMsg>, write: impl FnOnce() -> Outgoing) {
        self.request.answer(write);
        myself.stop(None);
    }

    /// Goes on until something has to be waited for.
    fn advance(&mut self, mut run: Run, myself: &ActorRef<PipelineMsg>) {
        let mut in_calls = 0;
        loop {
            let next = run.next_step();
            if let Some(stage) = run.stage() {
                self.request.story.reached(stage);
            }
            match next {
                Next::Choose => self.choose(&mut run),
                Next::Answer => {
                    self.request.answer_run(&run);
                    return myself.stop(None);
                }
                Next::Call(orders) => {
                    in_calls = orders.iter().map(|order| order.body.len()).sum();
                    self.call(orders, &run, myself);
                    break;
                }
                Next::Recall { key, ttl } => {
                    let sessions = self.services.sessions.clone();
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
                    let sessions = self.services.sessions.clone();
                    if instead_of.is_none()
                        && let Err(wait) = sessions.begin(&run.request.tenant_id, ttl)
                    {
                        run.fail(too_many_sessions(wait));
                        self.request.answer_run(&run);
                        return myself.stop(None);
                    }
                    self.hand_off(myself, async move {
                        let pinned = sessions.pin(&key, &provider, ttl, instead_of.as_deref());
                        PipelineMsg::Pinned(pinned.await)
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
            }
        }
        self.request.holds(run.made_bytes() + in_calls);
        *self.request.checkpoint.lock() = Some(run);
    }

    /// Goes on with what was waited for.
    fn resume(&mut self, myself: &ActorRef<PipelineMsg>, take: impl FnOnce(&mut Run)) {
        if let Some(mut run) = self.reached() {
            take(&mut run);
            self.advance(run, myself);
        }
    }

    /// What the run has reached. A copy: what is kept stays for an actor that may have to go on
    /// from here.
    fn reached(&self) -> Option<Run> {
        self.request.checkpoint.lock().clone()
    }

    /// Makes the calls of a step side by side in a task; the actor goes on listening.
    fn call(&mut self, orders: Vec<CallOrder>, run: &Run, myself: &ActorRef<PipelineMsg>) {
        let invokers = self.services.invokers.clone();
        let scope = CallScope {
            trace_id: Arc::clone(&run.request.trace.trace_id),
            traceparent: run.request.trace.shared_traceparent(),
            carried: run.request.trace.carried.clone(),
            tenant_id: Arc::clone(&run.request.tenant_id),
            deadline: self.deadline_of(&run.request),
            rehearsal: false,
            story: Some(Telling {
                story: Arc::clone(&self.request.story),
                stage: run.stage().unwrap_or(Stage::Provider),
            }),
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
        let actor = myself.clone();
        let for_lost = myself.clone();
        let lost = OnDrop::new(move || {
            let _ = for_lost.send_message(PipelineMsg::TaskLost);
        });
        let steps = Arc::clone(&self.request.steps);
        let spawned = Instant::now();
        self.task = Some(OwnedTask::spawn(async move {
            let outside = steps.outside(spawned);
            let message = work.await;
            drop(outside);
            lost.disarm();
            steps.ready();
            let _ = actor.send_message(message);
        }));
    }

    fn choose(&self, run: &mut Run) {
        let invokers = &self.services.invokers;
        let tenant_id = Arc::clone(&run.request.tenant_id);
        let deadline = self.deadline_of(&run.request);
        let mut choice = ChoiceContext {
            endpoint_state: &|id, subject| invokers.endpoint_state_for(&tenant_id, id, subject),
            roll: &mut fastrand::f64,
            left: deadline.saturating_duration_since(Instant::now()),
        };
        run.choose(&mut choice, invokers.retry_budgets());
    }

    fn deadline_reached(&mut self, myself: &ActorRef<PipelineMsg>) {
        self.task = None;
        if let Some(mut run) = self.reached() {
            run.time_out(self.request.received.elapsed());
            self.request.answer_run(&run);
        }
        myself.stop(None);
    }

    fn watch_deadline(&mut self, myself: &ActorRef<PipelineMsg>) {
        let Some(request) = self.request.request.get() else {
            return;
        };
        // Calls end at the deadline less the reserve; what still waits shortly before the deadline
        // will not be in time.
        let timeout = request.timeout;
        let last_moment = self.request.received + timeout.saturating_sub(reserve(timeout) / 4);
        let myself = myself.clone();
        self.deadline = Some(OwnedTask::spawn(async move {
            sleep_until(last_moment).await;
            let _ = myself.send_message(PipelineMsg::DeadlineReached);
        }));
    }

    fn deadline_of(&self, request: &Request) -> Instant {
        self.request.received + request.timeout.saturating_sub(reserve(request.timeout))
    }
}

/// Its tenant has as many sticky sessions as it may.
fn too_many_sessions(wait: Duration) -> RequestError {
    RequestError::rate_limited(wait.max(LEAST_WAIT)).with(QUOTA, "sessions_per_tenant")
}

/// The answer to a request that was read and could not be planned.
fn refused(error: &RequestError, request: &Request, received: Instant) -> Outgoing {
    let correlation: Correlation = request.correlation();
    let clamped = request.clamped.then_some(request.timeout);
    Outgoing {
        deadline: Some(received + request.timeout),
        about: About::Unread(correlation.clone(), clamped),
        ..Outgoing::error(error, &correlation)
    }
}

fn reserve(timeout: Duration) -> Duration {
    LEAST_RESERVE.max(timeout / 50)
}
