//! Looks for personal data in every string of a JSON payload, and for card numbers that are written
//! as JSON numbers.

use super::{Counts, Find, Kind, Kinds, Style, card, find, mask_text};
use crate::json_text::{Token, pointer, rewrite, unescape};

/// What a payload holds and where; never the data itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub counts: Counts,
    /// JSON pointers of the first values with finds.
    pub locations: Vec<String>,
}

/// Looks through a valid JSON text, naming at most `max_locations` places.
pub fn inspect_payload(json: &str, wanted: &Kinds, max_locations: usize) -> Findings {
    let mut findings = Findings::default();
    let unchanged = rewrite(json, |scalar| {
        let found = find_in_token(scalar.token, wanted);
        if !found.is_empty() && findings.locations.len() < max_locations {
            findings
                .locations
                .push(pointer(scalar.path, key_without_data));
        }
        for find in found {
            *findings.counts.entry(find.kind).or_default() += 1;
        }
        None
    });
    debug_assert_eq!(unchanged, None, "looking changes nothing");
    findings
}

pub(super) fn find_in_token(token: Token<'_>, wanted: &Kinds) -> Vec<Find> {
    match token {
        Token::String(content) => find(&unescape(content), wanted),
        Token::Number(number) if wanted.card && is_card(number) => vec![Find {
            kind: Kind::Card,
            range: 0..number.len(),
        }],
        Token::Number(_) => Vec::new(),
    }
}

/// A JSON number may have a sign, a point or an exponent; a card number has none.
fn is_card(number: &str) -> bool {
    number.bytes().all(|b| b.is_ascii_digit()) && card::is_card(number)
}

/// A key may be an address too, and a pointer would repeat it.
fn key_without_data(key: &str) -> String {
    mask_text(key, &Kinds::default(), Style::Label)
        .map_or_else(|| key.to_owned(), |(masked, _)| masked)
}
