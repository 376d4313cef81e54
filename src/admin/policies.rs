//! Operations on policies.

use std::sync::Arc;

use beamline_actors::ports::{Author, Change};
use beamline_contract::fields::Fields;
use beamline_contract::mistake::Mistake;
use beamline_domain::document::shorten;
use beamline_domain::names::id_problem;
use beamline_domain::policy::Policy;
use beamline_domain::snapshot::{KnownPolicy, StoredPolicy};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Shared;
use super::operations::{answer, required};
use super::refusal::Refusal;

pub(super) fn list(shared: &Shared, body: &Fields) -> Result<String, Refusal> {
    let snapshot = shared.surroundings.registry.snapshot();
    let wanted = body.text("tenant_id");
    let fits = |known: &&Arc<KnownPolicy>| {
        wanted
            .as_ref()
            .is_none_or(|tenant| known.stored.tenant_id == *tenant)
    };
    let known: Vec<&Arc<KnownPolicy>> = snapshot.policies().into_iter().filter(fits).collect();
    let line = |known: &&Arc<KnownPolicy>| Line {
        tenant_id: known.stored.tenant_id.clone(),
        policy_id: known.stored.policy_id.clone(),
        version: known.policy.version.clone(),
        pre: known.policy.pre.len(),
        validators: known.policy.validators.len(),
        providers: known.policy.providers.len(),
        post: known.policy.post.len(),
        policy: known.stored.document.clone(),
    };
    let unreadable = snapshot
        .unreadable()
        .iter()
        .map(|(name, reason)| Unreadable { name, reason })
        .collect();
    let policies = known.iter().map(line).collect();
    answer(&Listed {
        ok: true,
        revision: snapshot.revision(),
        policies,
        unreadable,
    })
}

#[derive(Serialize)]
struct Listed<'a> {
    ok: bool,
    revision: u64,
    policies: Vec<Line>,
    /// Stored policies that this router cannot read.
    unreadable: Vec<Unreadable<'a>>,
}

#[derive(Serialize)]
struct Unreadable<'a> {
    /// `tenant/policy`
    name: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Line {
    tenant_id: String,
    policy_id: String,
    version: String,
    /// Extensions in each stage, whatever form the document has.
    pre: usize,
    validators: usize,
    providers: usize,
    post: usize,
    policy: Box<RawValue>,
}

#[derive(Serialize)]
struct One<'a> {
    ok: bool,
    revision: u64,
    tenant_id: &'a str,
    policy_id: &'a str,
    policy: &'a RawValue,
}

pub(super) fn get(shared: &Shared, body: &Fields) -> Result<String, Refusal> {
    let (tenant, policy) = names(body)?;
    let snapshot = shared.surroundings.registry.snapshot();
    let known = snapshot.policy(&tenant, &policy);
    let known = known.ok_or_else(|| {
        Refusal::not_found(&format!(
            "The policy {}/{}",
            shorten(&tenant),
            shorten(&policy)
        ))
    })?;
    one(snapshot.revision(), &known.stored)
}

pub(super) async fn put(shared: &Shared, body: &Fields, by: Author) -> Result<String, Refusal> {
    let (tenant_id, policy_id) = names(body)?;
    if let Some(problem) = id_problem(&policy_id) {
        return Err(Refusal::invalid(format!("/policy_id {problem}.")));
    }
    if tenant_id.is_empty() || tenant_id.len() > 256 || tenant_id.chars().any(char::is_control) {
        return Err(Refusal::invalid(
            "/tenant_id must be 1 to 256 bytes without control characters.",
        ));
    }
    let check_only = body.get("check_only").map_or(Ok(None), |raw| {
        serde_json::from_str::<Option<bool>>(raw.get())
    });
    let check_only = check_only
        .map_err(|_| Refusal::invalid("/check_only must be true or false."))?
        .unwrap_or_default();
    let document = body
        .get("policy")
        .ok_or_else(|| Refusal::invalid("/policy is required: the policy document."))?;
    let policy =
        Policy::parse(document.get()).map_err(|mistakes| Refusal::mistakes("policy", &mistakes))?;
    shared.surroundings.registry.refresh().await?;
    let mistakes = mismatches(shared, &policy, &policy_id);
    if !mistakes.is_empty() {
        return Err(Refusal::mistakes("policy", &mistakes));
    }
    if check_only {
        let revision = shared.surroundings.registry.snapshot().revision();
        return answer(&json!({"ok": true, "revision": revision, "checked": true}));
    }
    let stored = StoredPolicy {
        tenant_id,
        policy_id,
        document: document.to_owned(),
    };
    let revision = shared
        .surroundings
        .registry
        .write(Change::PutPolicy(stored.clone()), by)
        .await?;
    one(revision, &stored)
}

pub(super) async fn delete(shared: &Shared, body: &Fields, by: Author) -> Result<String, Refusal> {
    let (tenant_id, policy_id) = names(body)?;
    let revision = shared
        .surroundings
        .registry
        .write(
            Change::DeletePolicy {
                tenant_id,
                policy_id,
            },
            by,
        )
        .await?;
    answer(&json!({"ok": true, "revision": revision}))
}

/// What is wrong with a well-formed policy in this registry: names of nothing, or of something of another type.
fn mismatches(shared: &Shared, policy: &Policy, policy_id: &str) -> Vec<Mistake> {
    let snapshot = shared.surroundings.registry.snapshot();
    let mut mistakes = Vec::new();
    if let Some(inside) = policy
        .policy_id
        .as_deref()
        .filter(|inside| *inside != policy_id)
    {
        let message = format!("is {inside}, but the policy is saved as {policy_id}");
        mistakes.push(Mistake {
            pointer: "/policy_id".into(),
            message,
        });
    }
    let (length, most) = (policy.pipeline_length(), shared.surroundings.max_extensions);
    if length > most {
        let message = format!(
            "has {length} extensions in its pipeline, the provider counted as one; at most {most} are allowed"
        );
        mistakes.push(Mistake {
            pointer: String::new(),
            message,
        });
    }
    for (id, kind, pointer) in policy.references() {
        let message = match snapshot.extension(id) {
            None => format!("{id} is not registered; create it first"),
            Some(extension) if extension.kind != kind => {
                format!(
                    "{id} is a {}, not a {}",
                    extension.kind.as_str(),
                    kind.as_str()
                )
            }
            Some(_) => continue,
        };
        mistakes.push(Mistake { pointer, message });
    }
    mistakes
}

fn names(body: &Fields) -> Result<(String, String), Refusal> {
    Ok((required(body, "tenant_id")?, required(body, "policy_id")?))
}

fn one(revision: u64, stored: &StoredPolicy) -> Result<String, Refusal> {
    let StoredPolicy {
        tenant_id,
        policy_id,
        document,
    } = stored;
    answer(&One {
        ok: true,
        revision,
        tenant_id,
        policy_id,
        policy: document,
    })
}
