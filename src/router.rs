//! A whole router: everything connected, started in order, and stopped without losing an answer.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use beamline_actors::children;
use beamline_actors::door::Door;
use beamline_actors::invokers::Invokers;
use beamline_actors::metrics::Metrics;
use beamline_actors::ports::Store;
use beamline_actors::registry::{Registry, RegistrySettings};
use beamline_actors::services::PipelineSettings;
use beamline_actors::sessions::Sessions;
use beamline_actors::tree::OwnedTask;
use beamline_actors::tree::{Child, Node, Root};
use beamline_actors::watch::{HealthLog, WatchSettings};
use beamline_domain::admission::{AdmissionSettings, Rate};
use beamline_domain::policy::complexity::ComplexityLimits;
use beamline_domain::request::RequestLimits;
use beamline_domain::request::plan::PlanLimits;
use futures_util::StreamExt;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::admin::{AdminSettings, Administration, Identity, Surroundings};
use crate::config::Config;
use crate::edge::http::Http;
use crate::edge::nats::admin::{NatsAdmin, NatsAdminActor};
use crate::edge::nats::control::{Fleet, FleetActor};
use crate::edge::nats::intake::{Intake, IntakeActor};
use crate::edge::nats::{self, Connection, NatsSessions, NatsTransport};
use crate::monitor::{self, Watched};
use crate::observe::exposition::{Exposition, Sources};
use crate::store;

mod first_snapshot;
mod probes;

use first_snapshot::{FirstSnapshot, Reading};
use probes::{ReadinessSource, probes};

/// A running router.
#[derive(Debug)]
pub struct Router {
    root: Root,
    intake: Intake,
    admin: NatsAdmin,
    door: Door,
    metrics: Metrics,
    connection: Connection,
    store: Arc<dyn Store>,
    http: SocketAddr,
    http_server: Http,
    draining: Arc<AtomicBool>,
    drain_timeout: Duration,
    gave_up: bool,
    /// Reads the registry that was not there at the start.
    _behind: Option<OwnedTask>,
}

/// Why a router did not start, as a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// NATS or the database did not answer in time.
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    Failed(String),
}

impl StartError {
    pub fn unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

/// What happened to the requests of a router that stopped.
#[derive(Debug, Clone, Copy)]
pub struct StopReport {
    pub received: u64,
    pub answered: u64,
    /// Of those answered, the ones that were turned away at the door.
    pub shed: u64,
    /// Requests that were still open at the limit and got `shutting_down`, those of the administration too.
    pub cut: usize,
    /// Every answer was written to the connection.
    pub flushed: bool,
    pub seconds: f64,
}

impl StopReport {
    /// Every request got the answer that it would have got without the stop.
    pub fn clean(&self) -> bool {
        self.cut == 0 && self.flushed
    }
}

/// The name of the snapshot's copy in the state directory.
const DISK_COPY: &str = "registry-snapshot.json";
/// That of the breakers that are open.
const OPEN_BREAKERS: &str = "open-breakers.json";
const CONFIRM_LIMIT: Duration = Duration::from_secs(5);
/// Part of the drain time for leaving the queue group; requests in flight run on meanwhile.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);
/// For what the administration has begun, after the requests in flight.
const ADMINISTRATION_LIMIT: Duration = Duration::from_secs(5);
/// For HTTP requests in hand.
const HTTP_LIMIT: Duration = Duration::from_secs(5);
const ANSWERS_LIMIT: Duration = Duration::from_secs(5);
const STOP_LIMIT: Duration = Duration::from_secs(10);

impl Router {
    /// Everything in one go, for who need not be interrupted.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Prepared::new(config).await?.start().await
    }

    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Resolves when the supervision tree gave up; the process should then end with code 70.
    pub async fn ended(&mut self) {
        self.root.ended().await;
        self.gave_up = true;
    }

    /// Drains and stops: no new requests, the answers of those in flight, the actors in reverse order, the connections.
    /// After the tree gave up, what is in flight is told so instead.
    pub async fn stop(self) -> StopReport {
        let begun = Instant::now();
        self.draining.store(true, Ordering::Relaxed);
        tracing::info!(in_flight = self.door.in_flight(), "draining");
        let left = self.intake.drain(LEAVE_LIMIT.min(self.drain_timeout)).await;
        // After the end of the tree nobody works on what is in flight: it is answered at once.
        let patience = if self.gave_up {
            Duration::ZERO
        } else {
            self.drain_timeout
        };
        let cut = if self
            .door
            .is_idle_within(patience.saturating_sub(begun.elapsed()))
            .await
        {
            0
        } else {
            self.door.cut()
        };
        // Not sooner: an operator may want to see what the requests in flight wait for.
        let administration = self.admin.drain(ADMINISTRATION_LIMIT.min(patience)).await;
        let cut = cut + administration.cut;
        if !self.http_server.drain(HTTP_LIMIT).await {
            tracing::warn!("HTTP requests were cut off");
        }
        let sent = self.intake.answers_sent(ANSWERS_LIMIT).await;
        if !self.root.stop(STOP_LIMIT).await {
            tracing::warn!("the supervision tree did not stop in time");
        }
        let flushed = self.connection.close().await && sent && left && administration.left;
        let _ = timeout(ANSWERS_LIMIT, self.store.close()).await;
        let received = self.metrics.requests_received.get();
        let answered = received.saturating_sub(self.door.in_flight() as u64);
        let shed = self.door.turned_away();
        let report = StopReport {
            received,
            answered,
            shed,
            cut,
            flushed,
            seconds: begun.elapsed().as_secs_f64(),
        };
        tracing::info!(
            received,
            answered,
            shed,
            cut,
            flushed,
            seconds = report.seconds,
            "stopped"
        );
        report
    }
}

