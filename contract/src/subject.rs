//! The subjects of the contract. `prefix` is `nats.subject_prefix`.

use crate::record::Kind;

/// Where a gateway asks for a decision.
pub fn decide(prefix: &str) -> String {
    format!("{prefix}.router.v1.decide")
}

/// Where a gateway has its message carried through the whole pipeline.
pub fn route(prefix: &str) -> String {
    format!("{prefix}.router.v1.route")
}

/// The same where the subject names the tenant; `*` is all of them.
pub fn of_tenant(subject: &str, tenant_id: &str) -> String {
    format!("{subject}.{tenant_id}")
}

/// How the inboxes of routers begin; `inbox_prefix` is `nats.inbox_prefix`.
pub fn router_inboxes(inbox_prefix: &str, prefix: &str) -> String {
    format!("{inbox_prefix}.{}_router", prefix.replace('.', "_"))
}

/// Where an operation of the administration is asked for; `*` is all of them.
pub fn admin(prefix: &str, operation: &str) -> String {
    format!("{prefix}.router.v1.admin.{operation}")
}

/// What replicas tell and ask each other; `word` says what about, `*` is all of it.
pub fn control(prefix: &str, word: &str) -> String {
    format!("{prefix}.router.v1.control.{word}")
}

/// Where an extension listens unless its record says otherwise (contract section 2).
pub fn extension(prefix: &str, kind: Kind, id: &str, version: &str) -> String {
    match kind {
        Kind::Pre => format!("{prefix}.ext.pre.{id}.{version}"),
        Kind::Validator => format!("{prefix}.ext.validate.{id}.{version}"),
        Kind::Post => format!("{prefix}.ext.post.{id}.{version}"),
        Kind::Provider => format!("{prefix}.provider.{id}.{version}"),
    }
}

/// How the subjects of the router itself begin. Nobody else may listen there.
pub fn router_start(prefix: &str) -> String {
    format!("{prefix}.router.")
}

/// How the subjects of guardrails begin, and those of providers.
pub fn extension_starts(prefix: &str) -> [String; 2] {
    [format!("{prefix}.ext."), format!("{prefix}.provider.")]
}

/// Whether it is a subject of this contract.
pub fn is_under(prefix: &str, subject: &str) -> bool {
    subject
        .strip_prefix(prefix)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// The operation, word or version that a subject ends with.
pub fn last_token(subject: &str) -> &str {
    subject.rsplit('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_with_a_whole_token() {
        assert!(is_under("beamline", &decide("beamline")));
        assert!(is_under("a.b", &admin("a.b", "reload")));
        for other in ["beamline", "beamline2.x", "_INBOX.a", ""] {
            assert!(!is_under("beamline", other), "{other}");
        }
    }

    #[test]
    fn every_extension_listens_where_extensions_may() {
        let starts = extension_starts("b");
        for (_, kind) in Kind::ALL {
            let subject = extension("b", kind, "x", "v1");
            assert!(
                starts.iter().any(|start| subject.starts_with(start)),
                "{subject}"
            );
            assert_eq!(last_token(&subject), "v1");
        }
    }
}
