//! Keys of the administration and of the edge: how they read, and when they hold. What is secret in
//! them is not here: the store knows hashes and public keys.

use beamline_contract::admin::{KeyKind, Role};
use serde::{Deserialize, Serialize};

/// A key as the store has it. Words are kept as they were written: a newer router may know more of
/// them, and a key with such a word opens nothing here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredKey {
    pub id: String,
    /// A [`KeyKind`].
    pub kind: String,
    /// A [`Role`], of a key of the administration.
    pub role: Option<String>,
    /// The only one that it is for; one of the edge always has it.
    pub tenant_id: Option<String>,
    pub name: Option<String>,
    /// What a key of the edge may use; empty: everything of its tenant.
    pub policies: Vec<String>,
    pub models: Vec<String>,
    /// Requests and tokens in a minute.
    pub rpm: Option<u64>,
    pub tpm: Option<u64>,
    /// Amounts of money as decimal text.
    pub budget_day: Option<String>,
    pub budget_month: Option<String>,
    /// Milliseconds since 1970.
    pub created_at: u64,
    pub expires_at: Option<u64>,
    /// SHA-256 of the whole key, in hexadecimal.
    pub hash: String,
    /// Ed25519, in hexadecimal; of a key of the administration.
    pub public_key: Option<String>,
}

impl StoredKey {
    /// What it may do in the administration, if anything.
    pub fn admin_role(&self) -> Option<Role> {
        if KeyKind::parse(&self.kind) != Some(KeyKind::Admin) {
            return None;
        }
        self.role.as_deref().and_then(Role::parse)
    }

    /// `now` is in milliseconds since 1970.
    pub fn holds_at(&self, now: u64) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// How every key of the administration begins.
const START: &str = "blr_";
/// Characters of an id.
pub const ID_LENGTH: usize = 8;

/// `blr_{env}_{id}_{secret}`, where neither id nor secret holds `_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyParts<'k> {
    pub id: &'k str,
    pub secret: &'k str,
}

impl<'k> KeyParts<'k> {
    /// `None` for what is no key of the administration.
    pub fn of(key: &'k str) -> Option<Self> {
        let (start, secret) = key.strip_prefix(START)?.rsplit_once('_')?;
        let (_, id) = start.rsplit_once('_')?;
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        (is_word(id) && is_word(secret)).then_some(Self { id, secret })
    }
}

/// A key of the administration from its parts.
pub fn written(environment: &str, id: &str, secret: &str) -> String {
    format!("{START}{environment}_{id}_{secret}")
}

/// What a header `Authorization` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization<'h> {
    Bearer(&'h str),
    Signed {
        id: &'h str,
        signature: &'h str,
    },
    /// Nothing that opens anything.
    Other,
}

impl<'h> Authorization<'h> {
    /// The scheme counts in any case.
    pub fn of(header: &'h str) -> Self {
        let header = header.trim();
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("Bearer") {
            return Self::Bearer(rest);
        }
        match rest.split_once(':') {
            Some((id, signature)) if scheme.eq_ignore_ascii_case("Beamline-Key") => {
                Self::Signed { id, signature }
            }
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, role: Option<&str>, expires_at: Option<u64>) -> StoredKey {
        StoredKey {
            id: "k".into(),
            kind: kind.into(),
            role: role.map(Into::into),
            tenant_id: None,
            name: None,
            policies: Vec::new(),
            models: Vec::new(),
            rpm: None,
            tpm: None,
            budget_day: None,
            budget_month: None,
            created_at: 0,
            expires_at,
            hash: String::new(),
            public_key: None,
        }
    }

    #[test]
    fn a_key_reads_whatever_its_environment_is_called() {
        for environment in ["dev", "", "a_b", "x.y-z", "blr_dev"] {
            let text = written(environment, "abcd0123", "s3cret");
            let parts = KeyParts::of(&text);
            let want = KeyParts {
                id: "abcd0123",
                secret: "s3cret",
            };
            assert_eq!(parts, Some(want), "{text}");
        }
        for other in [
            "",
            "blr_",
            "blr_dev_id",
            "blr_dev__s",
            "blr_dev_id_",
            "blr_dev_ID_s",
            "blr_dev_i d_s",
            "sk-bl-abc",
        ] {
            assert_eq!(KeyParts::of(other), None, "{other}");
        }
    }

    #[test]
    fn schemes_are_read_in_any_case_and_nothing_else_opens() {
        let signed = Authorization::Signed {
            id: "a",
            signature: "b",
        };
        let cases = [
            ("Bearer k", Authorization::Bearer("k")),
            ("bEARER  k ", Authorization::Bearer("k")),
            ("Bearer ", Authorization::Bearer("")),
            ("Beamline-Key a:b", signed),
            ("beamline-key a:b", signed),
            ("Beamline-Key ab", Authorization::Other),
            ("Basic a:b", Authorization::Other),
            ("k", Authorization::Other),
            ("", Authorization::Other),
        ];
        for (header, want) in cases {
            assert_eq!(Authorization::of(header), want, "{header}");
        }
    }

    #[test]
    fn what_is_not_understood_opens_nothing() {
        assert_eq!(
            key("admin", Some("editor"), None).admin_role(),
            Some(Role::Editor)
        );
        for (kind, role) in [
            ("edge", Some("admin")),
            ("edge", None),
            ("admin", None),
            ("admin", Some("emperor")),
            ("newer", Some("admin")),
        ] {
            assert_eq!(key(kind, role, None).admin_role(), None, "{kind} {role:?}");
        }
    }

    #[test]
    fn a_key_holds_until_it_expires() {
        let holds = |expires_at| key("admin", None, expires_at).holds_at(1_000);
        assert_eq!(
            [None, Some(1_001), Some(1_000), Some(0)].map(holds),
            [true, true, false, false]
        );
    }
}
