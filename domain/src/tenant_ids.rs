//! What tenants may be called.

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Bytes of an id, in a message.
const LONGEST: usize = 256;
/// Characters of an id that is the token of a subject.
const LONGEST_TOKEN: usize = 64;

/// Drawn as nothing or as a blank, though Unicode counts them as letters, marks or symbols.
const UNSEEN: [(char, char); 11] = [
    ('\u{34f}', '\u{34f}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{16fe4}', '\u{16fe4}'),
    ('\u{1d159}', '\u{1d159}'),
    ('\u{e0100}', '\u{e01ef}'),
];

/// Why no tenant can be called so, whichever release took it in.
pub fn tenant_problem(id: &str) -> Option<String> {
    let fits = (1..=LONGEST).contains(&id.len()) && !id.chars().any(char::is_control);
    (!fits).then(|| format!("must be 1 to {LONGEST} bytes without control characters"))
}

/// Why no new tenant can be called so: people must be able to tell two of them apart. With
/// `in_subjects` the id is the last token of a subject.
pub fn new_tenant_problem(id: &str, in_subjects: bool) -> Option<String> {
    if in_subjects {
        return (!is_token(id)).then(|| {
            format!(
                "must be 1 to {LONGEST_TOKEN} letters, digits, - and _, the first a letter or digit, because it is the end of \
                 a subject (router.tenant_from)"
            )
        });
    }
    if let Some(problem) = tenant_problem(id) {
        return Some(problem);
    }
    if id.starts_with(is_mark) {
        return Some(
            "must not begin with a mark, which stands over what comes before it".to_owned(),
        );
    }
    let unseen = id.chars().find(|c| !is_seen(*c))?;
    Some(format!(
        "must hold nothing that cannot be seen, no white space and no character that only formats, holds U+{:04X}",
        u32::from(unseen)
    ))
}

/// Whether the last token of a subject can name a tenant.
pub fn is_token(id: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    id.len() <= LONGEST_TOKEN
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.chars().all(is_plain)
}

fn is_mark(c: char) -> bool {
    c.general_category_group() == GeneralCategoryGroup::Mark
}

fn is_seen(c: char) -> bool {
    let has_no_picture = matches!(
        c.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::Surrogate
            | GeneralCategory::PrivateUse
            | GeneralCategory::Unassigned
            | GeneralCategory::SpaceSeparator
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    );
    let is_unseen = UNSEEN.iter().any(|(from, to)| (*from..=*to).contains(&c));
    !has_no_picture && !is_unseen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_tenants_can_be_told_apart_by_eye() {
        for id in ["acme", "ACME", "a.b", "müller", "世界", "0-x_Y", "a@b"] {
            assert_eq!(new_tenant_problem(id, false), None, "{id:?}");
        }
        for id in [
            "",
            " acme",
            "acme ",
            "ac me",
            "ac\u{a0}me",
            "ac\u{200b}me",
            "ac\u{202e}me",
            "acme\u{feff}",
            "ac\u{ad}me",
            "acme\u{fe0f}",
            "ac\u{3164}me",
            "\u{2800}",
            "acme\n",
            "acme\u{e000}",
            "acme\u{e0041}",
            "acme\u{e0100}",
            "acme\u{16fe4}",
            "acme\u{1d159}",
            "\u{301}acme",
            &"a".repeat(257),
        ] {
            assert!(new_tenant_problem(id, false).is_some(), "{id:?}");
        }
    }

    #[test]
    fn a_token_of_a_subject_is_plain() {
        for id in ["acme", "A", "0", "a-b_c", &"a".repeat(64)] {
            assert_eq!(new_tenant_problem(id, true), None, "{id}");
        }
        for id in [
            "",
            "-a",
            "_a",
            "a.b",
            "a b",
            "müller",
            "*",
            ">",
            &"a".repeat(65),
        ] {
            assert!(new_tenant_problem(id, true).is_some(), "{id}");
        }
    }

    #[test]
    fn what_earlier_releases_took_is_still_a_tenant() {
        assert_eq!(tenant_problem("Acme GmbH"), None);
        assert!(tenant_problem("a\u{7}").is_some());
    }
}
