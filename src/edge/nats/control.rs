//! What the replicas of a router tell each other: hints about breakers, and answers to "how are
//! yours?". All of it is signed, and what nobody of them has signed is counted and ignored. All of
//! it is extra: with the bus away nothing is sent, what is lost is not repeated, and no request
//! waits for any of it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, SubscribeError, Subscriber};
use beamline_actors::fail_points;
use beamline_actors::invokers::Invokers;
use beamline_actors::registry::Registry;
use beamline_actors::tree::{Address, Node, NodeKind, OnDrop, OwnedTask};
use beamline_contract::admin::{GetStats, ReplicaLogLevel, ReplicaStats};
use beamline_contract::control::{
    BREAKER, BREAKERS, BreakersQuestion, LOG_LEVEL, LogLevelQuestion, REQUESTS, ReplicaRequests,
    ReplicaStatus, RequestsQuestion, STATS,
};
use beamline_contract::subject;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::timeout;

use crate::admin::Replicas;
use crate::edge::nats::Connection;
use crate::edge::nats::queue::OVERLAP;
use crate::edge::nats::reply_subjects::ReplySubjects;
use crate::observe::requests::Requests;

mod allowance;
mod envelope;
mod hints;
mod log_levels;
mod questions;
mod refusals;
mod services;
mod signatures;
mod stats;
mod status;
mod stories;

use allowance::Allowance;
use refusals::Kind;
use signatures::Signatures;

pub(crate) use refusals::RefusedMessages;

/// The way to the other replicas; all clones share it.
#[derive(Debug, Clone)]
pub struct Fleet {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Connection,
    registry: Registry,
    invokers: Invokers,
    signatures: Arc<Signatures>,
    replica_id: String,
    prefix: String,
    replies: Arc<ReplySubjects>,
    requests: Requests,
    address: Address<FleetMsg>,
}

const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(1);
const SEND_LIMIT: Duration = Duration::from_secs(1);
/// What is read of other replicas' messages. Those of anybody else are none of these.
const HINTS_A_SECOND: u32 = 500;
const QUESTIONS_A_SECOND: u32 = 20;

impl Fleet {
    pub(crate) fn new(
        connection: Connection,
        registry: Registry,
        invokers: Invokers,
        replica_id: &str,
        prefix: &str,
        replies: Arc<ReplySubjects>,
        requests: Requests,
    ) -> Self {
        let address = Address::new(Node::new("fleet", NodeKind::Worker));
        let signatures = Arc::new(Signatures::new(registry.clone(), replica_id));
        let counted = Arc::clone(&signatures);
        let node = address.node();
        node.describe(move |view| view.security_events = Some(counted.all_refused()));
        let replica_id = replica_id.to_owned();
        let prefix = prefix.to_owned();
        Self {
            shared: Arc::new(Shared {
                connection,
                registry,
                invokers,
                signatures,
                replica_id,
                prefix,
                replies,
                requests,
                address,
            }),
        }
    }

    pub fn node(&self) -> &Arc<Node> {
        self.shared.address.node()
    }

    /// What came in the name of replicas and was refused.
    pub(crate) fn refused(&self) -> RefusedMessages {
        self.shared.signatures.refused()
    }
}

impl Replicas for Fleet {
    fn breakers(&self, extension_id: Option<&str>) -> BoxFuture<'_, Vec<ReplicaStatus>> {
        let extension_id = extension_id.map(str::to_owned);
        status::gather(&self.shared, BreakersQuestion { extension_id }).boxed()
    }

    fn requests(&self, question: RequestsQuestion) -> BoxFuture<'_, Vec<ReplicaRequests>> {
        stories::gather(&self.shared, question).boxed()
    }

    fn stats(&self, question: GetStats) -> BoxFuture<'_, Vec<ReplicaStats>> {
        stats::gather(&self.shared, question).boxed()
    }

    fn log_level(&self, question: LogLevelQuestion) -> BoxFuture<'_, Vec<ReplicaLogLevel>> {
        log_levels::gather(&self.shared, question).boxed()
    }
}

#[derive(Debug)]
pub enum FleetMsg {
    /// A task ended that nobody stopped.
    TaskEnded(&'static str),
}

/// The actor behind [`Fleet`].
#[derive(Debug)]
pub struct FleetActor;

#[derive(Debug)]
pub struct FleetState {
    shared: Arc<Shared>,
    _listening: OwnedTask,
    _telling: OwnedTask,
}

impl Actor for FleetActor {
    type Msg = FleetMsg;
    type State = FleetState;
    type Arguments = Fleet;

