//! How much of the registry one tenant may fill, and everybody together.

use beamline_contract::fields::Fields;
use beamline_contract::record::ExtensionRecord;

use crate::snapshot::{Snapshot, StoredPolicy};

/// What a deployment grants.
#[derive(Debug, Clone, Copy)]
pub struct RegistryQuotas {
    /// Of each tenant.
    pub policies: usize,
    /// Of the documents of each tenant.
    pub policy_bytes: usize,
    /// Of the whole router.
    pub extensions: usize,
    pub extension_bytes: usize,
}

/// A quota that a change would break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at most {limit} {unit}, and with this change there would be {wanted}")]
pub struct QuotaExceeded {
    /// Its key in the configuration, without the section.
    pub quota: &'static str,
    pub limit: usize,
    wanted: usize,
    what: &'static str,
    unit: &'static str,
}

/// What a change does to one number.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    before: usize,
    after: usize,
}

impl RegistryQuotas {
    /// Whether a policy can be saved.
    pub fn check_policy(
        &self,
        snapshot: &Snapshot,
        policy: &StoredPolicy,
    ) -> Result<(), QuotaExceeded> {
        let mut policies = Count::default();
        let mut bytes = Count::default();
        let mut is_new = true;
        for known in snapshot.policies_of(&policy.tenant_id) {
            let size = known.stored.document.get().len();
            policies.is_there(1);
            bytes.is_there(size);
            if known.stored.policy_id == policy.policy_id {
                is_new = false;
                bytes.after -= size;
            }
        }
        policies.after += usize::from(is_new);
        bytes.after += policy.document.get().len();
        policies.check(
            "policies_per_tenant",
            "A tenant may have",
            "policies",
            self.policies,
        )?;
        bytes.check(
            "policy_bytes_per_tenant",
            "The policies of a tenant may have",
            "bytes",
            self.policy_bytes,
        )
    }

    /// Whether an extension can be saved.
    pub fn check_extension(
        &self,
        snapshot: &Snapshot,
        extension: &ExtensionRecord,
    ) -> Result<(), QuotaExceeded> {
        let mut bytes = Count::default();
        let all = snapshot.extensions();
        all.iter()
            .for_each(|known| bytes.is_there(written_bytes(known)));
        let known = snapshot.extension(&extension.id);
        let mut extensions = Count::default();
        extensions.is_there(all.len());
        extensions.after += usize::from(known.is_none());
        bytes.after -= known.map_or(0, |known| written_bytes(known));
        bytes.after += written_bytes(extension);
        extensions.check(
            "extensions",
            "This router may have",
            "extensions",
            self.extensions,
        )?;
        bytes.check(
            "extension_bytes",
            "The extensions of this router may have",
            "bytes",
            self.extension_bytes,
        )
    }
}

impl Count {
    fn is_there(&mut self, more: usize) {
        self.before += more;
        self.after += more;
    }

    /// What is over already, because the quota was less before, may shrink and change.
    fn check(
        self,
        quota: &'static str,
        what: &'static str,
        unit: &'static str,
        limit: usize,
    ) -> Result<(), QuotaExceeded> {
        if self.after <= limit || self.after <= self.before {
            return Ok(());
        }
        Err(QuotaExceeded {
            quota,
            limit,
            wanted: self.after,
            what,
            unit,
        })
    }
}

/// What people have written into a record, in bytes, roughly.
fn written_bytes(extension: &ExtensionRecord) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let versions = extension.versions.iter().map(|version| {
        let config = version.config.as_ref().map_or(0, bytes_of);
        version.version.len() + text(&version.subject) + config + bytes_of(&version.routing_rules)
    });
    let instances = extension.instances.iter();
    let instances = instances.map(|place| place.instance_id.len() + place.subject.len());
    extension.id.len()
        + extension.version.len()
        + text(&extension.subject)
        + bytes_of(&extension.config)
        + bytes_of(&extension.metadata)
        + versions.sum::<usize>()
        + instances.sum::<usize>()
}

fn bytes_of(fields: &Fields) -> usize {
    let entries = fields.iter();
    entries
        .map(|(key, value)| key.len() + value.get().len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record;
    use crate::snapshot::Content;
    use serde_json::value::RawValue;

    fn policy(tenant: &str, id: &str, size: usize) -> StoredPolicy {
        let note = "x".repeat(size.saturating_sub(46));
        let document = format!(r#"{{"providers": ["p"], "metadata": {{"n": "{note}"}}}}"#);
        StoredPolicy {
            tenant_id: tenant.into(),
            policy_id: id.into(),
            document: RawValue::from_string(document).unwrap(),
        }
    }

    fn extension(id: &str, config: usize) -> ExtensionRecord {
        let note = "x".repeat(config);
        let json = format!(r#"{{"id": "{id}", "type": "pre", "config": {{"n": "{note}"}}}}"#);
        record::parse(&json, "beamline").unwrap()
    }

    fn snapshot(policies: Vec<StoredPolicy>, extensions: Vec<ExtensionRecord>) -> Snapshot {
        Snapshot::new(Content {
            revision: 1,
            extensions,
            policies,
            ..Content::default()
        })
    }

    const QUOTAS: RegistryQuotas = RegistryQuotas {
        policies: 2,
        policy_bytes: 1_000,
        extensions: 2,
        extension_bytes: 1_000,
    };

    #[test]
    fn one_tenant_fills_its_own_quota_and_nobody_elses() {
        let full = vec![policy("a", "one", 100), policy("a", "two", 800)];
        let full = snapshot(full, vec![]);
        let check = |tenant, id, size| {
            let checked = QUOTAS.check_policy(&full, &policy(tenant, id, size));
            checked.err().map(|exceeded| exceeded.quota)
        };
        assert_eq!(check("a", "three", 60), Some("policies_per_tenant"));
        assert_eq!(check("a", "one", 300), Some("policy_bytes_per_tenant"));
        assert_eq!(check("a", "one", 150), None);
        assert_eq!(check("b", "one", 900), None);
        let error = QUOTAS.check_policy(&full, &policy("a", "three", 60));
        assert_eq!(
            error.unwrap_err().to_string(),
            "A tenant may have at most 2 policies, and with this change there would be 3"
        );
    }

    #[test]
    fn extensions_and_their_bytes_are_bounded_for_all_together() {
        let full = snapshot(vec![], vec![extension("a", 100), extension("b", 800)]);
        let check = |id, size| {
            let checked = QUOTAS.check_extension(&full, &extension(id, size));
            checked.err().map(|exceeded| exceeded.quota)
        };
        assert_eq!(check("c", 1), Some("extensions"));
        assert_eq!(check("a", 400), Some("extension_bytes"));
        assert_eq!(check("a", 150), None);
    }

    #[test]
    fn what_is_over_its_quota_already_may_shrink() {
        let over = vec![extension("a", 900), extension("b", 900), extension("c", 9)];
        let over = snapshot(vec![], over);
        assert!(QUOTAS.check_extension(&over, &extension("a", 800)).is_ok());
        assert!(QUOTAS.check_extension(&over, &extension("a", 901)).is_err());
    }
}