/// Database and NATS answer; nobody sends anything here yet. May be dropped, and so may its making.
#[derive(Debug)]
pub struct Prepared {
    config: Config,
    store: Arc<dyn Store>,
    start_with: FirstSnapshot,
    connection: Connection,
    transport: NatsTransport,
}

impl Prepared {
    /// Waits for the database and for NATS, each within its startup timeout.
    pub async fn new(config: Config) -> Result<Self, StartError> {
        let state_dir = config.router.state_dir.clone();
        std::fs::create_dir_all(&state_dir).map_err(|error| failed(&state_dir, &error))?;
        // Tried before the long waits, and given back: a port that is open but not served would hang every probe.
        drop(listen(config.http.listen)?);
        let store = store::open(&config.database)
            .await
            .map_err(|error| StartError::Failed(error.to_string()))?;
        let start_with = first_snapshot::load(&store, &config, &state_dir.join(DISK_COPY)).await?;

        let name = format!("beamline-router {}", config.router.environment);
        let connection = nats::connect(&config.nats, &name)
            .await
            .map_err(nats_error)?;
        let transport = NatsTransport::new(connection.clone())
            .await
            .map_err(|error| StartError::Unreachable(error.to_string()))?;
        Ok(Self {
            config,
            store,
            start_with,
            connection,
            transport,
        })
    }

    /// The tree with its subscriptions; returns when requests reach this router. Takes seconds at most and must not be
    /// dropped: requests may have come already.
    pub async fn start(self) -> Result<Router, StartError> {
        let Self {
            config,
            store,
            start_with,
            connection,
            transport,
        } = self;
        let listener = listen(config.http.listen)?;
        let http = listener
            .local_addr()
            .map_err(|error| StartError::Failed(error.to_string()))?;
        let metrics = Metrics::default();
        let FirstSnapshot {
            content,
            fresh,
            behind,
        } = start_with;
        let settings = registry_settings(&config);
        let registry = Registry::new(
            Arc::clone(&store),
            settings,
            metrics.clone(),
            Some((content, fresh)),
        );
        let behind = behind.map(|reading| OwnedTask::spawn(read_behind(reading, registry.clone())));
        let invokers = Invokers::limited_to(
            config.router.max_in_flight_per_extension,
            Arc::new(transport.clone()),
            registry.clone(),
            metrics.clone(),
        );
        let identity = Identity::new(&config.router.environment);
        let watch = WatchSettings {
            health: Some(HealthLog {
                store: Arc::clone(&store),
                replica: identity.instance_id.as_str().into(),
                every: config.database.health_interval,
            }),
            open_breakers: Some(config.router.state_dir.join(OPEN_BREAKERS)),
        };
        let sessions = Sessions::new(NatsSessions::new(connection.clone(), &config.nats));
        let settings = pipeline_settings(&config);
        let door = Door::new(
            settings,
            registry.clone(),
            invokers.clone(),
            sessions,
            metrics.clone(),
        );
        let intake = Intake::new(
            connection.clone(),
            door.clone(),
            &config.nats.subject_prefix,
        );
        let watched = Watched {
            door: door.clone(),
            invokers: invokers.clone(),
            metrics: metrics.clone(),
            transport,
            memory_limit: config.router.memory_limit,
        };
        let draining = Arc::new(AtomicBool::new(false));
        let subscribed = Arc::new(AtomicBool::new(false));

        let mut children = vec![connection.child()];
        children.extend(children::core(&registry, &invokers, &door, watch, &metrics));
        children.push(monitor::supervisor(watched));
        let for_intake = intake.clone();
        children.push(Child::essential(intake.node(), move || {
            (IntakeActor, for_intake.clone())
        }));
        let prefix = &config.nats.subject_prefix;
        let fleet = Fleet::new(
            connection.clone(),
            registry.clone(),
            invokers.clone(),
            &identity.instance_id,
            prefix,
        );
        let for_fleet = fleet.clone();
        children.push(Child::lasting(fleet.node(), move || {
            (FleetActor, for_fleet.clone())
        }));
        let node = Node::root();
        let administration = Administration::new(Surroundings {
            identity,
            settings: admin_settings(&config),
            registry: registry.clone(),
            invokers: invokers.clone(),
            door: door.clone(),
            metrics: metrics.clone(),
            replicas: Arc::new(fleet),
            draining: Arc::clone(&draining),
            tree: Arc::clone(&node),
        });
        let admin = NatsAdmin::new(
            connection.clone(),
            administration.clone(),
            prefix,
            intake.unanswerable(),
        );
        let for_admin = admin.clone();
        children.push(Child::lasting(admin.node(), move || {
            (NatsAdminActor, for_admin.clone())
        }));
        let exposition = Exposition::of(Sources {
            metrics: metrics.clone(),
            intake: intake.clone(),
            connection: connection.clone(),
            registry: registry.clone(),
            invokers,
            runtime: Handle::current(),
        });
        let readiness = ReadinessSource {
            connection: connection.clone(),
            registry,
            subscribed: Arc::clone(&subscribed),
            draining: Arc::clone(&draining),
        };
        let http_server = Http::new(listener, probes(readiness, exposition));
        children.extend(http_server.children());
        let root = Root::start(node, children, metrics.clone())
            .await
            .map_err(|error| StartError::Failed(error.to_string()))?;
        confirm_subscriptions(&connection).await?;
        subscribed.store(true, Ordering::Relaxed);
        let drain_timeout = config.router.drain_timeout;
        let gave_up = false;
        Ok(Router {
            root,
            intake,
            admin,
            door,
            metrics,
            connection,
            store,
            http,
            http_server,
            draining,
            drain_timeout,
            gave_up,
            _behind: behind,
        })
    }
}

