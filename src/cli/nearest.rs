//! What somebody may have meant by a policy that a router does not have.

use std::time::Duration;

use beamline_contract::admin::ListPolicies;
use beamline_domain::suggest::closest;

use super::client::Client;
use super::failure::Failure;

/// For a question on the side.
const PATIENCE: Duration = Duration::from_secs(1);
/// More names help nobody.
const MOST_NAMES: usize = 5;

/// The policies of a router.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Tenant and policy.
    names: Vec<(String, String)>,
    /// Of the registry then.
    pub(super) revision: u64,
}

/// The same failure; where it says that a policy does not exist, with what may have been meant.
pub(super) async fn with_hint(
    client: &Client,
    failure: Failure,
    tenant: &str,
    policy: &str,
) -> Failure {
    let Failure::Refused(refusal) = failure else {
        return failure;
    };
    if !refusal.is_not_found() {
        return Failure::Refused(refusal);
    }
    // Who may not ask, or gets no answer, gets the refusal as it is.
    let known = Known::of(client, PATIENCE).await.unwrap_or_default();
    match known.instead_of(tenant, policy) {
        Some(hint) => refusal.with_hint(hint).into(),
        None => Failure::Refused(refusal),
    }
}

impl Known {
    pub(super) async fn of(client: &Client, patience: Duration) -> Result<Self, Failure> {
        let question = ListPolicies { tenant_id: None };
        let answer = client.admin_within(&question, patience).await?.read()?;
        let names = answer.policies.into_iter();
        Ok(Self {
            revision: answer.revision,
            names: names
                .map(|listed| (listed.tenant_id, listed.policy_id))
                .collect(),
        })
    }

    pub(super) fn has(&self, tenant: &str, policy: &str) -> bool {
        self.of_tenant(tenant).contains(&policy)
    }

    pub(super) fn of_tenant(&self, tenant: &str) -> Vec<&str> {
        let names = self.names.iter().filter(|(owner, _)| owner == tenant);
        names.map(|(_, policy)| policy.as_str()).collect()
    }

    pub(super) fn tenants(&self) -> Vec<&str> {
        let mut tenants: Vec<&str> = self.names.iter().map(|(tenant, _)| &**tenant).collect();
        tenants.sort_unstable();
        tenants.dedup();
        tenants
    }

    /// As `TENANT/POLICY`.
    pub(super) fn both(&self) -> Vec<String> {
        let names = self.names.iter();
        names
            .map(|(tenant, policy)| format!("{tenant}/{policy}"))
            .collect()
    }

    /// A sentence; nothing when the policy exists, or when nothing is like it.
    fn instead_of(&self, tenant: &str, policy: &str) -> Option<String> {
        if self.has(tenant, policy) {
            return None;
        }
        let own = self.of_tenant(tenant);
        if let Some(near) = closest(policy, &own) {
            return Some(format!(
                "Did you mean policy '{near}' of tenant '{tenant}'?"
            ));
        }
        if !own.is_empty() {
            return Some(format!("Tenant '{tenant}' has {}.", listed(&own)));
        }
        let near = closest(tenant, &self.tenants())?;
        let its = self.of_tenant(near);
        let its = closest(policy, &its).map_or_else(|| listed(&its), |one| listed(&[one]));
        Some(format!("Did you mean tenant '{near}'? It has {its}."))
    }
}

/// The first of some names.
pub(super) fn listed(names: &[&str]) -> String {
    let shown: Vec<&str> = names.iter().take(MOST_NAMES).copied().collect();
    let more = match names.len().saturating_sub(shown.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_meant_is_near() {
        let names = ["acme/default", "acme/support_en", "demo/default"];
        let pairs = names.iter().filter_map(|name| name.split_once('/'));
        let known = Known {
            names: pairs
                .map(|(tenant, policy)| (tenant.to_owned(), policy.to_owned()))
                .collect(),
            revision: 0,
        };
        let hint = |tenant, policy| known.instead_of(tenant, policy).unwrap_or_default();
        assert_eq!(
            hint("acme", "suport_en"),
            "Did you mean policy 'support_en' of tenant 'acme'?"
        );
        assert_eq!(
            hint("acme", "nothing_like_it"),
            "Tenant 'acme' has default, support_en."
        );
        assert_eq!(
            hint("dmo", "default"),
            "Did you mean tenant 'demo'? It has default."
        );
        assert_eq!(hint("acme", "default"), "", "it exists");
        assert_eq!(hint("nobody", "default"), "");
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(
            listed(&["a", "b", "c", "d", "e", "f", "g"]),
            "a, b, c, d, e and 2 more"
        );
    }
}
