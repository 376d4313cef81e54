//! One extension: its breaker, and the figures of how its calls went.
//!
//! Callers share the breaker and never wait for this actor. It gets the outcome of every finished call and turns them
//! into figures, metrics and log lines.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;

use crate::domain::breaker::{Breaker, Outcome, Permit, State};
use crate::domain::extension::Kind;
use crate::domain::health::{Figures, Health};
use crate::metrics::{ExtensionLabel, ExtensionReason, ExtensionStatus, Metrics, ProviderLabel, ProviderStatus};
use crate::supervision::{Address, BreakerView, Node, NodeKind};

/// What an extension's callers and its actor share. It outlives the actor, so that a restart keeps the breaker.
#[derive(Debug)]
pub struct Invoker {
    pub id: String,
    breaker: Mutex<Breaker>,
    figures: ArcSwap<Figures>,
    health: Mutex<Health>,
    pub address: Arc<Address<InvokerMsg>>,
}

/// A breaker at one moment.
#[derive(Debug, Clone, Copy)]
pub struct BreakerReading {
    pub state: State,
    pub failures: u32,
    pub opened_at: Option<std::time::Instant>,
}

impl Invoker {
    pub fn new(id: &str) -> Arc<Self> {
        let node = Node::new(format!("invoker:{id}"), NodeKind::Worker);
        let invoker = Arc::new(Self {
            id: id.to_owned(),
            breaker: Mutex::default(),
            figures: ArcSwap::default(),
            health: Mutex::default(),
            address: Arc::new(Address::new(Arc::clone(&node))),
        });
        let shown = Arc::downgrade(&invoker);
        node.describe(move |view| {
            let Some(invoker) = shown.upgrade() else { return };
            view.breaker = Some(BreakerView { state: invoker.breaker().state.as_str() });
            view.success_rate = invoker.figures().success_rate;
        });
        invoker
    }

    /// Asks the breaker. The permit must be used or dropped; dropped unused, it tells the breaker nothing.
    pub fn permit(self: &Arc<Self>) -> Result<CallPermit, Duration> {
        let permit = self.breaker.lock().check(now())?;
        Ok(CallPermit { invoker: Arc::clone(self), permit, outcome: Outcome::Ignored })
    }

    pub fn breaker(&self) -> BreakerReading {
        let breaker = self.breaker.lock();
        BreakerReading { state: breaker.state(now()), failures: breaker.failures(), opened_at: breaker.opened_at() }
    }

    /// How long the breaker keeps calls back, if it does.
    pub fn held_back(&self) -> Option<Duration> {
        self.breaker.lock().held_back(now())
    }

    pub fn figures(&self) -> Arc<Figures> {
        self.figures.load_full()
    }

    fn record(&self, permit: Permit, outcome: Outcome) {
        let (before, after) = {
            let mut breaker = self.breaker.lock();
            let before = breaker.state(now());
            breaker.record(permit, outcome, now());
            (before, breaker.state(now()))
        };
        match after {
            State::Open { .. } if !matches!(before, State::Open { .. }) => {
                tracing::warn!(extension_id = self.id, "the circuit breaker opened");
            }
            State::Closed if before != State::Closed => {
                tracing::info!(extension_id = self.id, "the circuit breaker closed");
            }
            State::Open { .. } | State::Closed | State::HalfOpen => {}
        }
    }
}

/// The right to make one attempt. Gives itself back however the attempt ends, a panic or a cancelled task included.
#[derive(Debug)]
pub struct CallPermit {
    invoker: Arc<Invoker>,
    permit: Permit,
    outcome: Outcome,
}

impl CallPermit {
    pub fn finish(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        self.invoker.record(self.permit, self.outcome);
    }
}

/// The breaker's clock: the runtime's, so that tests can pause it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[derive(Debug)]
pub enum InvokerMsg {
    Finished(Finished),
    /// Time to publish the figures again.
    Publish,
    /// For tests of the supervision: fails the actor.
    #[cfg(any(test, feature = "testing"))]
    Crash,
}

