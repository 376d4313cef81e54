//! What happened to one request. Its calls and its pipeline tell it while it runs, and once it is
//! answered it goes to whoever observes: metrics, log and records are made of the same facts.
//! Nothing of a message is in it, and nothing that was made for the request alone but a few short
//! lists: thousands are remembered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use beamline_contract::answer::{DecisionReason, ExtensionStatus};
use beamline_contract::record::Kind;
use beamline_domain::record::Route;
use beamline_domain::request::failure::CallFailure;
use beamline_domain::request::plan::{Exclusion, PlannedCall};
use beamline_domain::request::run::{Degraded, Run, Stage};
use beamline_domain::request::{Correlation, Request, RequestKind};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::time::Instant;

/// Written while the request runs, and by calls that are cut off shortly after its answer.
#[derive(Debug, Default)]
pub struct Story(Mutex<Told>);

#[derive(Debug, Clone, Default)]
pub struct Told {
    /// When it came to each.
    pub stages: SmallVec<[(Stage, Instant); 5]>,
    /// In the order in which they ended.
    pub calls: Vec<CallTold>,
}

/// One call with all its attempts.
#[derive(Debug, Clone)]
pub struct CallTold {
    pub extension_id: Arc<str>,
    pub kind: Kind,
    pub version: Arc<str>,
    /// The rule that chose the version; `None`: it is the extension's own.
    pub route: Option<Arc<Route>>,
    pub stage: Stage,
    pub began: Instant,
    pub took: Duration,
    pub status: ExtensionStatus,
    pub failure: Option<FailureTold>,
    pub attempts: SmallVec<[AttemptTold; 1]>,
}

#[derive(Debug, Clone)]
pub struct AttemptTold {
    pub subject: Arc<str>,
    /// When the extension has several.
    pub instance: Option<Arc<str>>,
    pub began: Instant,
    /// Until it had a place, and a bus.
    pub waited: Duration,
    pub took: Duration,
    /// Else the breaker, the limit or the router itself ended it.
    pub sent: bool,
    pub failure: Option<FailureTold>,
}

/// What is told of a failure: nothing that an extension says to people.
#[derive(Debug, Clone)]
pub struct FailureTold {
    pub reason: &'static str,
    /// Reason, class and code.
    pub label: String,
}

/// A request that has been answered.
#[derive(Debug)]
pub struct Ended {
    pub edge: &'static str,
    pub kind: RequestKind,
    /// `ok`, or the code of the error.
    pub outcome: &'static str,
    pub request_id: Option<Arc<str>>,
    pub trace_id: Arc<str>,
    pub tenant_id: Option<Arc<str>>,
    /// Of one without a run, as far as it was read.
    pub policy_id: Option<Arc<str>>,
    pub received: Instant,
    pub took: Duration,
    /// `None`: it was refused before it ran.
    pub run: Option<RunTold>,
    pub story: Arc<Story>,
}

/// What its run decided.
#[derive(Debug)]
pub struct RunTold {
    pub policy_id: Arc<str>,
    pub policy_version: String,
    /// Of the registry.
    pub revision: u64,
    pub timeout: Duration,
    pub chosen: Option<Chosen>,
    /// Providers that could not be chosen then.
    pub excluded: Vec<(String, Exclusion)>,
    pub session: Option<&'static str>,
    pub degraded: Vec<Degraded>,
}

/// The provider that was chosen last.
#[derive(Debug)]
pub struct Chosen {
    pub id: String,
    pub reason: DecisionReason,
}

/// Hears of every request that was answered. Nothing here waits.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    fn ended(&self, ended: Ended);

    /// One that was turned away at the door, or that was not to be read.
    fn refused(&self, refused: Ended);
}

/// Nobody looks.
#[derive(Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn ended(&self, _: Ended) {}

    fn refused(&self, _: Ended) {}
}

impl Story {
    /// It has come to a stage.
    pub(crate) fn reached(&self, stage: Stage) {
        let mut told = self.0.lock();
        if told.stages.last().is_none_or(|(last, _)| *last != stage) {
            told.stages.push((stage, Instant::now()));
        }
    }

