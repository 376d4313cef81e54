//! Goes through a pipeline without a gateway: plans as a request would be planned, chooses as a request would be chosen
//! for, and calls nobody, or everybody but the provider.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::invokers::CallScope;
use crate::pipeline::side_by_side;
use crate::pipelines::Pipelines;
use beamline_contract::error::ErrorCode;
use beamline_contract::fields::Fields;
use beamline_domain::conditions::Facts;
use beamline_domain::policy::Policy;
use beamline_domain::request::dry_run::DryRun;
use beamline_domain::request::error::RequestError;
use beamline_domain::request::explanation;
use beamline_domain::request::plan::Plan;
use beamline_domain::request::run::{AttemptBudget, Next, Order, Run};
use beamline_domain::request::trace::TraceContext;
use beamline_domain::request::{Message, Request, RequestKind};
use beamline_domain::target::selection::Outlook;

/// What to go through.
#[derive(Debug)]
pub struct Rehearsal {
    pub tenant_id: String,
    pub policy_id: String,
    /// Instead of the stored policy.
    pub policy: Option<Arc<Policy>>,
    pub message: Message,
    pub context: Fields,
    /// The time that a request would have; with it, providers that usually take longer are left out.
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

impl Pipelines {
    /// The `result` of a dry run, as JSON.
    pub async fn dry_run(&self, rehearsal: Rehearsal) -> Result<String, RequestError> {
        let invokers = self.invokers();
        let tenant_id = rehearsal.tenant_id.clone();
        let vitals = |id: &str, subject: &str| invokers.vitals_for(&tenant_id, id, subject);
        let left = rehearsal
            .timeout
            .unwrap_or(self.settings().requests.default_timeout);
        let mut run = self.rehearsed(
            &rehearsal,
            &mut Outlook {
                vitals: &vitals,
                roll: &mut || 0.0,
                left,
            },
        )?;
        let begun = Instant::now();
        let scope = CallScope {
            trace_id: run.request.trace.trace_id.as_str().into(),
            traceparent: run.request.trace.traceparent().into(),
            tenant_id: Arc::clone(&run.request.tenant_id),
            deadline: begun + left.min(LIMIT),
            budget: run.budget.clone(),
        };
        loop {
            match run.next_step() {
                Next::Call(orders) if rehearsal.call_extensions => {
                    self.call(&mut run, &orders, &scope).await
                }
                Next::Call(_) => run.pass_over(),
                Next::Recall { key, .. } => run.recalled(self.sessions().peek(&key).await),
                Next::Choose => {
                    let left = left.saturating_sub(begun.elapsed());
                    choose(
                        &mut run,
                        &mut Outlook {
                            vitals: &vitals,
                            roll: &mut || 0.0,
                            left,
                        },
                    );
                    // A dry run gives no session to anybody, and never calls the provider.
                    break;
                }
                Next::Pin { .. } | Next::Wait(_) | Next::Answer => break,
            }
        }
        if rehearsal.call_extensions && run.failure.is_none() {
            let output = rehearsal
                .output
                .map_or_else(|| Arc::clone(&run.message.payload), Arc::from);
            run.assume_output(output);
            while let Next::Call(orders) = run.next_step() {
                self.call(&mut run, &orders, &scope).await;
            }
        }
        let outlook = Outlook {
            vitals: &vitals,
            roll: &mut || 0.0,
            left,
        };
        let told = DryRun::new(
            &run,
            rehearsal.call_extensions,
            rehearsal.assumed_latency,
            &outlook,
        );
        serde_json::to_string(&told)
            .map_err(|error| RequestError::new(ErrorCode::Internal, error.to_string()))
    }

    fn rehearsed(
        &self,
        rehearsal: &Rehearsal,
        outlook: &mut Outlook<'_>,
    ) -> Result<Run, RequestError> {
        let settings = self.settings();
        let facts = Facts {
            tenant_id: &rehearsal.tenant_id,
            policy_id: &rehearsal.policy_id,
            environment: &settings.environment,
            message_type: &rehearsal.message.message_type,
            context: &rehearsal.context,
        };
        let snapshot = self.registry().snapshot();
        let plan = match &rehearsal.policy {
            Some(policy) => Plan::of_policy(
                Arc::clone(policy),
                &facts,
                &snapshot,
                &settings.plans,
                outlook,
            )?,
            None => Plan::new(&facts, &snapshot, &settings.plans, outlook)?,
        };
        let request = Request {
            tenant_id: rehearsal.tenant_id.as_str().into(),
            request_id: "dry-run".into(),
            trace: TraceContext::resume(None, None, || fastrand::u64(..)),
            message: rehearsal.message.clone(),
            policy_id: rehearsal.policy_id.clone(),
            context: rehearsal.context.clone(),
            timeout: outlook.left,
            clamped: false,
            attempt: 1,
        };
        // Only with a time of its own is a provider too slow for it.
        let kind = if rehearsal.timeout.is_some() {
            RequestKind::Route
        } else {
            RequestKind::Decide
        };
        let budget = AttemptBudget::new(settings.extra_attempts);
        Ok(Run::new(
            kind,
            Arc::new(request),
            Arc::new(plan),
            &settings.environment,
            budget,
        ))
    }

    async fn call(&self, run: &mut Run, orders: &[Order], scope: &CallScope) {
        let results = side_by_side(self.invokers(), orders, scope).await;
        run.apply(results);
    }
}

/// Takes the provider that gets most of the requests, so that the same dry run tells the same twice.
fn choose(run: &mut Run, outlook: &mut Outlook<'_>) {
    let exclusions = run.exclusions(outlook);
    let plan = Arc::clone(&run.plan);
    let shares: Vec<f64> = explanation::chances(&plan, &exclusions)
        .iter()
        .map(|chance| chance.share)
        .collect();
    let likeliest = (0..shares.len())
        .rev()
        .max_by(|a, b| share(&shares, *a).total_cmp(&share(&shares, *b)));
    let likeliest = likeliest.unwrap_or_default();
    let before: f64 = shares.iter().take(likeliest).sum();
    let roll = before + share(&shares, likeliest) / 2.0;
    run.choose(&mut Outlook {
        vitals: outlook.vitals,
        roll: &mut || roll,
        left: outlook.left,
    });
}

fn share(shares: &[f64], index: usize) -> f64 {
    shares.get(index).copied().unwrap_or_default()
}
