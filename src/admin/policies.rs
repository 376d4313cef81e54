//! Operations on policies.

use std::sync::Arc;

use beamline_actors::ports::{Author, Change, StoreError};
use beamline_contract::admin::{
    DeletePolicy, GetPolicy, ListPolicies, ListedPolicy, PoliciesAnswer, PolicyAnswer,
    PolicyWritten, PutPolicy, RevisionAnswer, UnreadablePolicy,
};
use beamline_contract::fields::Fields;
use beamline_contract::mistake::Mistake;
use beamline_contract::record::Kind;
use beamline_domain::document::shorten;
use beamline_domain::names::id_problem;
use beamline_domain::policy::Policy;
use beamline_domain::snapshot::{KnownPolicy, Snapshot, StoredPolicy};
use beamline_domain::suggest::closest;
use beamline_domain::tenant_ids::{new_tenant_problem, tenant_problem};

use super::body::required;
use super::caller::Caller;
use super::changes::TRIES;
use super::configs::Given;
use super::operation::{Perform, WaitsFor, by_size};
use super::refusal::Refusal;
use super::surroundings::Surroundings;
use super::warnings;

impl Perform for ListPolicies {
    const WAITS_FOR: WaitsFor = WaitsFor::Nobody;

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<PoliciesAnswer, Refusal> {
        let snapshot = all.registry.snapshot();
        let policies = snapshot
            .policies()
            .into_iter()
            .filter(|known| {
                let tenant = self.tenant_id.as_ref();
                tenant.is_none_or(|tenant| known.stored.tenant_id == *tenant)
                    && caller.sees(&known.stored.tenant_id)
            })
            .map(|known| listed(&snapshot, known))
            .collect();
        let unreadable = snapshot
            .unreadable()
            .iter()
            .filter(|(name, _)| {
                // A policy's id has no slash, a tenant's may.
                let tenant = name.rsplit_once('/').map_or("", |(tenant, _)| tenant);
                caller.sees(tenant)
            })
            .map(|(name, reason)| UnreadablePolicy {
                name: name.clone(),
                reason: reason.clone(),
            })
            .collect();
        Ok(PoliciesAnswer {
            ok: true,
            revision: snapshot.revision(),
            policies,
            unreadable,
        })
    }
}

fn listed(snapshot: &Snapshot, known: &KnownPolicy) -> ListedPolicy {
    let KnownPolicy { stored, policy } = known;
    ListedPolicy {
        tenant_id: stored.tenant_id.clone(),
        policy_id: stored.policy_id.clone(),
        version: Some(policy.version.clone()),
        pre: Some(policy.pre.len()),
        validators: Some(policy.validators.len() + policy.output_validators.len()),
        providers: Some(policy.providers.len()),
        post: Some(policy.post.len()),
        revision: last_change(snapshot, stored),
        policy: stored.document.clone(),
    }
}

impl Perform for GetPolicy {
    const WAITS_FOR: WaitsFor = WaitsFor::Nobody;

    async fn perform(self, all: &Arc<Surroundings>, _: &Caller) -> Result<PolicyAnswer, Refusal> {
        let snapshot = all.registry.snapshot();
        let known = snapshot.policy(&self.tenant_id, &self.policy_id);
        let known =
            known.ok_or_else(|| Refusal::not_found(&name_of(&self.tenant_id, &self.policy_id)))?;
        Ok(PolicyAnswer {
            ok: true,
            revision: snapshot.revision(),
            policy_revision: last_change(&snapshot, &known.stored),
            tenant_id: known.stored.tenant_id.clone(),
            policy_id: known.stored.policy_id.clone(),
            policy: known.stored.document.clone(),
        })
    }
}

fn last_change(snapshot: &Snapshot, policy: &StoredPolicy) -> Option<u64> {
    let id = format!("{}/{}", policy.tenant_id, policy.policy_id);
    snapshot.revision_of("policy", &id)
}

/// A policy in a sentence.
pub(super) fn name_of(tenant_id: &str, policy_id: &str) -> String {
    format!("The policy {}/{}", shorten(tenant_id), shorten(policy_id))
}

