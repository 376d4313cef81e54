//! What may name an extension, a policy or a subject.

use crate::document::shorten;
use beamline_contract::limits::MAX_ID;
use beamline_contract::subject;

/// Why `id` cannot name an extension or a policy, if it cannot. Lower case only, so that no two ids
/// differ by case.
pub fn id_problem(id: &str) -> Option<String> {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let rest = |c: char| first(c) || matches!(c, '_' | '.' | '-');
    let fits = id.len() <= MAX_ID
        && id.starts_with(first)
        && id.chars().all(rest)
        && !id.contains("..")
        && !id.ends_with('.');
    (!fits).then(|| {
        format!(
            "must be 1 to 64 characters of a-z, 0-9, _, - and single dots, starting with a letter or digit, is {}",
            shorten(id)
        )
    })
}

/// Why a subject cannot be called, if it cannot: a wildcard would leak traffic, an empty token
/// looks like a dead extension, and the router's own subjects would make a loop.
pub fn subject_problem(subject: &str, prefix: &str) -> Option<String> {
    let count = subject.split('.').count();
    if !subject.split('.').all(is_token) {
        return Some(format!(
            "every token must be 1 to 64 of A-Z, a-z, 0-9, _ and -, is {}",
            shorten(subject)
        ));
    }
    if !(3..=12).contains(&count) || subject.len() > 255 {
        return Some(format!(
            "must have 3 to 12 tokens and at most 255 characters, has {count} tokens"
        ));
    }
    let reserved = subject::router_start(prefix);
    if subject.starts_with(&reserved) {
        return Some(format!(
            "is reserved: {reserved} belongs to the router itself"
        ));
    }
    let allowed = subject::extension_starts(prefix);
    let starts = allowed
        .iter()
        .any(|start| subject.starts_with(start.as_str()));
    (!starts).then(|| {
        format!(
            "must start with {}, is {}",
            allowed.join(" or "),
            shorten(subject)
        )
    })
}

/// Why a version or an instance cannot be called so, if it cannot.
pub fn token_problem(token: &str) -> Option<String> {
    let fits = token.split('.').all(is_token) && token.len() <= 64;
    (!fits).then(|| {
        format!(
            "must be 1 to 64 of A-Z, a-z, 0-9, _, - and single dots, is {}",
            shorten(token)
        )
    })
}

fn is_token(token: &str) -> bool {
    (1..=64).contains(&token.len())
        && token
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_subjects() {
        for id in [
            "",
            "Ab",
            "a b",
            "a..b",
            "a.",
            "-a",
            "pаyments",
            "a/b",
            "a\n",
            &"a".repeat(65),
        ] {
            assert!(id_problem(id).is_some(), "{id:?}");
        }
        for id in ["a", "gpt-4.1", "openai_gpt4", "0x"] {
            assert!(id_problem(id).is_none(), "{id:?}");
        }
        for subject in [
            "b.ext.>",
            "b.ext.*.x",
            "$SYS.a.b",
            "_INBOX.a.b",
            "b.ext..a",
            "b.ext.a.",
            "b.ext.a b",
            "b.ext.é",
            "b.router.v1.decide",
            "b.ext",
            "other.ext.pre.a",
            "$JS.API.x",
            "b.ext.a\r\nb",
        ] {
            assert!(subject_problem(subject, "b").is_some(), "{subject:?}");
        }
        assert!(subject_problem("b.ext.pre.a.v1", "b").is_none());
    }
}
