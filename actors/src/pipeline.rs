//! One request through its named steps: parse, policy, plan, pre, validate, choose, call the provider, post, answer.
//!
//! The actor decides and hands off: calls run in a task and their results come back as a message. After each step the
//! run is kept where it survives this actor.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::{Instant, sleep_until};

use crate::domain::plan::{Plan, PlannedCall};
use crate::domain::request::Request;
use crate::domain::run::{CallResult, Next, Order, Run};
use crate::invokers::CallScope;
use crate::pipelines::InFlight;
use crate::reply::Outgoing;
use crate::supervision::{OnDrop, OwnedTask};

#[derive(Debug)]
pub(crate) enum PipelineMsg {
    /// Do the next step.
    Advance,
    /// The calls of this step are done.
    CallsDone(Vec<CallResult>),
    /// The task that made the calls is gone without a result.
    CallsLost,
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
    calls: Option<OwnedTask>,
    deadline: Option<OwnedTask>,
}

/// Kept back from every deadline for writing the answer: the larger of this and a fiftieth.
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
        let mut state = PipelineState { request, run, calls: None, deadline: None };
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
        state.request.shared.carried_by(myself.get_id(), &state.request)?;
        myself.send_message(PipelineMsg::Advance)?;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<PipelineMsg>,
        message: PipelineMsg,
        state: &mut PipelineState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PipelineMsg::Advance => state.advance(&myself),
            PipelineMsg::CallsDone(results) => state.calls_done(results, &myself),
            PipelineMsg::CallsLost => return Err("the calls of a step were lost".into()),
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
        let parsed =
            Request::parse(&self.request.body, &self.request.headers, &settings.requests, || fastrand::u64(..));
        let request = match parsed {
            Ok(request) => request,
            Err(refusal) => {
                let (error, correlation) = *refusal;
                self.request.answer(Outgoing::error(&error, &correlation));
                return None;
            }
        };
        let snapshot = shared.registry.snapshot();
        let plan = match Plan::new(&request.tenant_id, &request.policy_id, &snapshot, &settings.plans) {
            Ok(plan) => plan,
            Err(error) => {
                self.request.answer(Outgoing::error(&error, &request.correlation()));
                return None;
            }
        };
        let run = Run::new(self.request.kind, Arc::new(request), Arc::new(plan), &settings.environment);
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
        };
        let (actor, for_lost) = (myself.clone(), myself.clone());
        let lost = OnDrop::new(move || {
            let _ = for_lost.send_message(PipelineMsg::CallsLost);
        });
        self.calls = Some(OwnedTask::spawn(async move {
            let results = join_all(orders.iter().map(|order| invokers.call(order, &scope))).await;
            lost.disarm();
            let _ = actor.send_message(PipelineMsg::CallsDone(results));
        }));
    }

    fn calls_done(&mut self, results: Vec<CallResult>, myself: &ActorRef<PipelineMsg>) {
        let Some(mut run) = self.run.take() else { return };
        run.apply(results);
        self.keep(&run);
        self.run = Some(run);
        self.advance(myself);
    }

    fn choose(&self, run: &mut Run) {
        let invokers = &self.request.shared.invokers;
        let held_back = |call: &PlannedCall| invokers.find(&call.extension.id).and_then(|invoker| invoker.held_back());
        let latency = |call: &PlannedCall| invokers.find(&call.extension.id).and_then(|invoker| invoker.figures().p50);
        run.choose(held_back, latency, fastrand::f64());
    }

    fn deadline_reached(&mut self, myself: &ActorRef<PipelineMsg>) {
        self.calls = None;
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
        let timeout = self.request.checkpoint.lock().as_ref().map(|run| run.request.timeout);
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
        self.request.received + run.request.timeout.saturating_sub(reserve(run.request.timeout))
    }
}

fn reserve(timeout: Duration) -> Duration {
    LEAST_RESERVE.max(timeout / 50)
}