impl Perform for PutPolicy {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    fn read(body: &Fields) -> Result<Self, Refusal> {
        let tenant_id = required(body, "tenant_id")?;
        let policy_id = required(body, "policy_id")?;
        check_names(&tenant_id, &policy_id)?;
        let check_only = body.get("check_only").map_or(Ok(None), |raw| {
            serde_json::from_str::<Option<bool>>(raw.get())
        });
        let check_only =
            check_only.map_err(|_| Refusal::invalid("/check_only must be true or false."))?;
        let policy = body
            .get("policy")
            .ok_or_else(|| Refusal::invalid("/policy is required: the policy document."))?;
        Ok(Self {
            tenant_id,
            policy_id,
            policy: policy.to_owned(),
            check_only: check_only.unwrap_or_default(),
        })
    }

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<PolicyWritten, Refusal> {
        let document = self.policy.clone();
        let policy = by_size(document.get().len(), move || {
            Policy::parse(document.get()).map_err(|mistakes| Refusal::mistakes("policy", &mistakes))
        });
        let policy = policy.await?;
        all.registry.refresh().await?;
        let snapshot = all.registry.snapshot();
        check_new_tenant(&self.tenant_id, all)?;
        let mistakes = mismatches(
            &policy,
            &self.policy_id,
            &snapshot,
            all.settings.max_extensions,
        );
        if !mistakes.is_empty() {
            return Err(Refusal::mistakes("policy", &mistakes));
        }
        let given = Given::by_policy(&policy, &snapshot, &all.settings.prefix);
        let said = given.ask(all).await.of_sent("policy", None)?;
        let mut warnings = warnings::of_policy(all, &policy);
        warnings.extend(said);
        if self.check_only {
            return Ok(PolicyWritten {
                warnings,
                ..checked(snapshot.revision())
            });
        }
        let stored = StoredPolicy {
            tenant_id: self.tenant_id,
            policy_id: self.policy_id,
            document: self.policy,
        };
        let revision = put(all, caller, &stored).await?;
        Ok(PolicyWritten {
            warnings,
            ..saved(revision, stored)
        })
    }
}

/// Writes a policy that its tenant's quotas have room for, as the registry is when it is written.
async fn put(all: &Surroundings, caller: &Caller, stored: &StoredPolicy) -> Result<u64, Refusal> {
    for _ in 0..TRIES {
        let snapshot = all.registry.snapshot();
        let is_near = all.settings.quotas.check_policy(&snapshot, stored)?;
        let by = Author {
            // Else every change would have to wait for those of others.
            based_on: is_near.then(|| snapshot.revision()),
            ..caller.author()
        };
        let change = Change::PutPolicy(stored.clone());
        match all.registry.write(change, by).await {
            Ok(revision) => return Ok(revision),
            Err(StoreError::Stale) => all.registry.refresh().await?,
            Err(error) => return Err(error.into()),
        };
    }
    Err(StoreError::Stale.into())
}

fn check_names(tenant_id: &str, policy_id: &str) -> Result<(), Refusal> {
    if let Some(problem) = id_problem(policy_id) {
        return Err(Refusal::invalid(format!("/policy_id {problem}.")));
    }
    match tenant_problem(tenant_id) {
        Some(problem) => Err(Refusal::invalid(format!("/tenant_id {problem}."))),
        None => Ok(()),
    }
}

/// A tenant that has policies may go on with the id that an earlier release took.
pub(super) fn check_new_tenant(tenant_id: &str, all: &Surroundings) -> Result<(), Refusal> {
    let snapshot = all.registry.snapshot();
    let is_new = snapshot.policies_of(tenant_id).next().is_none();
    let in_subjects = all.settings.tenant_from_subject;
    match new_tenant_problem(tenant_id, in_subjects).filter(|_| is_new) {
        Some(problem) => Err(Refusal::invalid(format!("/tenant_id {problem}."))),
        None => Ok(()),
    }
}

/// What is wrong with a well-formed policy in this registry: names of nothing, or of something of
/// another type.
fn mismatches(
    policy: &Policy,
    policy_id: &str,
    snapshot: &Snapshot,
    max_extensions: usize,
) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    if let Some(inside) = policy.policy_id.as_deref()
        && inside != policy_id
    {
        mistakes.push(Mistake {
            pointer: "/policy_id".into(),
            message: format!("is {inside}, but the policy is saved as {policy_id}"),
        });
    }
    let length = policy.pipeline_length();
    if length > max_extensions {
        mistakes.push(Mistake {
            pointer: String::new(),
            message: format!(
                "has {length} extensions in its pipeline, the provider counted as one; at most {max_extensions} are allowed"
            ),
        });
    }
    for (id, kind, pointer) in policy.references() {
        let message = match snapshot.extension(id) {
            None => unregistered(id, kind, snapshot),
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

/// With what may have been meant.
fn unregistered(id: &str, kind: Kind, snapshot: &Snapshot) -> String {
    let known = snapshot
        .extensions()
        .iter()
        .filter(|known| known.kind == kind);
    let known: Vec<&str> = known.map(|known| &*known.id).collect();
    match closest(id, &known) {
        Some(near) => format!("{id} is not registered; did you mean {near}?"),
        None => format!("{id} is not registered; create it first"),
    }
}

fn checked(revision: u64) -> PolicyWritten {
    PolicyWritten {
        ok: true,
        revision,
        tenant_id: None,
        policy_id: None,
        policy: None,
        checked: true,
        warnings: Vec::new(),
    }
}

fn saved(revision: u64, stored: StoredPolicy) -> PolicyWritten {
    PolicyWritten {
        ok: true,
        revision,
        tenant_id: Some(stored.tenant_id),
        policy_id: Some(stored.policy_id),
        policy: Some(stored.document),
        checked: false,
        warnings: Vec::new(),
    }
}

impl Perform for DeletePolicy {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<RevisionAnswer, Refusal> {
        let change = Change::DeletePolicy {
            tenant_id: self.tenant_id,
            policy_id: self.policy_id,
        };
        let revision = all.registry.write(change, caller.author()).await?;
        Ok(RevisionAnswer { ok: true, revision })
    }
}
