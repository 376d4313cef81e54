//! The administration: requests over NATS (contract section 5), and the probes over HTTP. It may die without harm to
//! traffic: it only reads what the others share, and writes through the registry.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use beamline_actors::door::Door;
use beamline_actors::fail_points;
use beamline_actors::invokers::Invokers;
use beamline_actors::metrics::Metrics;
use beamline_actors::registry::Registry;
use beamline_actors::tree::{Address, Node, NodeKind, OnDrop, OwnedTask};
use beamline_contract::subject;
use beamline_domain::policy::complexity::ComplexityLimits;
use prometheus_client::encoding::text::encode;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use secrecy::SecretString;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::edge::http::{self, Probes, Readiness};
use crate::edge::nats::Connection;
use crate::edge::nats::control::Fleet;
use crate::edge::nats::intake::Intake;

mod authorization;
mod breakers;
mod exposition;
mod extensions;
mod operations;
mod pipelines;
mod policies;
mod refusal;
mod requests;
mod status;

use requests::Requests;

pub use requests::Drained;

/// Everything that the administration looks at.
#[derive(Debug)]
pub struct Surroundings {
    pub identity: Identity,
    pub fleet: Fleet,
    pub connection: Connection,
    pub registry: Registry,
    pub invokers: Invokers,
    pub pipelines: Door,
    pub complexity: ComplexityLimits,
    pub max_extensions: usize,
    pub intake: Intake,
    pub metrics: Metrics,
    pub draining: Arc<AtomicBool>,
    /// The server has the subscriptions: requests come here.
    pub subscribed: Arc<AtomicBool>,
    pub prefix: String,
    pub api_key: Option<SecretString>,
    /// Kept here so that a restart does not lose the port.
    pub listener: TcpListener,
}

/// Which router answers.
#[derive(Debug, Clone)]
pub struct Identity {
    pub instance_id: String,
    pub environment: String,
    pub started: Instant,
}

impl Identity {
    pub fn new(environment: &str) -> Self {
        let instance_id = format!("{:012x}", fastrand::u64(..) >> 16);
        Self {
            instance_id,
            environment: environment.to_owned(),
            started: Instant::now(),
        }
    }
}

/// The way to the administration; all clones share it.
#[derive(Debug, Clone)]
pub struct Admin {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    surroundings: Surroundings,
    address: Address<AdminMsg>,
    tree: OnceLock<Arc<Node>>,
    requests: Requests,
    /// Where requests are served; administration over HTTP has a runtime of its own.
    runtime: Handle,
}

impl Admin {
    pub fn new(surroundings: Surroundings) -> Self {
        let address = Address::new(Node::new("admin", NodeKind::Worker));
        let requests = Requests::new(&surroundings.connection);
        let (tree, runtime) = (OnceLock::new(), Handle::current());
        Self {
            shared: Arc::new(Shared {
                surroundings,
                address,
                tree,
                requests,
                runtime,
            }),
        }
    }

    pub fn node(&self) -> &Arc<Node> {
        self.shared.address.node()
    }

    /// Takes no more requests over NATS, and waits until those that came are answered; what outlasts `limit` is told that
    /// the router ends.
    pub async fn drain(&self, limit: Duration) -> Drained {
        self.shared.requests.drain(limit).await
    }

    /// The tree that it shows; known only after its own place in it is.
    pub fn shows(&self, root: &Arc<Node>) {
        let _ = self.shared.tree.set(Arc::clone(root));
    }
}

#[derive(Debug)]
pub enum AdminMsg {
    /// A task of the administration ended that nobody stopped.
    TaskEnded(String),
}

/// The actor behind [`Admin`].
#[derive(Debug)]
pub struct AdminActor;

#[derive(Debug)]
pub struct AdminState {
    shared: Arc<Shared>,
    _nats: OwnedTask,
    _http: HttpThread,
}

/// HTTP has a thread of its own, so that probes are answered also when something holds up all others. Ends when dropped.
#[derive(Debug)]
struct HttpThread(CancellationToken);

impl HttpThread {
    fn start(shared: Arc<Shared>) -> std::io::Result<Self> {
        let listener = shared.surroundings.listener.try_clone()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let serve = move || {
            let lost = when_ended(&shared, "the HTTP server ended");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime
                .and_then(|runtime| runtime.block_on(serve_http(&shared, listener, &stopped)))
            {
                // Nobody is to be told who has stopped it himself.
                Ok(()) if stopped.is_cancelled() => lost.disarm(),
                Ok(()) => {}
                Err(error) => tracing::error!(error = %error, "the HTTP server ended"),
            }
        };
        std::thread::Builder::new()
            .name("http".into())
            .spawn(serve)?;
        Ok(Self(stop))
    }
}

impl Drop for HttpThread {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Actor for AdminActor {
    type Msg = AdminMsg;
    type State = AdminState;
    type Arguments = Admin;

    async fn pre_start(
        &self,
        myself: ActorRef<AdminMsg>,
        admin: Admin,
    ) -> Result<AdminState, ActorProcessingErr> {
        let shared = admin.shared;
        fail_points::reached("admin");
        shared.address.filled_by(&myself);
        let nats = requests::serve(&shared).await?;
        let http = HttpThread::start(Arc::clone(&shared))?;
        Ok(AdminState {
            shared,
            _nats: nats,
            _http: http,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<AdminMsg>,
        message: AdminMsg,
        state: &mut AdminState,
    ) -> Result<(), ActorProcessingErr> {
        state.shared.address.node().handling();
        match message {
            AdminMsg::TaskEnded(reason) => Err(reason.into()),
        }
    }
}

/// Tells the actor when a task of it ends, by a panic for example.
fn when_ended(shared: &Arc<Shared>, what: &'static str) -> OnDrop<impl FnOnce() + use<>> {
    let shared = Arc::clone(shared);
    OnDrop::new(move || {
        let _ = shared.address.send(AdminMsg::TaskEnded(what.to_owned()));
    })
}

async fn serve_http(
    shared: &Arc<Shared>,
    listener: TcpListener,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let for_readiness = Arc::clone(shared);
    let registry = exposition::registry(shared);
    let probes = Probes {
        readiness: Arc::new(move || for_readiness.readiness()),
        metrics: Arc::new(move || {
            let mut text = String::new();
            // Writing into a string does not fail.
            let _ = encode(&mut text, &registry);
            text
        }),
    };
    http::serve(
        tokio::net::TcpListener::from_std(listener)?,
        probes,
        stop.cancelled(),
    )
    .await
}

/// Whether requests cannot be served without this subscription. Administration is not among them.
fn serves_requests(subject: &str) -> bool {
    ![subject::admin("", ""), subject::control("", "")]
        .iter()
        .any(|part| subject.contains(part))
}

impl Shared {
    fn readiness(&self) -> Readiness {
        let freshness = self.surroundings.registry.freshness();
        Readiness {
            nats: self.surroundings.subscribed.load(Ordering::Relaxed)
                && self.surroundings.connection.is_connected()
                && !self
                    .surroundings
                    .connection
                    .subscription_denied(serves_requests),
            registry: freshness.loaded,
            draining: self.surroundings.draining.load(Ordering::Relaxed),
            revision: freshness.revision,
            registry_source: freshness.source,
            stale_seconds: freshness.stale_seconds,
        }
    }
}