/// A call with all its attempts, after the fact.
#[derive(Debug)]
pub struct Finished {
    pub kind: Kind,
    pub latency: Duration,
    pub status: &'static str,
    /// Reason and sentence of a failure.
    pub failure: Option<(&'static str, String)>,
    /// Whether the extension did its work, and how long its last attempt took; `None` when the call says nothing about
    /// it: that is logged and counted, but not held against it.
    pub evidence: Option<(bool, Duration)>,
    pub tokens: Option<f64>,
    pub trace_id: Arc<str>,
    pub tenant_id: Arc<str>,
}

/// The figures are computed at most this often.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);

/// The actor of one extension.
#[derive(Debug)]
pub struct InvokerActor;

#[derive(Debug)]
pub struct InvokerState {
    invoker: Arc<Invoker>,
    metrics: Metrics,
    publishing: bool,
    published: Instant,
}

impl Actor for InvokerActor {
    type Msg = InvokerMsg;
    type State = InvokerState;
    type Arguments = (Arc<Invoker>, Metrics);

    async fn pre_start(
        &self,
        myself: ActorRef<InvokerMsg>,
        (invoker, metrics): Self::Arguments,
    ) -> Result<InvokerState, ActorProcessingErr> {
        invoker.address.filled_by(&myself);
        // The first outcome is published at once.
        let published = Instant::now().checked_sub(PUBLISH_EVERY).unwrap_or_else(Instant::now);
        Ok(InvokerState { invoker, metrics, publishing: false, published })
    }

    async fn handle(
        &self,
        _: ActorRef<InvokerMsg>,
        message: InvokerMsg,
        state: &mut InvokerState,
    ) -> Result<(), ActorProcessingErr> {
        let node = state.invoker.address.node();
        match message {
            InvokerMsg::Finished(finished) => {
                node.handling();
                state.finished(finished);
            }
            InvokerMsg::Publish => {
                node.timer_handled();
                state.publishing = false;
                state.publish();
            }
            #[cfg(any(test, feature = "testing"))]
            InvokerMsg::Crash => return Err("crashed by a test".into()),
        }
        Ok(())
    }
}

impl InvokerState {
    fn finished(&mut self, finished: Finished) {
        self.count(&finished);
        log(&self.invoker.id, &finished);
        let Some((success, took)) = finished.evidence else { return };
        self.invoker.health.lock().record(success, took);
        if self.published.elapsed() >= PUBLISH_EVERY {
            self.publish();
        } else if !self.publishing {
            self.publishing = true;
            self.invoker.address.send_after(PUBLISH_EVERY, InvokerMsg::Publish);
        }
    }

    fn publish(&mut self) {
        self.published = Instant::now();
        let figures = self.invoker.health.lock().figures();
        self.invoker.figures.store(Arc::new(figures));
    }

    fn count(&self, finished: &Finished) {
        let id = || self.invoker.id.clone();
        let (metrics, status) = (&self.metrics, finished.status);
        metrics.extension_requests.get_or_create(&ExtensionStatus { extension_id: id(), status }).inc();
        let seconds = finished.latency.as_secs_f64();
        metrics.extension_duration.get_or_create(&ExtensionLabel { extension_id: id() }).observe(seconds);
        if let Some((reason, _)) = finished.failure {
            metrics.extension_failures.get_or_create(&ExtensionReason { extension_id: id(), reason }).inc();
        }
        if finished.kind == Kind::Provider {
            metrics.provider_requests.get_or_create(&ProviderStatus { provider_id: id(), status }).inc();
            metrics.provider_latency.get_or_create(&ProviderLabel { provider_id: id() }).observe(seconds);
            if let Some(tokens) = finished.tokens {
                metrics.provider_tokens.get_or_create(&ProviderLabel { provider_id: id() }).inc_by(tokens);
            }
        }
    }
}

/// One line for each call, with the fields of contract section 7.
fn log(extension_id: &str, finished: &Finished) {
    let Finished { trace_id, tenant_id, status, .. } = finished;
    let latency_ms = crate::domain::run::milliseconds(finished.latency);
    match &finished.failure {
        None => tracing::debug!(extension_id, %trace_id, %tenant_id, latency_ms, status, "extension called"),
        Some((_, error)) => {
            tracing::warn!(extension_id, %trace_id, %tenant_id, latency_ms, status, error, "extension call failed");
        }
    }
}
