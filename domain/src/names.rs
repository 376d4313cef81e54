//! What may name an extension, a policy or a subject.

use crate::document::shorten;
use beamline_contract::limits::MAX_ID;
use beamline_contract::subject;

/// Why `id` cannot name a policy, if it cannot. Lower case only, so that no two ids differ by case.
pub fn id_problem(id: &str) -> Option<String> {
    problem(id, "a-z, 0-9, _, - and single dots", "_-", ".")
}

/// Why nothing that is registered can be called so, whichever release registered it.
pub fn reference_problem(id: &str) -> Option<String> {
    problem(id, "a-z, 0-9, _, -, and single dots and colons", "_-", ".:")
}

/// Why no new extension can be called so. An id with a colon makes no subject, so only a provider
/// that has one may have it.
pub fn new_id_problem(id: &str, is_provider_with_subject: bool) -> Option<String> {
    let may_hold = "a-z, 0-9, _ and -";
    if is_provider_with_subject {
        let with_colons = "a-z, 0-9, _, - and single colons";
        return problem(id, with_colons, "_-", ":");
    }
    let problem = problem(id, may_hold, "_-", "")?;
    let would_do = id.contains(':') && new_id_problem(id, true).is_none();
    Some(if would_do {
        format!("{problem}; colons are for providers that have a subject")
    } else {
        problem
    })
}

/// True for an id that only earlier releases gave.
pub fn is_older_id(id: &str) -> bool {
    id.contains('.')
}

/// `anywhere` but at the start, and of `between` single ones with something behind them.
fn problem(id: &str, may_hold: &str, anywhere: &str, between: &str) -> Option<String> {
    let is_first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_between = |c: char| between.contains(c);
    let is_allowed = |c: char| is_first(c) || anywhere.contains(c) || is_between(c);
    let ends = id.chars().zip(id.chars().skip(1).chain(['.']));
    let stand_alone =
        |(c, next): (char, char)| !is_between(c) || !(is_between(next) || next == '.');
    let fits = id.len() <= MAX_ID
        && id.starts_with(is_first)
        && id.chars().all(is_allowed)
        && ends.into_iter().all(stand_alone);
    (!fits).then(|| {
        format!(
            "must be 1 to 64 characters of {may_hold}, starting with a letter or digit, is {}",
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
        for id in ["a:b:c", "gpt-4.1:x"] {
            assert!(
                id_problem(id).is_some() && reference_problem(id).is_none(),
                "{id:?}"
            );
        }
        for id in ["a::b", "a:", ":a", "a.:b"] {
            assert!(reference_problem(id).is_some(), "{id:?}");
            assert!(new_id_problem(id, true).is_some(), "{id:?}");
        }
        for (id, plain, with_subject) in [
            ("gpt-4_1", true, true),
            ("openai:gpt-4o", false, true),
            ("gpt-4.1", false, false),
        ] {
            assert_eq!(new_id_problem(id, false).is_none(), plain, "{id}");
            assert_eq!(new_id_problem(id, true).is_none(), with_subject, "{id}");
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
