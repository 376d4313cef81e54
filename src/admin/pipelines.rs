//! What would happen: dry runs of a pipeline, and how complex it is.

use std::sync::Arc;
use std::time::Duration;

use beamline_actors::dry_run::Rehearsal;
use beamline_contract::admin::{
    ComplexityAnswer, DryRunAnswer, DryRunPipeline, GetPipelineComplexity, Role,
};
use beamline_contract::fields::Fields;
use beamline_domain::document::{Mistakes, Object};
use beamline_domain::policy::Policy;
use beamline_domain::policy::complexity;
use beamline_domain::request::Message;
use serde_json::value::RawValue;

use super::body::read_document;
use super::caller::Caller;
use super::operation::{Perform, WaitsFor};
use super::policies::name_of;
use super::refusal::Refusal;
use super::surroundings::Surroundings;

/// Milliseconds that the request of a dry run may have.
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 1..=600_000;

impl Perform for DryRunPipeline {
    const WAITS_FOR: WaitsFor = WaitsFor::Extensions;

    fn read(body: &Fields) -> Result<Self, Refusal> {
        read_document(body, "dry run", read)
    }

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<DryRunAnswer, Refusal> {
        if self.call_extensions {
            check_may_call(caller)?;
        }
        let rehearsal = rehearsal(self, all.settings.complexity.assumed_latency)?;
        let result = all
            .door
            .services()
            .dry_run(rehearsal)
            .await
            .map_err(Refusal::before_the_first_call)?;
        Ok(DryRunAnswer { ok: true, result })
    }
}

/// Calls are more than a look. Whoever writes a tenant's policies decides what is called for it.
fn check_may_call(caller: &Caller) -> Result<(), Refusal> {
    let needed = if caller.is_of_one_tenant() {
        Role::Editor
    } else {
        Role::Operator
    };
    caller
        .check_role(needed)
        .map_err(|refusal| refusal.adding("Without call_extensions the role viewer is enough."))
}

fn read(mut object: Object<'_>, mistakes: &mut Mistakes) -> Option<DryRunPipeline> {
    let payload = object.take_any("payload").map(RawValue::to_owned);
    if payload.is_none() {
        mistakes.add("/payload", "is required; it may be any JSON value");
    }
    let tenant_id = object.required_text("tenant_id", mistakes);
    let policy_id = object.text("policy_id", mistakes);
    let policy = object.take("policy").map(RawValue::to_owned);
    let message_type = object.text("message_type", mistakes);
    let metadata = object.fields("metadata", mistakes);
    let context = object.fields("context", mistakes);
    let timeout_ms = object.whole("timeout_ms", TIMEOUT_MS, mistakes);
    let call_extensions = object.flag("call_extensions", mistakes).unwrap_or(false);
    let provider_output = object.take_any("provider_output").map(RawValue::to_owned);
    Some(DryRunPipeline {
        tenant_id: tenant_id?,
        policy_id,
        policy,
        payload: payload?,
        message_type,
        metadata,
        context,
        timeout_ms,
        call_extensions,
        provider_output,
    })
}

fn rehearsal(request: DryRunPipeline, assumed_latency: Duration) -> Result<Rehearsal, Refusal> {
    let policy = request
        .policy
        .map(|document| Policy::parse(document.get()))
        .transpose()
        .map_err(|mistakes| Refusal::mistakes("policy", &mistakes))?;
    Ok(Rehearsal {
        tenant_id: request.tenant_id,
        policy_id: request.policy_id.unwrap_or_else(|| "default".to_owned()),
        policy: policy.map(Arc::new),
        message: Message {
            message_id: "dry-run".into(),
            message_type: request.message_type.as_deref().unwrap_or("chat").into(),
            payload: request.payload.into(),
            metadata: Arc::new(request.metadata),
        },
        context: request.context,
        timeout: request.timeout_ms.map(Duration::from_millis),
        call_extensions: request.call_extensions,
        output: request.provider_output,
        assumed_latency,
    })
}

impl Perform for GetPipelineComplexity {
    const WAITS_FOR: WaitsFor = WaitsFor::Nobody;

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        _: &Caller,
    ) -> Result<ComplexityAnswer, Refusal> {
        let snapshot = all.registry.snapshot();
        let Some(known) = snapshot.policy(&self.tenant_id, &self.policy_id) else {
            let name = name_of(&self.tenant_id, &self.policy_id);
            return Err(
                match snapshot.unreadable_reason(&self.tenant_id, &self.policy_id) {
                    Some(reason) => Refusal::invalid(format!(
                        "{name} is saved, but this router cannot read it: {reason}."
                    )),
                    None => Refusal::not_found(&name),
                },
            );
        };
        let latency = |id: &str| all.invokers.latency(id);
        let limits = &all.settings.complexity;
        Ok(complexity::assess(&known.policy, limits, &latency))
    }
}
