//! Administration requests over NATS on their way: from the queue group, through a lane with room of its own, to the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Message, Subject};
use beamline_actors::tree::OwnedTask;
use beamline_contract::subject;
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::operations::{self, WaitsFor};
use super::refusal::Refusal;
use super::{Shared, when_ended};
use crate::edge::nats::intake::is_answerable;
use crate::edge::nats::queue::{NotSubscribed, Queue};
use crate::edge::nats::{Connection, Report};

/// What the requests share, whichever actor reads them.
#[derive(Debug)]
pub(super) struct Requests {
    queue: Arc<Queue>,
    /// What only looks at memory does not wait for what waits for a database that hangs.
    lanes: [Lane; 3],
    operations: TaskTracker,
    /// What is still at work is answered that the router ends.
    cut: CancellationToken,
    refused: Mutex<Report>,
}

/// Administration has room of its own, and not without end.
#[derive(Debug)]
struct Lane {
    permits: Semaphore,
    /// For those at work and those that wait.
    places: Arc<Semaphore>,
}

const AT_ONCE: usize = 10;
const PLACES: usize = 200;
/// For a permit. Who waits longer had better ask another replica.
const WAIT_LIMIT: Duration = Duration::from_secs(5);
/// A store that is away is given up before this.
const OPERATION_LIMIT: Duration = Duration::from_secs(15);
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// For the answers of what was cut off.
const CUT_LIMIT: Duration = Duration::from_secs(1);

impl Lane {
    fn new() -> Self {
        Self {
            permits: Semaphore::new(AT_ONCE),
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }
}

/// What became of the requests of a router that ends.
#[derive(Debug, Clone, Copy)]
pub struct Drained {
    /// No request was lost on its way here.
    pub left: bool,
    /// Operations that were told so before they had ended.
    pub cut: usize,
}

impl Requests {
    pub(super) fn new(connection: &Connection) -> Self {
        Self {
            queue: Queue::new(connection.clone()),
            lanes: [Lane::new(), Lane::new(), Lane::new()],
            operations: TaskTracker::new(),
            cut: CancellationToken::new(),
            refused: Mutex::default(),
        }
    }

    fn lane(&self, operation: &str) -> &Lane {
        let [nobody, extensions, store] = &self.lanes;
        match operations::waits_for(operation) {
            WaitsFor::Nobody => nobody,
            WaitsFor::Extensions => extensions,
            WaitsFor::Store => store,
        }
    }

    /// Takes no more requests, and waits until those that came are answered.
    pub(super) async fn drain(&self, limit: Duration) -> Drained {
        let until = Instant::now() + limit;
        let left = self.queue.leave(limit).await;
        self.operations.close();
        if timeout_at(until, self.operations.wait()).await.is_ok() {
            return Drained { left, cut: 0 };
        }
        let cut = self.operations.len();
        self.cut.cancel();
        let answered = timeout(CUT_LIMIT, self.operations.wait()).await.is_ok();
        Drained {
            left: left && answered,
            cut,
        }
    }
}

/// Reads requests until the router ends.
pub(super) async fn serve(shared: &Arc<Shared>) -> Result<OwnedTask, NotSubscribed> {
    let subject = subject::admin(&shared.surroundings.prefix, "*");
    let reader = shared.requests.queue.subscribe(subject).await?;
    let (shared, lost) = (
        Arc::clone(shared),
        when_ended(shared, "the reader of administration requests ended"),
    );
    Ok(OwnedTask::spawn(async move {
        reader.run(move |message| take(&shared, message)).await;
        lost.disarm();
    }))
}

/// A place for the request, or the answer that there is none.
fn take(shared: &Arc<Shared>, message: Message) {
    shared.address.node().count_handled();
    let prefix = &shared.surroundings.prefix;
    let Some(reply) = message.reply.clone().filter(|to| is_answerable(to, prefix)) else {
        shared.surroundings.intake.unanswerable().inc();
        return;
    };
    let lane = shared.requests.lane(operations::name(&message));
    match Arc::clone(&lane.places).try_acquire_owned() {
        Ok(place) => drop(shared.requests.operations.spawn(answer(
            Arc::clone(shared),
            message,
            reply,
            place,
        ))),
        Err(_) => refuse(shared, reply),
    }
}

/// Without a task: a flood would make very many of them. There is room in the client, mostly.
fn refuse(shared: &Shared, reply: Subject) {
    let client = shared.surroundings.connection.client();
    let told = matches!(
        client
            .publish(reply, Refusal::busy().to_json().into())
            .now_or_never(),
        Some(Ok(()))
    );
    if shared.requests.refused.lock().is_due() {
        tracing::warn!(
            told,
            "an administration request was refused: too many wait already"
        );
    }
}

async fn answer(
    shared: Arc<Shared>,
    message: Message,
    reply: Subject,
    _place: OwnedSemaphorePermit,
) {
    let answer = outcome(&shared, &message).await;
    let client = shared.surroundings.connection.client();
    if !matches!(
        timeout(SEND_LIMIT, client.publish(reply, answer.into())).await,
        Ok(Ok(()))
    ) {
        tracing::warn!("an answer of the administration could not be sent");
    }
}

async fn outcome(shared: &Arc<Shared>, message: &Message) -> String {
    let operation = operations::name(message);
    let changes = operations::changes(operation);
    let begun = AtomicBool::new(false);
    let undecided = || changes && begun.load(Ordering::Relaxed);
    let work = async {
        let lane = shared.requests.lane(operation);
        let Ok(Ok(_permit)) = timeout(WAIT_LIMIT, lane.permits.acquire()).await else {
            return Refusal::busy().to_json();
        };
        begun.store(true, Ordering::Relaxed);
        operations::run(shared, message).await
    };
    let answer = tokio::select! {
        answer = timeout(OPERATION_LIMIT, work) => {
            answer.unwrap_or_else(|_| Refusal::too_late(undecided()).to_json())
        }
        () = shared.requests.cut.cancelled() => Refusal::shutting_down(undecided()).to_json(),
    };
    let largest = shared.surroundings.connection.client().max_payload();
    if answer.len() <= largest {
        return answer;
    }
    Refusal::too_long(answer.len(), largest)
        .leaving_open(undecided())
        .to_json()
}
