//! E-mail addresses with a domain that could exist. Each "@" is looked at once, and no character
//! more than twice.

use std::ops::Range;

const IMAGES: [&str; 6] = ["png", "jpg", "jpeg", "gif", "svg", "webp"];

pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    text.match_indices('@')
        .filter_map(|(at, _)| address_around(text, at))
        .collect()
}

fn address_around(text: &str, at: usize) -> Option<Range<usize>> {
    let local = local_part(text.get(..at)?);
    let domain = domain(text.get(at + 1..)?);
    let valid = !local.is_empty() && is_domain(domain) && !is_image_scale(domain);
    valid.then(|| at - local.len()..at + 1 + domain.len())
}

/// The longest end of the text that can be a local part. Quotes, slashes and "=" are allowed by the
/// standard and left out here, because around real addresses they are punctuation.
fn local_part(before: &str) -> &str {
    let start = before
        .char_indices()
        .rev()
        .take_while(|(_, c)| may_be_local(*c))
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
    let end = after.find(|c: char| !c.is_alphanumeric() && !matches!(c, '.' | '-'));
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
    (1..=63).contains(&label.chars().count()) && !label.starts_with('-') && !label.ends_with('-')
}

fn is_top_level(label: &str) -> bool {
    label.starts_with("xn--")
        || (label.chars().count() >= 2 && label.chars().all(char::is_alphabetic))
}

/// `logo@2x.png` is a file name.
fn is_image_scale(domain: &str) -> bool {
    let Some((scale, extension)) = domain.split_once('.') else {
        return false;
    };
    let factor = scale.strip_suffix('x').unwrap_or_default();
    !factor.is_empty() && factor.bytes().all(|b| b.is_ascii_digit()) && IMAGES.contains(&extension)
}
