//! Goes through a pipeline without a gateway: plans as a request would be planned, chooses as a
//! request would be chosen for, and calls nobody, or everybody but the provider.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;

use crate::call::{CallScope, side_by_side};
use crate::services::PipelineServices;
use beamline_contract::error::ErrorCode;
use beamline_contract::fields::Fields;
use beamline_contract::trace::TraceContext;
use beamline_domain::conditions::Facts;
use beamline_domain::policy::Policy;
use beamline_domain::request::dry_run;
use beamline_domain::request::error::RequestError;
use beamline_domain::request::explanation;
use beamline_domain::request::plan::Plan;
use beamline_domain::request::run::{CallOrder, Next, Run};
use beamline_domain::request::{Message, Request, RequestKind};
use beamline_domain::target::retry_budget::Unlimited;
use beamline_domain::target::selection::{ChoiceContext, EndpointState};

/// What to go through.
#[derive(Debug)]
pub struct Rehearsal {
    pub tenant_id: String,
    pub policy_id: String,
    /// Instead of the stored policy.
    pub policy: Option<Arc<Policy>>,
    pub message: Message,
    pub context: Fields,
    /// The time that a request would have; with it, providers that usually take longer are left
    /// out.
    pub timeout: Option<Duration>,
    /// Calls pre-processors, validators and post-processors; never the provider.
    pub call_extensions: bool,
    /// What the post-processors get as the provider's output; without it, the message.
    pub output: Option<Box<RawValue>>,
    /// What an extension is expected to take while nothing is known of it.
    pub assumed_latency: Duration,
}

/// A dry run that calls extensions takes no longer than this.
const LIMIT: Duration = Duration::from_secs(10);

impl PipelineServices {
    /// The `result` of a dry run, as JSON.
    pub async fn dry_run(&self, mut rehearsal: Rehearsal) -> Result<Box<RawValue>, RequestError> {
        let tenant_id = rehearsal.tenant_id.clone();
        self.settings.requests.check_tenant(&tenant_id)?;
        let endpoint_state =
            |id: &str, subject: &str| self.invokers.endpoint_state_for(&tenant_id, id, subject);
        let time = rehearsal
            .timeout
            .unwrap_or(self.settings.requests.default_timeout);
        let mut run = self.rehearsed(
            &rehearsal,
            &mut ChoiceContext {
                endpoint_state: &endpoint_state,
                roll: &mut || 0.0,
                left: time,
            },
        )?;
        let begun = Instant::now();
        let scope = CallScope {
            trace_id: Arc::clone(&run.request.trace.trace_id),
            traceparent: run.request.trace.shared_traceparent(),
            carried: run.request.trace.carried.clone(),
            tenant_id: Arc::clone(&run.request.tenant_id),
            deadline: begun + time.min(LIMIT),
            rehearsal: true,
            story: None,
        };
        loop {
            match run.next_step() {
                Next::Call(orders) if rehearsal.call_extensions => {
                    self.call(&mut run, &orders, &scope).await;
                }
                Next::Call(_) => run.pass_over(),
                Next::Recall { key, .. } => run.recalled(self.sessions.peek(&key).await),
                Next::Choose => {
                    choose(
                        &mut run,
                        &endpoint_state,
                        time.saturating_sub(begun.elapsed()),
                    );
                    // A dry run gives no session to anybody, and never calls the provider.
                    break;
                }
                Next::Pin { .. } | Next::Wait(_) | Next::Answer => break,
            }
        }
        if rehearsal.call_extensions && run.failure.is_none() {
            let output = match rehearsal.output.take() {
                Some(output) => Arc::from(output),
                None => Arc::clone(&run.message.payload),
            };
            run.assume_output(output);
            while let Next::Call(orders) = run.next_step() {
                self.call(&mut run, &orders, &scope).await;
            }
        }
        let choice = ChoiceContext {
            endpoint_state: &endpoint_state,
            roll: &mut || 0.0,
            left: time,
        };
        let result = dry_run::result(
            &run,
            rehearsal.call_extensions,
            rehearsal.assumed_latency,
            &choice,
        );
        to_raw_value(&result)
            .map_err(|error| RequestError::new(ErrorCode::Internal, error.to_string()))
    }

    fn rehearsed(
        &self,
        rehearsal: &Rehearsal,
        choice: &mut ChoiceContext<'_>,
    ) -> Result<Run, RequestError> {
        let plan = self.plan_for(rehearsal, choice)?;
        let request = Request {
            tenant_id: rehearsal.tenant_id.as_str().into(),
            request_id: "dry-run".into(),
            trace: TraceContext::resume(None, None, || fastrand::u64(..)),
            message: rehearsal.message.clone(),
            policy_id: rehearsal.policy_id.clone(),
            context: rehearsal.context.clone(),
            timeout: choice.left,
            clamped: false,
        };
        // Only with a time of its own is a provider too slow for it.
        let kind = if rehearsal.timeout.is_some() {
            RequestKind::Route
        } else {
            RequestKind::Decide
        };
        Ok(Run::new(
            kind,
            request,
            Arc::new(plan),
            Arc::clone(&self.settings.environment),
            self.settings.extra_attempts,
        ))
    }

    fn plan_for(
        &self,
        rehearsal: &Rehearsal,
        choice: &mut ChoiceContext<'_>,
    ) -> Result<Plan, RequestError> {
        let facts = Facts {
            tenant_id: &rehearsal.tenant_id,
            policy_id: &rehearsal.policy_id,
            environment: &self.settings.environment,
            message_type: &rehearsal.message.message_type,
            context: &rehearsal.context,
        };
        let snapshot = self.registry.snapshot();
        let limits = &self.settings.plans;
        match &rehearsal.policy {
            Some(policy) => Plan::of_policy(Arc::clone(policy), &facts, &snapshot, limits, choice),
            None => Plan::new(&facts, &snapshot, limits, choice),
        }
    }

    async fn call(&self, run: &mut Run, orders: &[CallOrder], scope: &CallScope) {
        let results = side_by_side(&self.invokers, orders, scope).await;
        run.apply(results);
    }
}

/// Takes the provider that gets most of the requests, so that the same dry run tells the same
/// twice.
fn choose(run: &mut Run, endpoint_state: &dyn Fn(&str, &str) -> EndpointState, left: Duration) {
    let roll = roll_of_the_likeliest(
        run,
        &ChoiceContext {
            endpoint_state,
            roll: &mut || 0.0,
            left,
        },
    );
    let mut choice = ChoiceContext {
        endpoint_state,
        roll: &mut || roll,
        left,
    };
    run.choose(&mut choice, &Unlimited);
}

/// The middle of the part of the whole that the likeliest provider has; the first of equal ones.
fn roll_of_the_likeliest(run: &Run, choice: &ChoiceContext<'_>) -> f64 {
    let exclusions = run.exclusions(choice);
    let mut before = 0.0;
    let mut best_share = f64::NEG_INFINITY;
    let mut roll = 0.0;
    for chance in explanation::chances(&run.plan, &exclusions) {
        if chance.share > best_share {
            best_share = chance.share;
            roll = before + chance.share / 2.0;
        }
        before += chance.share;
    }
    roll
}
