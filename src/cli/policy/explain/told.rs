//! What a router tells of a dry run, as far as people are shown it.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The answer to `dry_run_pipeline`.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    pub(super) result: Told,
}

/// One dry run.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    pub(super) decision: Option<Decision>,
    #[serde(default)]
    pub(super) executed_extensions: Vec<Report>,
    pub(super) blocked_by: Option<String>,
    pub(super) final_payload: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) post_processors_executed: Vec<Report>,
    #[serde(default)]
    pub(super) called_extensions: bool,
    pub(super) pipeline: Pipeline,
    pub(super) estimate: Estimate,
    #[serde(default)]
    pub(super) degraded: Vec<Degraded>,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
    pub(super) error: Option<Problem>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Decision {
    pub(super) provider_id: String,
    pub(super) reason: String,
    #[serde(default)]
    pub(super) explanation: Explanation,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Explanation {
    #[serde(default)]
    pub(super) steps: Vec<String>,
}

/// A call that was made.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    pub(super) id: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) latency_ms: f64,
    #[serde(default)]
    pub(super) attempts: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pipeline {
    pub(super) policy_id: String,
    pub(super) policy_version: String,
    pub(super) revision: u64,
    pub(super) pre: Vec<Vec<Step>>,
    pub(super) validators: Vec<Step>,
    pub(super) order: Order,
    pub(super) providers: Vec<Provider>,
    #[serde(default)]
    pub(super) if_the_provider_fails: Vec<String>,
    pub(super) sticky: Option<Sticky>,
    pub(super) post: Vec<Vec<Step>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    Weighted,
    Priority,
}

#[derive(Debug, Deserialize)]
pub(super) struct Sticky {
    pub(super) session_key: String,
    pub(super) ttl_ms: f64,
}

/// One extension as it would be called.
#[derive(Debug, Deserialize)]
pub(super) struct Step {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) version: String,
    pub(super) version_rule: Option<String>,
    pub(super) instance: Option<String>,
    #[serde(default)]
    pub(super) instances: Vec<Instance>,
    #[serde(default)]
    pub(super) subject: String,
    pub(super) timeout_ms: f64,
    pub(super) config: Option<Box<RawValue>>,
    pub(super) mode: Option<String>,
    pub(super) on_fail: Option<String>,
    pub(super) usual_latency_ms: Option<f64>,
    pub(super) available: bool,
    #[serde(default)]
    pub(super) if_it_fails: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Instance {
    pub(super) instance_id: String,
    #[serde(default)]
    pub(super) weight: u32,
    pub(super) enabled: bool,
    pub(super) healthy: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Provider {
    pub(super) provider_id: String,
    pub(super) weight: f64,
    pub(super) share: f64,
    pub(super) excluded: Option<String>,
    #[serde(default)]
    pub(super) fallback_only: bool,
    pub(super) call: Option<Step>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Estimate {
    pub(super) extensions_ms: f64,
    pub(super) extensions_from: String,
    pub(super) provider_ms: Option<f64>,
    pub(super) total_ms: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Degraded {
    pub(super) id: String,
    #[serde(default)]
    pub(super) reason: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    pub(super) code: String,
    pub(super) message: String,
}

impl Told {
    /// Every extension but the providers, in the order of the pipeline.
    pub(super) fn guardrails(&self) -> impl Iterator<Item = &Step> {
        let Pipeline {
            pre,
            validators,
            post,
            ..
        } = &self.pipeline;
        pre.iter()
            .flatten()
            .chain(validators)
            .chain(post.iter().flatten())
    }

    /// What happened to an extension that was called.
    pub(super) fn report(&self, step: &Step) -> Option<&Report> {
        let reports = if step.kind == "post" {
            &self.post_processors_executed
        } else {
            &self.executed_extensions
        };
        reports.iter().find(|report| report.id == step.id)
    }

    /// The provider that would get the request.
    pub(super) fn chosen(&self) -> Option<&Provider> {
        let decision = self.decision.as_ref()?;
        self.pipeline
            .providers
            .iter()
            .find(|provider| provider.provider_id == decision.provider_id)
    }
}
