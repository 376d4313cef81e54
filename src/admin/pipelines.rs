//! What would happen: dry runs of a pipeline, and how complex it is.

use std::sync::Arc;
use std::time::Duration;

use beamline_actors::dry_run::Rehearsal;
use beamline_contract::fields::Fields;
use beamline_domain::document::{Mistakes, Object, shorten};
use beamline_domain::policy::Policy;
use beamline_domain::policy::complexity::Complexity;
use beamline_domain::request::Message;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Shared;
use super::operations::{answer, required};
use super::refusal::Refusal;

#[derive(Serialize)]
struct Told {
    ok: bool,
    result: Box<RawValue>,
}

pub(super) async fn dry_run(shared: &Shared, body: &Fields) -> Result<String, Refusal> {
    let rehearsal = rehearsal(shared, body)?;
    let told = shared
        .surroundings
        .pipelines
        .services()
        .dry_run(rehearsal)
        .await
        .map_err(Refusal::before_the_first_call)?;
    let result =
        RawValue::from_string(told).map_err(|error| Refusal::internal(&error.to_string()))?;
    answer(&Told { ok: true, result })
}

pub(super) fn complexity(shared: &Shared, body: &Fields) -> Result<String, Refusal> {
    let (tenant, policy_id) = (required(body, "tenant_id")?, required(body, "policy_id")?);
    let snapshot = shared.surroundings.registry.snapshot();
    let Some(known) = snapshot.policy(&tenant, &policy_id) else {
        let name = format!("The policy {}/{}", shorten(&tenant), shorten(&policy_id));
        return Err(match snapshot.unreadable_reason(&tenant, &policy_id) {
            Some(reason) => Refusal::invalid(format!(
                "{name} is saved, but this router cannot read it: {reason}."
            )),
            None => Refusal::not_found(&name),
        });
    };
    let latency = |id: &str| shared.surroundings.invokers.latency(id);
    answer(&Complexity::of(
        &known.policy,
        &shared.surroundings.complexity,
        &latency,
    ))
}

fn rehearsal(shared: &Shared, body: &Fields) -> Result<Rehearsal, Refusal> {
    let json = body.to_json();
    let mut mistakes = Mistakes::default();
    let read = Object::parse(&json, &mut mistakes).map(|object| read(object, &mut mistakes));
    let asked = mistakes
        .into_result(read)
        .map_err(|mistakes| Refusal::mistakes("dry run", &mistakes))?;
    let policy = asked
        .policy
        .map(|document| Policy::parse(document.get()))
        .transpose();
    let policy = policy.map_err(|mistakes| Refusal::mistakes("policy", &mistakes))?;
    Ok(Rehearsal {
        tenant_id: asked.tenant_id.unwrap_or_default(),
        policy_id: asked.policy_id.unwrap_or_else(|| "default".to_owned()),
        policy: policy.map(Arc::new),
        message: Message {
            message_id: "dry-run".into(),
            message_type: asked.message_type.as_deref().unwrap_or("chat").into(),
            payload: asked
                .payload
                .map_or_else(|| RawValue::NULL.to_owned().into(), Arc::from),
            metadata: Arc::new(asked.metadata),
        },
        context: asked.context,
        timeout: asked.timeout_ms.map(Duration::from_millis),
        call_extensions: asked.call_extensions,
        output: asked.output,
        assumed_latency: shared.surroundings.complexity.assumed_latency,
    })
}

/// The request as far as it could be read.
struct Asked {
    tenant_id: Option<String>,
    policy_id: Option<String>,
    policy: Option<Box<RawValue>>,
    payload: Option<Box<RawValue>>,
    message_type: Option<String>,
    metadata: Fields,
    context: Fields,
    timeout_ms: Option<u64>,
    call_extensions: bool,
    output: Option<Box<RawValue>>,
}

fn read(mut object: Object<'_>, mistakes: &mut Mistakes) -> Asked {
    let payload = object.take_any("payload").map(RawValue::to_owned);
    if payload.is_none() {
        mistakes.add("/payload", "is required; it may be any JSON value");
    }
    Asked {
        tenant_id: object.required_text("tenant_id", mistakes),
        policy_id: object.text("policy_id", mistakes),
        policy: object.take("policy").map(RawValue::to_owned),
        payload,
        message_type: object.text("message_type", mistakes),
        metadata: object.fields("metadata", mistakes),
        context: object.fields("context", mistakes),
        timeout_ms: object.whole("timeout_ms", 1..=600_000, mistakes),
        call_extensions: object.flag("call_extensions", mistakes).unwrap_or(false),
        output: object.take_any("provider_output").map(RawValue::to_owned),
    }
}
