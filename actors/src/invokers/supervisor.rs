//! The supervisor of the invokers: one child for each extension in use, and what happens when one
//! ends.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Invokers, SharedInvokers};
use crate::invoker::{Invoker, InvokerActor};
use crate::metrics::NodeLabel;
use crate::tree::{Intensity, RestartLog, Verdict, start_linked};

/// More restarts than this, and the supervisor itself starts anew. A child that fails at once every
/// time gets here in about 6 s: the doubling waits would keep it from ever reaching ten in ten
/// seconds.
const INTENSITY: Intensity = Intensity {
    restarts: 7,
    within: Duration::from_secs(10),
};
/// An invoker that keeps failing is not started for this long, and takes its supervisor down no
/// sooner again: however many of them fail, they hold figures and log lines only, and the root
/// shall not fall with them.
const REST: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub enum InvokersMsg {
    /// Start the actor of an invoker unless it runs; the sender hears when it does.
    Start(Arc<Invoker>, Option<oneshot::Sender<()>>),
    Restart(Arc<Invoker>),
    /// The actor could not start.
    NotStarted {
        invoker: Arc<Invoker>,
        reason: String,
    },
    /// The registry serves another revision: extensions may be gone.
    Prune,
    /// For tests of the supervision: fails the actor.
    #[cfg(any(test, feature = "testing"))]
    Crash,
}

/// The supervisor of all invokers.
#[derive(Debug)]
pub struct InvokersActor;

#[derive(Debug)]
pub struct InvokersState {
    shared: Arc<SharedInvokers>,
    log: RestartLog,
}

impl Actor for InvokersActor {
    type Msg = InvokersMsg;
    type State = InvokersState;
    type Arguments = Invokers;

    async fn pre_start(
        &self,
        myself: ActorRef<InvokersMsg>,
        invokers: Invokers,
    ) -> Result<InvokersState, ActorProcessingErr> {
        let shared = invokers.shared;
        shared.address.filled_by(&myself);
        // After a restart of this supervisor its children are gone; their breakers are not.
        for invoker in shared.all().into_iter().filter(|invoker| !invoker.rests()) {
            let _ = shared.address.send(InvokersMsg::Start(invoker, None));
        }
        let _ = shared.address.send(InvokersMsg::Prune);
        Ok(InvokersState {
            shared,
            log: RestartLog::new(INTENSITY),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<InvokersMsg>,
        message: InvokersMsg,
        state: &mut InvokersState,
    ) -> Result<(), ActorProcessingErr> {
        state.shared.address.node().handling();
        match message {
            InvokersMsg::Start(invoker, started) => state.start(invoker, started, &myself),
            // Pruned while it waited for its restart: nobody would find it.
            InvokersMsg::Restart(invoker) if !state.shared.holds(&invoker) => Ok(()),
            InvokersMsg::Restart(invoker) => state.start(invoker, None, &myself),
            InvokersMsg::NotStarted { invoker, reason } => state.failed(invoker, &reason),
            InvokersMsg::Prune => {
                state.shared.prune();
                Ok(())
            }
            #[cfg(any(test, feature = "testing"))]
            InvokersMsg::Crash => Err("crashed by a test".into()),
        }
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<InvokersMsg>,
        event: SupervisionEvent,
        state: &mut InvokersState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorStarted(cell) => {
                if let Some(invoker) = state.invoker_of(cell.get_id()) {
                    invoker.set_rests(false);
                }
                Ok(())
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                let Some(invoker) = state.invoker_of(cell.get_id()) else {
                    return Ok(());
                };
                state.failed(invoker, &error.to_string())
            }
            // Pruned, or stopped together with everything.
            SupervisionEvent::ActorTerminated(..) => Ok(()),
            SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

impl InvokersState {
    fn invoker_of(&self, actor: ActorId) -> Option<Arc<Invoker>> {
        self.shared.all().into_iter().find(|invoker| {
            let cell = invoker.address.cell();
            cell.is_some_and(|own| own.get_id() == actor)
        })
    }

    /// Starts an invoker's actor unless one runs already. Nobody is waited for; a start that fails
    /// comes as a message, and counts like a failure afterwards.
    fn start(
        &mut self,
        invoker: Arc<Invoker>,
        started: Option<oneshot::Sender<()>>,
        myself: &ActorRef<InvokersMsg>,
    ) -> Result<(), ActorProcessingErr> {
        // The actor of a supervisor that has fallen ends with it, if only in a moment.
        if invoker.is_child_of(myself.get_id()) && invoker.address.is_filled() {
            return Ok(());
        }
        let arguments = (Arc::clone(&invoker), self.shared.metrics.clone(), started);
        let for_failure = Arc::clone(&invoker);
        let supervisor = myself.clone();
        let not_started = move |_, reason| {
            let _ = supervisor.send_message(InvokersMsg::NotStarted {
                invoker: for_failure,
                reason,
            });
        };
        let actor = start_linked(InvokerActor, arguments, myself.get_cell(), not_started)?;
        invoker.becomes_child_of(myself.get_id());
        invoker.address.filled_by(&actor);
        Ok(())
    }

    /// Restarts an invoker after a while, unless too many had to be: then the supervisor starts
    /// anew, and the invoker rests.
    fn failed(&mut self, invoker: Arc<Invoker>, reason: &str) -> Result<(), ActorProcessingErr> {
        match self.log.record(Instant::now(), fastrand::f64()) {
            Verdict::RestartAfter(wait) => {
                tracing::warn!(
                    extension_id = &*invoker.id,
                    error = reason,
                    "an invoker failed; restarting it"
                );
                self.shared
                    .metrics
                    .restarts
                    .get_or_create(&NodeLabel { node: "invokers" })
                    .inc();
                invoker.address.node().ended(reason, true);
                self.shared
                    .address
                    .send_after(wait, InvokersMsg::Restart(invoker));
                Ok(())
            }
            Verdict::GiveUp => {
                invoker.address.node().ended(reason, false);
                self.rest(&invoker);
                if self.fell_lately() {
                    tracing::warn!(
                        extension_id = &*invoker.id,
                        error = reason,
                        "an invoker fails too often; it rests"
                    );
                    return Ok(());
                }
                Err(format!(
                    "too many restarts of invokers, the last one {}: {reason}",
                    invoker.id
                )
                .into())
            }
        }
    }

    /// Whether the supervisor has fallen within the last minute; if not, it does now.
    fn fell_lately(&self) -> bool {
        let now = Instant::now();
        let mut fell = self.shared.fell.lock();
        let lately = fell.is_some_and(|at| now.duration_since(at) < REST);
        if !lately {
            *fell = Some(now);
        }
        lately
    }

    /// Leaves an invoker alone for a while, so that it takes its supervisor down once and not
    /// without end. Its calls go on: the breaker is its callers', only figures and log lines are
    /// missing meanwhile.
    fn rest(&self, invoker: &Arc<Invoker>) {
        invoker.set_rests(true);
        let restart = InvokersMsg::Restart(Arc::clone(invoker));
        self.shared.address.send_after(REST, restart);
    }
}
