//! What the registry of a first start holds: the reference extensions, and a policy of the tenant `demo` that uses them.

use serde_json::{Value, json};

use super::extensions::REFERENCE;

pub const TENANT: &str = "demo";
pub const POLICY: &str = "default";
/// Shows two extensions at work: blanks are tidied up on the way in, the address is masked on the way out.
pub const MESSAGE: &str = "Write   to ada@example.com";

/// The records of the extensions, one request for `create_extension` each.
pub fn extensions() -> impl Iterator<Item = Value> {
    REFERENCE.iter().map(|reference| json!({"id": reference.id, "type": reference.kind}))
}

/// The request for `put_policy`. Card numbers are refused; addresses and phone numbers are masked instead.
pub fn policy() -> Value {
    json!({
        "tenant_id": TENANT,
        "policy_id": POLICY,
        "policy": {
            "version": "1.0",
            "policy_id": POLICY,
            "pre": [{"id": "normalize_text", "mode": "required"}],
            "validators": [{"id": "pii_guard", "on_fail": "block", "config": {"email": false, "phone": false}}],
            "providers": [{"name": "mock_provider", "weight": 100}],
            "post": [{"id": "mask_pii", "mode": "required"}],
        },
    })
}

#[cfg(test)]
mod tests {
    use beamline_actors::domain::extension::Extension;

    use super::*;

    #[test]
    fn the_router_accepts_the_records() {
        for record in extensions() {
            Extension::parse(&record.to_string(), "beamline").expect("a valid record");
        }
    }

    #[test]
    fn the_policy_names_only_registered_extensions() {
        let policy = policy().to_string();
        assert!(REFERENCE.iter().all(|reference| policy.contains(&format!("\"{}\"", reference.id))), "{policy}");
    }
}
