//! Administration over NATS (contract section 5): a request is read, its caller named, and the
//! answer sent. It may die without harm to traffic.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message, Subject};
use beamline_actors::fail_points;
use beamline_actors::tree::{Address, Node, NodeKind, OnDrop, OwnedTask};
use beamline_bus::{at_once, headers};
use beamline_contract::{header, subject};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::intake::is_answerable;
use super::queue::{NotSubscribed, Queue};
use super::{Connection, Report};
use crate::admin::{Administration, Admission, Asking, Credentials, Refusal};

/// The way to the administration's requests; all clones share it.
#[derive(Debug, Clone)]
pub struct NatsAdmin {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Connection,
    administration: Administration,
    prefix: String,
    address: Address<NatsAdminMsg>,
    queue: Arc<Queue>,
    /// Operations whose answers are not sent yet.
    operations: TaskTracker,
    /// Requests that nobody can answer.
    unanswerable: Counter,
    refused: Mutex<Report>,
}

const SEND_LIMIT: Duration = Duration::from_secs(5);
/// For the answers of what was cut off.
const CUT_LIMIT: Duration = Duration::from_secs(1);

/// What became of the requests of a router that ends.
#[derive(Debug, Clone, Copy)]
pub struct Drained {
    /// No request was lost on its way here.
    pub left: bool,
    /// Operations that were told so before they had ended.
    pub cut: usize,
}

impl NatsAdmin {
    /// `unanswerable` counts requests without a reply subject that can be used.
    pub fn new(
        connection: Connection,
        administration: Administration,
        prefix: &str,
        unanswerable: Counter,
    ) -> Self {
        let shared = Shared {
            queue: Queue::new(connection.clone()),
            connection,
            administration,
            prefix: prefix.to_owned(),
            address: Address::new(Node::new("admin", NodeKind::Worker)),
            operations: TaskTracker::new(),
            unanswerable,
            refused: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub fn node(&self) -> &Arc<Node> {
        self.shared.address.node()
    }

    /// Takes no more requests, and waits until those that came are answered; what outlasts `limit`
    /// is answered that the router ends.
    pub async fn drain(&self, limit: Duration) -> Drained {
        let until = Instant::now() + limit;
        let operations = &self.shared.operations;
        let left = self.shared.queue.leave(limit).await;
        operations.close();
        if timeout_at(until, operations.wait()).await.is_ok() {
            return Drained { left, cut: 0 };
        }
        let cut = operations.len();
        self.shared.administration.cut_off();
        let answered = timeout(CUT_LIMIT, operations.wait()).await.is_ok();
        Drained {
            left: left && answered,
            cut,
        }
    }
}

#[derive(Debug)]
pub enum NatsAdminMsg {
    /// The reader ended, and nobody stopped it.
    ReaderEnded,
}

/// The actor behind [`NatsAdmin`].
#[derive(Debug)]
pub struct NatsAdminActor;

#[derive(Debug)]
pub struct NatsAdminState {
    shared: Arc<Shared>,
    _reader: OwnedTask,
}

impl Actor for NatsAdminActor {
    type Msg = NatsAdminMsg;
    type State = NatsAdminState;
    type Arguments = NatsAdmin;

    async fn pre_start(
        &self,
        myself: ActorRef<NatsAdminMsg>,
        admin: NatsAdmin,
    ) -> Result<NatsAdminState, ActorProcessingErr> {
        let shared = admin.shared;
        fail_points::reached("admin");
        shared.address.filled_by(&myself);
        let reader = read(&shared, myself).await?;
        Ok(NatsAdminState {
            shared,
            _reader: reader,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<NatsAdminMsg>,
        message: NatsAdminMsg,
        state: &mut NatsAdminState,
    ) -> Result<(), ActorProcessingErr> {
        state.shared.address.node().handling();
        match message {
            NatsAdminMsg::ReaderEnded => Err("the reader of administration requests ended".into()),
        }
    }
}

/// Reads requests until the queue is left.
async fn read(
    shared: &Arc<Shared>,
    myself: ActorRef<NatsAdminMsg>,
) -> Result<OwnedTask, NotSubscribed> {
    let subject = subject::admin(&shared.prefix, "*");
    let reader = shared.queue.subscribe(subject).await?;
    let shared = Arc::clone(shared);
    let lost = OnDrop::new(move || {
        let _ = myself.send_message(NatsAdminMsg::ReaderEnded);
    });
    Ok(OwnedTask::spawn(async move {
        reader.run(move |message| take(&shared, message)).await;
        lost.disarm();
    }))
}

/// A place for the request, or the answer that there is none.
fn take(shared: &Arc<Shared>, message: Message) {
    shared.address.node().count_handled();
    let reply = message.reply.clone();
    let Some(reply) = reply.filter(|to| is_answerable(to, &shared.prefix)) else {
        shared.unanswerable.inc();
        return;
    };
    let operation = subject::last_token(&message.subject);
    match shared.administration.admit(operation) {
        Ok(admission) => {
            let answering = answer(Arc::clone(shared), admission, message, reply);
            shared.operations.spawn(answering);
        }
        Err(refusal) => refuse(shared, reply, refusal),
    }
}

/// Without a task: a flood would make very many of them. There is room in the client, mostly.
fn refuse(shared: &Shared, reply: Subject, refusal: Refusal) {
    let client = shared.connection.client();
    let sending = client.publish(reply, refusal.into_json().into());
    let is_sent = matches!(at_once(sending), Some(Ok(())));
    if shared.refused.lock().is_due() {
        tracing::warn!(
            told = is_sent,
            "an administration request was refused: too many wait already"
        );
    }
}

async fn answer(shared: Arc<Shared>, admission: Admission, message: Message, reply: Subject) {
    let operation = subject::last_token(&message.subject);
    let largest_answer = shared.connection.client().max_payload();
    let caller = caller(&message, largest_answer);
    let answer = shared
        .administration
        .run_named(admission, operation, &message.payload, &caller)
        .await;
    let client = shared.connection.client();
    let sending = client.publish(reply, answer.into());
    if !matches!(timeout(SEND_LIMIT, sending).await, Ok(Ok(()))) {
        tracing::warn!("an answer of the administration could not be sent");
    }
}

fn caller(message: &Message, largest_answer: usize) -> Asking {
    let given = message.headers.as_ref();
    let text = |name| given.and_then(|headers| headers::text(headers, name));
    Asking {
        source: "nats-admin",
        subject: message.subject.to_string(),
        credentials: Credentials {
            authorization: text(header::AUTHORIZATION).map(str::to_owned),
            date: text(header::ROUTER_DATE).map(str::to_owned),
            nonce: text(header::ROUTER_NONCE).map(str::to_owned),
            ambiguous: given.is_some_and(is_ambiguous),
        },
        trace_id: text(header::TRACE_ID).map(str::to_owned),
        largest_answer,
    }
}

/// Nobody can say which of two values counts.
fn is_ambiguous(given: &HeaderMap) -> bool {
    let who = [
        header::AUTHORIZATION,
        header::ROUTER_DATE,
        header::ROUTER_NONCE,
    ];
    who.into_iter()
        .any(|name| headers::is_repeated(given, name))
}