    async fn pre_start(
        &self,
        myself: ActorRef<FleetMsg>,
        fleet: Fleet,
    ) -> Result<FleetState, ActorProcessingErr> {
        let shared = fleet.shared;
        fail_points::reached("fleet");
        shared.address.filled_by(&myself);
        let client = shared.connection.client();
        let subscription = timeout(SUBSCRIBE_LIMIT, subscribe(&shared, &client)).await??;
        let listening = listen(
            Arc::clone(&shared),
            client,
            subscription,
            when_ended(&myself, "the reader of other replicas' messages ended"),
        );
        let telling = tell(
            Arc::clone(&shared),
            when_ended(&myself, "the sender of hints to other replicas ended"),
        );
        Ok(FleetState {
            shared,
            _listening: OwnedTask::spawn(listening),
            _telling: OwnedTask::spawn(telling),
        })
    }

    async fn handle(
        &self,
        _: ActorRef<FleetMsg>,
        message: FleetMsg,
        state: &mut FleetState,
    ) -> Result<(), ActorProcessingErr> {
        state.shared.address.node().handling();
        match message {
            FleetMsg::TaskEnded(reason) => Err(reason.into()),
        }
    }
}

/// Without a queue group: everybody hears everything.
async fn subscribe(shared: &Shared, client: &Client) -> Result<Subscriber, SubscribeError> {
    client.subscribe(shared.subject("*")).await
}

async fn listen<F: FnOnce()>(
    shared: Arc<Shared>,
    mut client: Arc<Client>,
    mut subscription: Subscriber,
    _lost: OnDrop<F>,
) {
    loop {
        tokio::select! {
            () = hear(&shared, &mut subscription) => {}
            _ = shared.connection.client_after(&client) => {}
        }
        // The client has ended, or another has taken its place while it still serves.
        let mut before = subscription;
        subscription = loop {
            client = shared.connection.client_after(&client).await;
            match timeout(SUBSCRIBE_LIMIT, subscribe(&shared, &client)).await {
                Ok(Ok(subscription)) => break subscription,
                Ok(Err(_)) => {}
                Err(_elapsed) => return,
            }
        };
        // Until all servers know of the next subscription. What both hear comes twice.
        let _overlap = timeout(OVERLAP, hear(&shared, &mut before)).await;
        shared.signatures.expect_repeats();
    }
}

/// Reads until the client ends.
async fn hear(shared: &Arc<Shared>, subscription: &mut Subscriber) {
    let mut hints = Allowance::of(HINTS_A_SECOND);
    let mut questions = Allowance::of(QUESTIONS_A_SECOND);
    // Whoever only looks keeps nobody from changing something.
    let mut changes = Allowance::of(QUESTIONS_A_SECOND);
    while let Some(message) = subscription.next().await {
        shared.address.node().count_handled();
        let signatures = &shared.signatures;
        match subject::last_token(&message.subject) {
            BREAKER => {
                if let Some(sender) = signatures.heard(Kind::Hint, &message, "")
                    && hints.is_left()
                {
                    hints::take(shared, &sender.replica, &message.payload);
                }
            }
            BREAKERS => {
                if let Some(sender) = signatures.heard(Kind::Question, &message, "")
                    && questions.is_left()
                {
                    status::answer(shared, &sender.name, message).await;
                }
            }
            REQUESTS => {
                if let Some(sender) = signatures.heard(Kind::Question, &message, "")
                    && questions.is_left()
                {
                    stories::answer(shared, &sender.name, message).await;
                }
            }
            STATS => {
                if let Some(sender) = signatures.heard(Kind::Question, &message, "")
                    && questions.is_left()
                {
                    stats::answer(shared, &sender.name, message).await;
                }
            }
            LOG_LEVEL => {
                if let Some(sender) = signatures.heard(Kind::Question, &message, "")
                    && changes.is_left()
                {
                    log_levels::answer(shared, &sender.name, message).await;
                }
            }
            // Something of a newer router.
            _ => {}
        }
    }
}

async fn tell<F: FnOnce()>(shared: Arc<Shared>, _lost: OnDrop<F>) {
    hints::tell(&shared).await;
}

/// Tells the actor when a task of it ends, by a panic for example. Its successor is not told: a
/// task may outlive its actor by a moment.
fn when_ended(myself: &ActorRef<FleetMsg>, what: &'static str) -> OnDrop<impl FnOnce() + use<>> {
    let myself = myself.clone();
    OnDrop::new(move || {
        let _ = myself.send_message(FleetMsg::TaskEnded(what));
    })
}

impl Shared {
    fn subject(&self, word: &str) -> String {
        subject::control(&self.prefix, word)
    }
}
