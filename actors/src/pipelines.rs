//! The supervisor of all pipelines: one child for each request in flight. A pipeline that fails
//! goes on from its last finished step in another actor, once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use beamline_domain::request::error::RequestError;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;

use crate::door::{Door, PipelinesMsg};
use crate::in_flight::InFlight;
use crate::metrics::NodeLabel;
use crate::tree::{Intensity, OwnedTask, RestartLog, Verdict};

/// Panics within this are too many: what panics then is answered `internal` without another try.
const INTENSITY: Intensity = Intensity {
    restarts: 10,
    within: Duration::from_secs(10),
};

#[derive(Debug)]
pub struct PipelinesActor;

#[derive(Debug)]
pub struct PipelinesState {
    door: Door,
    log: RestartLog,
    _queue: OwnedTask,
}

impl Actor for PipelinesActor {
    type Msg = PipelinesMsg;
    type State = PipelinesState;
    type Arguments = Door;

    async fn pre_start(
        &self,
        myself: ActorRef<PipelinesMsg>,
        door: Door,
    ) -> Result<PipelinesState, ActorProcessingErr> {
        door.address().filled_by(&myself);
        // What came in while nobody was here.
        door.flights().begin(myself.get_id());
        let queue = OwnedTask::spawn(door.clone().serve_queue(move || {
            let _ = myself.send_message(PipelinesMsg::QueueUnserved);
        }));
        Ok(PipelinesState {
            door,
            log: RestartLog::new(INTENSITY),
            _queue: queue,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<PipelinesMsg>,
        message: PipelinesMsg,
        state: &mut PipelinesState,
    ) -> Result<(), ActorProcessingErr> {
        state.door.node().handling();
        match message {
            PipelinesMsg::QueueUnserved => Err("the task that serves the queue was lost".into()),
            #[cfg(any(test, feature = "testing"))]
            PipelinesMsg::Crash => Err("crashed by a test".into()),
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<PipelinesMsg>,
        event: SupervisionEvent,
        state: &mut PipelinesState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, _, _) => {
                if let Some(request) = state.door.flights().remove(cell.get_id()) {
                    request.fail(&RequestError::internal());
                }
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                if let Some(request) = state.door.flights().remove(cell.get_id()) {
                    state.failed(request, &error.to_string(), &myself);
                }
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

/// Its children end with it, and their requests may not have the time to wait for its successor.
impl Drop for PipelinesState {
    fn drop(&mut self) {
        self.door.flights().answer_all();
    }
}

impl PipelinesState {
    /// Another actor goes on from the last finished step, once, and only while there is time. A
    /// request that makes its pipeline panic again harms itself alone: it is answered `internal`,
    /// and the supervisor stays.
    fn failed(&mut self, request: Arc<InFlight>, reason: &str, myself: &ActorRef<PipelinesMsg>) {
        let is_second = request.restarted.swap(true, Ordering::Relaxed);
        let verdict = self.log.record(Instant::now(), 0.5);
        if request.is_answered() {
            tracing::error!(error = reason, "a pipeline failed after its answer");
            return;
        }
        let longest = self.door.services().settings.requests.max_timeout;
        let is_late = Instant::now() >= request.deadline(longest);
        if is_second || is_late || verdict == Verdict::GiveUp {
            tracing::error!(
                error = reason,
                "a pipeline failed; its request is answered with an internal error"
            );
            request.fail(&RequestError::internal());
            return;
        }
        tracing::warn!(
            error = reason,
            "a pipeline failed; going on from its last finished step"
        );
        let restarts = &self.door.metrics().restarts;
        restarts
            .get_or_create(&NodeLabel { node: "pipelines" })
            .inc();
        self.door.restart(request, myself.get_cell());
    }
}
