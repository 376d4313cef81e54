//! What the replicas of a router tell each other: hints about breakers, and answers to "how are
//! yours?". All of it is extra. With the bus away nothing is sent, what is lost is not repeated,
//! and no request waits for any of it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, SubscribeError, Subscriber};
use beamline_actors::fail_points;
use beamline_actors::invokers::Invokers;
use beamline_actors::registry::Registry;
use beamline_actors::tree::{Address, Node, NodeKind, OnDrop, OwnedTask};
use beamline_contract::control::{BREAKER, BREAKERS};
use beamline_contract::subject;
use futures_util::StreamExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::{Instant, timeout};

use crate::edge::nats::Connection;
use crate::edge::nats::queue::OVERLAP;
use crate::edge::nats::reply_subjects::ReplySubjects;

mod hints;
mod services;
mod status;

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
    replica_id: String,
    prefix: String,
    replies: Arc<ReplySubjects>,
    address: Address<FleetMsg>,
}

const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(1);
const SEND_LIMIT: Duration = Duration::from_secs(1);
/// What is read of other replicas' messages; a flood costs little more than its dropping.
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
    ) -> Self {
        let address = Address::new(Node::new("fleet", NodeKind::Worker));
        let replica_id = replica_id.to_owned();
        let prefix = prefix.to_owned();
        Self {
            shared: Arc::new(Shared {
                connection,
                registry,
                invokers,
                replica_id,
                prefix,
                replies,
                address,
            }),
        }
    }

    pub fn node(&self) -> &Arc<Node> {
        self.shared.address.node()
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
        // Until all servers know of the next subscription. What both hear is heard twice, which
        // does no harm.
        let _overlap = timeout(OVERLAP, hear(&shared, &mut before)).await;
    }
}

/// Reads until the client ends.
async fn hear(shared: &Arc<Shared>, subscription: &mut Subscriber) {
    let mut hints = Allowance::of(HINTS_A_SECOND);
    let mut questions = Allowance::of(QUESTIONS_A_SECOND);
    while let Some(message) = subscription.next().await {
        shared.address.node().count_handled();
        match subject::last_token(&message.subject) {
            BREAKER if hints.is_left() => hints::take(shared, &message.payload),
            BREAKERS if questions.is_left() => status::answer(shared, message).await,
            // A flood, or something of a newer router.
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

/// How many messages may still be read in the present second.
#[derive(Debug)]
struct Allowance {
    a_second: u32,
    since: Instant,
    read: u32,
}

impl Allowance {
    fn of(a_second: u32) -> Self {
        Self {
            a_second,
            since: Instant::now(),
            read: 0,
        }
    }

    fn is_left(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            self.since = Instant::now();
            self.read = 0;
        }
        self.read = self.read.saturating_add(1);
        self.read <= self.a_second
    }
}

impl Shared {
    fn subject(&self, word: &str) -> String {
        subject::control(&self.prefix, word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_read_in_part() {
        let mut allowance = Allowance::of(20);
        for _ in 0..3 {
            assert_eq!((0..1_000).filter(|_| allowance.is_left()).count(), 20);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