    pub(crate) fn called(&self, call: CallTold) {
        self.0.lock().calls.push(call);
    }

    /// What is known by now.
    pub fn read<T>(&self, read: impl FnOnce(&Told) -> T) -> T {
        read(&self.0.lock())
    }
}

impl AttemptTold {
    /// Of an attempt at one of the places of a call.
    pub(crate) fn at(call: &PlannedCall, endpoint: usize, began: Instant) -> Self {
        let endpoint = call.target.endpoint(endpoint);
        Self {
            subject: endpoint.map_or_else(Arc::default, |endpoint| Arc::clone(&endpoint.subject)),
            instance: endpoint.and_then(|endpoint| endpoint.instance.clone()),
            began,
            waited: Duration::ZERO,
            took: Duration::ZERO,
            sent: false,
            failure: None,
        }
    }
}

impl Ended {
    /// One that was turned away at the door, or that was not to be read.
    pub(crate) fn refused(
        edge: &'static str,
        kind: RequestKind,
        outcome: &'static str,
        known: &Correlation,
        received: Instant,
    ) -> Self {
        let Who {
            request_id,
            trace_id,
            tenant_id,
            policy_id,
        } = Who::from(known);
        Self {
            edge,
            kind,
            outcome,
            request_id,
            trace_id,
            tenant_id,
            policy_id,
            received,
            took: received.elapsed(),
            run: None,
            story: Arc::default(),
        }
    }
}

impl FailureTold {
    pub(crate) fn of(failure: &CallFailure) -> Self {
        Self {
            reason: failure.reason(),
            label: failure.label(),
        }
    }
}

impl RunTold {
    pub(crate) fn of(run: &Run) -> Self {
        let plan = &run.plan;
        let chosen = run.decision.as_ref().map(|decision| Chosen {
            id: decision.call.id().to_owned(),
            reason: decision.reason,
        });
        let exclusions = run
            .decision
            .iter()
            .flat_map(|decision| &decision.exclusions);
        let excluded = plan.providers.iter().zip(exclusions);
        let excluded =
            excluded.filter_map(|(candidate, why)| Some((candidate.name.clone(), (*why)?)));
        Self {
            policy_id: Arc::clone(&plan.policy_id),
            policy_version: plan.policy.version.clone(),
            revision: plan.revision,
            timeout: run.request.timeout,
            chosen,
            excluded: excluded.collect(),
            session: run.session_result(),
            degraded: run.degraded.iter().map(told).collect(),
        }
    }
}

/// What an extension said of a message that it rejected is content.
fn told(missing: &Degraded) -> Degraded {
    let mut told = missing.clone();
    if told.is_said {
        ExtensionStatus::Rejected
            .as_str()
            .clone_into(&mut told.reason);
    }
    told
}

/// Of an id that was not checked. The longest that is good has 256 bytes.
pub(crate) fn clipped(id: &str) -> Arc<str> {
    id.get(..id.floor_char_boundary(LONGEST_ID))
        .unwrap_or_default()
        .into()
}

const LONGEST_ID: usize = 256;

/// Who a request is, as far as it was read.
#[derive(Debug)]
pub(crate) struct Who {
    pub(crate) request_id: Option<Arc<str>>,
    pub(crate) trace_id: Arc<str>,
    pub(crate) tenant_id: Option<Arc<str>>,
    /// Of one without a run, which has it as well.
    pub(crate) policy_id: Option<Arc<str>>,
}

impl From<&Request> for Who {
    fn from(request: &Request) -> Self {
        Self {
            request_id: Some(Arc::clone(&request.request_id)),
            trace_id: Arc::clone(&request.trace.trace_id),
            tenant_id: Some(Arc::clone(&request.tenant_id)),
            policy_id: None,
        }
    }
}

impl From<&Correlation> for Who {
    fn from(known: &Correlation) -> Self {
        Self {
            request_id: known.request_id.as_deref().map(clipped),
            trace_id: clipped(&known.trace_id),
            tenant_id: known.tenant_id.as_deref().map(clipped),
            policy_id: known.policy_id.as_deref().map(clipped),
        }
    }
}
