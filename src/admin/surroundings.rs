//! What administration looks at and changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use beamline_actors::door::Door;
use beamline_actors::invokers::Invokers;
use beamline_actors::metrics::Metrics;
use beamline_actors::registry::Registry;
use beamline_actors::tree::Node;
use beamline_contract::admin::{GetStats, ReplicaLogLevel, ReplicaStats};
use beamline_contract::control::{
    LogLevelQuestion, ReplicaRequests, ReplicaStatus, RequestsQuestion,
};
use beamline_domain::policy::complexity::ComplexityLimits;
use beamline_domain::quotas::RegistryQuotas;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::access::Access;
use super::heard::Heard;
use crate::store::AuditLog;

/// The parts of this router, and the way to the others.
#[derive(Debug)]
pub struct Surroundings {
    pub identity: Identity,
    pub settings: AdminSettings,
    pub registry: Registry,
    pub audit: AuditLog,
    pub invokers: Invokers,
    pub door: Door,
    pub metrics: Metrics,
    pub replicas: Arc<dyn Replicas>,
    pub listeners: Arc<dyn Listeners>,
    /// The router is stopping.
    pub draining: Arc<AtomicBool>,
    /// The root of the tree in which it stands itself.
    pub tree: Arc<Node>,
    /// Held by the one that writes a policy of those that others have overtaken.
    pub overtaken: Mutex<()>,
}

/// Which router answers.
#[derive(Debug, Clone)]
pub struct Identity {
    pub instance_id: String,
    pub environment: String,
    pub started: Instant,
}

#[derive(Debug)]
pub struct AdminSettings {
    /// Of all subjects.
    pub prefix: String,
    pub access: Access,
    pub complexity: ComplexityLimits,
    /// In a pipeline, the provider counted as one.
    pub max_extensions: usize,
    /// Attempts that one request may make after its first.
    pub max_extra_attempts: usize,
    /// Tenants are tokens of subjects.
    pub tenant_from_subject: bool,
    pub quotas: RegistryQuotas,
}

/// The replicas of this router, itself among them.
pub trait Replicas: fmt::Debug + Send + Sync {
    /// What all that answer in a short time say of the breakers of one extension, or of all that
    /// are not closed.
    fn breakers(&self, extension_id: Option<&str>) -> BoxFuture<'_, Vec<ReplicaStatus>>;

    /// The stories of requests that all have who answer in a short time.
    fn requests(&self, question: RequestsQuestion) -> BoxFuture<'_, Vec<ReplicaRequests>>;

    /// What all served lately who answer in a short time.
    fn stats(&self, question: GetStats) -> BoxFuture<'_, Vec<ReplicaStats>>;

    /// What all log who answer in a short time, after they have followed the question.
    fn log_level(&self, question: LogLevelQuestion) -> BoxFuture<'_, Vec<ReplicaLogLevel>>;
}

/// Who listens, as far as programs tell by the NATS service protocol.
pub trait Listeners: fmt::Debug + Send + Sync {
    /// What services say that listen on one of `subjects`; `None` when nobody could be asked.
    fn heard_on(&self, subjects: BTreeSet<String>, whom: Whom) -> BoxFuture<'_, Option<Heard>>;

    /// The names of all services that listen on each of `subjects`; `None` when nobody could be
    /// asked.
    fn services_on(
        &self,
        subjects: BTreeSet<String>,
    ) -> BoxFuture<'_, Option<BTreeMap<String, BTreeSet<String>>>>;
}

/// Whose answers are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// One on each subject is enough.
    Anybody,
    /// All that answer in a short time.
    Everybody,
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