/// The registry may be asked again before the schema is what it has to be; this says when it is.
async fn read_behind(reading: Reading, registry: Registry) {
    match reading.await {
        Ok(Ok(_)) => registry.reload(),
        Ok(Err(error)) => {
            tracing::error!(error = %error, "the database cannot be migrated and read")
        }
        // Stopped, or a panic that was told already.
        Err(_) => {}
    }
}

fn registry_settings(config: &Config) -> RegistrySettings {
    RegistrySettings {
        poll_interval: config.database.poll_interval,
        disk_copy: Some(config.router.state_dir.join(DISK_COPY)),
    }
}

fn admin_settings(config: &Config) -> AdminSettings {
    AdminSettings {
        prefix: config.nats.subject_prefix.clone(),
        api_key: config.admin.api_key.clone(),
        complexity: complexity_limits(config),
        max_extensions: config.router.max_extensions_per_pipeline as usize,
    }
}

fn complexity_limits(config: &Config) -> ComplexityLimits {
    let complexity = &config.complexity;
    ComplexityLimits {
        total: complexity.recommended_total,
        per_kind: complexity.recommended_per_kind,
        assumed_latency: complexity.assumed_latency,
        latency: complexity.recommended_latency,
    }
}

fn pipeline_settings(config: &Config) -> PipelineSettings {
    let router = &config.router;
    PipelineSettings {
        admission: AdmissionSettings {
            max_in_flight: router.max_in_flight as usize,
            adaptive: router.adaptive_limit,
            max_bytes: router.max_bytes_in_flight,
            tenant_rate: router
                .tenant_rate
                .map(|(per_second, burst)| Rate { per_second, burst }),
        },
        environment: router.environment.as_str().into(),
        requests: RequestLimits {
            default_timeout: router.default_timeout,
            max_timeout: router.max_timeout,
            allowed_tenants: router.allowed_tenants.clone(),
        },
        plans: PlanLimits {
            subject_prefix: config.nats.subject_prefix.clone(),
            max_extensions: router.max_extensions_per_pipeline as usize,
        },
        extra_attempts: router.max_extra_attempts,
    }
}

fn nats_error(error: nats::ConnectError) -> StartError {
    let sentence = error.to_string();
    if matches!(error, nats::ConnectError::Unreachable { .. }) {
        StartError::Unreachable(sentence)
    } else {
        StartError::Failed(sentence)
    }
}

fn listen(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let listening = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listening.map_err(|error| {
        StartError::Failed(format!(
            "Cannot listen on {address}: {error}. Choose another http.listen."
        ))
    })
}

fn failed(path: &Path, error: &std::io::Error) -> StartError {
    StartError::Failed(format!(
        "{} cannot be created: {error}. Choose another router.state_dir.",
        path.display()
    ))
}

/// Subscriptions travel on the same connection as this message to ourselves: when it is back, they have arrived too.
async fn confirm_subscriptions(connection: &Connection) -> Result<(), StartError> {
    let confirmed = timeout(CONFIRM_LIMIT, async {
        let client = connection.client();
        let inbox = client.new_inbox();
        let mut subscription = client.subscribe(inbox.clone()).await.ok()?;
        client.publish(inbox, "ready".into()).await.ok()?;
        subscription.next().await
    });
    match confirmed.await {
        Ok(Some(_)) => Ok(()),
        Ok(None) | Err(_) => Err(StartError::Unreachable(
            "NATS took the subscriptions and then went silent; start again.".into(),
        )),
    }
}
