//! E-mail addresses whose domain ends in a top-level domain that exists, or in one that is set
//! aside for examples and for networks of one's own. Each "@" is looked at once, and no character
//! more than a few times.

use std::borrow::Cow;
use std::ops::Range;

use super::Text;
use super::digits::{char_after, char_before, is_east_asian};
use super::hint::Hint;
use super::steps::step;

/// Set aside by RFC 2606 and RFC 6762, or in use where no public name is wanted.
const PRIVATE: [&str; 9] = [
    "example",
    "test",
    "invalid",
    "local",
    "localdomain",
    "lan",
    "internal",
    "corp",
    "intranet",
];
/// Most addresses end so, and need no look into the list of all.
const COMMON: [&str; 8] = ["com", "org", "net", "de", "uk", "fr", "jp", "cn"];
const LONGEST_LABEL: usize = 63;
/// How far back the user of a URL may begin.
const LONGEST_USER: usize = 64;
/// How far before an address the word that makes it something else may stand.
const WINDOW: usize = 24;

pub(super) fn find(text: &Text<'_>) -> Vec<Range<usize>> {
    let folded = text.folded;
    folded
        .match_indices('@')
        .filter_map(|(at, _)| address_around(folded, at))
        .filter(|range| !is_place(folded, range) && !is_named_otherwise(text, range))
        .collect()
}

fn address_around(text: &str, at: usize) -> Option<Range<usize>> {
    let local = local_part(text.get(..at)?);
    let begins = char_after(text, at + 1).is_some_and(char::is_alphanumeric);
    if local.is_empty() || local == "git" || !begins {
        return None;
    }
    let domain = domain(text.get(at + 1..)?);
    step(1 + local.len() + domain.len());
    is_domain(domain).then(|| at - local.len()..at + 1 + domain.len())
}

/// The longest end of the text that can be a local part. Quotes, slashes and "=" are allowed by the
/// standard and left out here, because around real addresses they are punctuation. Where a Latin
/// address follows on text without spaces, it begins where the script changes.
fn local_part(before: &str) -> &str {
    let Some(last) = before.chars().next_back().filter(|c| may_be_local(*c)) else {
        return "";
    };
    let start = before
        .char_indices()
        .rev()
        .take_while(|(_, c)| may_be_local(*c) && (is_east_asian(last) || !is_east_asian(*c)))
        .last()
        .map_or(before.len(), |(at, _)| at);
    let local = before.get(start..).unwrap_or_default();
    if local.ends_with('.') {
        ""
    } else {
        local.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_')
    }
}

fn may_be_local(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-' | '&' | '~' | '#' | '!' | '$')
}

fn domain(after: &str) -> &str {
    let foreign = after.chars().next().is_some_and(is_east_asian);
    let end = after.find(|c: char| {
        let label = c.is_alphanumeric() && (foreign || !is_east_asian(c));
        !label && !matches!(c, '.' | '-')
    });
    let domain = after.get(..end.unwrap_or(after.len())).unwrap_or_default();
    domain.trim_end_matches(['.', '-'])
}

fn is_domain(domain: &str) -> bool {
    let Some((_, top_level)) = domain.rsplit_once('.') else {
        return false;
    };
    domain.split('.').all(is_label) && is_top_level(top_level)
}

fn is_label(label: &str) -> bool {
    // Characters are only counted where bytes do not say enough.
    let fits = label.len() <= LONGEST_LABEL || label.chars().count() <= LONGEST_LABEL;
    !label.is_empty() && fits && !label.starts_with('-') && !label.ends_with('-')
}

fn is_top_level(label: &str) -> bool {
    if COMMON.contains(&label) {
        return true;
    }
    // None has one letter, and few are written with capitals.
    if label.len() < 2 {
        return false;
    }
    let lower = match label.bytes().all(|byte| byte.is_ascii_lowercase()) {
        true => Cow::Borrowed(label),
        false => Cow::Owned(label.to_lowercase()),
    };
    let known = psl::suffix(lower.as_bytes()).is_some_and(|suffix| suffix.is_known());
    known || lower.starts_with("xn--") || PRIVATE.contains(&lower.as_ref())
}

/// A host with its user, not an address: `git@host:path`, `user:secret@host` in a URL, a method of
/// something that was multiplied.
fn is_place(text: &str, range: &Range<usize>) -> bool {
    let next = char_after(text, range.end);
    let after = char_after(text, range.end + next.map_or(0, char::len_utf8));
    let path = next == Some(':')
        && after.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '~' | '.'));
    path || next == Some('(') || is_user_of_url(text, range.start)
}

fn is_user_of_url(text: &str, start: usize) -> bool {
    if !matches!(char_before(text, start), Some('/' | ':')) {
        return false;
    }
    let from = start.saturating_sub(LONGEST_USER);
    let bytes = text.as_bytes().get(from..start).unwrap_or_default();
    let user = bytes
        .iter()
        .rev()
        .take_while(|byte| !matches!(byte, b'/' | b'?' | b' ' | b'"' | b'\'' | b'<' | b'@'))
        .count();
    let before = bytes.get(..bytes.len() - user).unwrap_or_default();
    before.ends_with(b"://")
}

/// After `ssh` stands a machine, after `Message-ID:` a message.
fn is_named_otherwise(text: &Text<'_>, range: &Range<usize>) -> bool {
    text.hint_at(range.start, WINDOW) == Some(Hint::MessageId)
}
