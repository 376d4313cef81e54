//! Administration over NATS (contract section 5): a request is read, its caller named, and the
//! answer sent. It may die without harm to traffic.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, HeaderMap, Message, Subject};
use beamline_actors::fail_points;
use beamline_actors::tree::{Address, Node, NodeKind, OnDrop, OwnedTask};
use beamline_bus::{at_once, headers};
use beamline_contract::{header, subject};
use bytes::Bytes;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::queue::{NotSubscribed, Queue};
use super::reply_subjects::ReplySubjects;
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
    replies: Arc<ReplySubjects>,
    /// Operations whose answers are not sent yet.
    operations: TaskTracker,
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
    pub(crate) fn new(
        connection: Connection,
        administration: Administration,
        prefix: &str,
        replies: Arc<ReplySubjects>,
    ) -> Self {
        let shared = Shared {
            queue: Queue::new(connection.clone()),
            connection,
            administration,
            prefix: prefix.to_owned(),
            address: Address::new(Node::new("admin", NodeKind::Worker)),
            replies,
            operations: TaskTracker::new(),
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
        reader
            .run(move |client, message| take(&shared, client, message))
            .await;
        lost.disarm();
    }))
}

/// A place for the request, or the answer that there is none.
fn take(shared: &Arc<Shared>, client: &Arc<Client>, message: Message) {
    shared.address.node().count_handled();
    let Some(reply) = shared.replies.answerable(message.reply.clone()) else {
        return;
    };
    if !message.headers.as_ref().is_none_or(headers::are_readable) {
        return refuse(shared, client, reply, Refusal::too_many_headers());
    }
    let operation = subject::last_token(&message.subject);
    match shared.administration.admit(operation) {
        Ok(admission) => {
            let inbox = Inbox {
                client: Arc::clone(client),
                reply,
            };
            let answering = answer(Arc::clone(shared), admission, message, inbox);
            shared.operations.spawn(answering);
        }
        Err(refusal) => refuse(shared, client, reply, refusal),
    }
}

/// Where an answer goes, and the client that its request came by.
struct Inbox {
    client: Arc<Client>,
    reply: Subject,
}

/// Without a task: a flood would make very many of them. There is room in the client, mostly.
fn refuse(shared: &Shared, client: &Client, reply: Subject, refusal: Refusal) {
    let sending = client.publish(reply, refusal.into_json().into());
    let is_sent = matches!(at_once(sending), Some(Ok(())));
    if shared.refused.lock().is_due() {
        tracing::warn!(
            told = is_sent,
            "an administration request was refused: too many wait already"
        );
    }
}

async fn answer(shared: Arc<Shared>, admission: Admission, message: Message, inbox: Inbox) {
    let operation = subject::last_token(&message.subject);
    let largest_answer = inbox.client.max_payload();
    let caller = caller(&message, largest_answer);
    let answer = shared
        .administration
        .run_named(admission, operation, message.payload.clone(), caller)
        .await;
    if !matches!(
        timeout(SEND_LIMIT, send(&shared, &inbox, answer.into())).await,
        Ok(true)
    ) {
        tracing::warn!("an answer of the administration could not be sent");
    }
}

/// By the client that the request came by, as long as it stands: a server may let the answer out
/// there only.
async fn send(shared: &Shared, inbox: &Inbox, answer: Bytes) -> bool {
    let Inbox { client, reply } = inbox;
    if client.connection_state() == State::Connected
        && client.publish(reply.clone(), answer.clone()).await.is_ok()
    {
        let now = shared.connection.client();
        // One that was replaced ends with its last request.
        if Arc::ptr_eq(client, &now) || client.flush().await.is_ok() {
            return true;
        }
    }
    shared.connection.back().await;
    let client = shared.connection.client();
    client.publish(reply.clone(), answer).await.is_ok()
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
