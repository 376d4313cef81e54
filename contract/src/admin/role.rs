//! Who may ask for what (contract section 6).

use crate::word::words;

words! {
    /// What a key may do. Each role may all that those before it may, but for the auditor.
    pub enum Role {
        /// Looks.
        Viewer = "viewer",
        /// Also decides about breakers, and enables and disables.
        Operator = "operator",
        /// Also writes extensions and policies.
        Editor = "editor",
        /// Also keys, and the audit log.
        Admin = "admin",
        /// The audit log, and nothing else.
        Auditor = "auditor",
    }
}

impl Role {
    /// Whether this role is enough for what needs `needed`.
    pub fn may(self, needed: Self) -> bool {
        match (self, needed) {
            (Self::Auditor, needed) => needed == Self::Auditor,
            (own, Self::Auditor) => own == Self::Admin,
            (own, needed) => own >= needed,
        }
    }
}

words! {
    /// What a key opens.
    pub enum KeyKind {
        Admin = "admin",
        /// The OpenAI edge, and nothing of the administration.
        Edge = "edge",
    }
}

/// Whom an operation concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// A key of one tenant may ask for it too, and meets nothing but what is its tenant's.
    Tenant,
    /// All tenants, so that a key of one of them is not enough.
    Router,
}

/// What an operation does to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Reads,
    /// The registry may be another one after it.
    Writes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_those_before_it_may_and_the_auditor_stands_apart() {
        use Role::{Admin, Auditor, Editor, Operator, Viewer};
        let may = |role: Role| {
            let all = Role::WORDS.iter().map(|(_, needed)| *needed);
            all.filter(|needed| role.may(*needed)).collect::<Vec<_>>()
        };
        assert_eq!(may(Viewer), [Viewer]);
        assert_eq!(may(Operator), [Viewer, Operator]);
        assert_eq!(may(Editor), [Viewer, Operator, Editor]);
        assert_eq!(may(Admin), [Viewer, Operator, Editor, Admin, Auditor]);
        assert_eq!(may(Auditor), [Auditor]);
    }
}
