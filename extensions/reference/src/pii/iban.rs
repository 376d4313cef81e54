//! International bank account numbers: the length of the country, the structure of its accounts and
//! the checksum of ISO 13616, as the crate `iban_validate` knows them.

use std::ops::Range;

use super::Text;
use super::digits::{char_after, is_word};
use super::steps::step;

mod lengths;

use lengths::LENGTHS;

/// A line may end within a number, and the next one be indented.
const LONGEST_GAP: usize = 6;

pub(super) fn find(text: &Text<'_>) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    // A candidate has its first digits behind two letters; looking for the digits first keeps
    // ordinary text cheap.
    for group in &text.groups {
        let free = found.last().map_or(0, |last| last.end);
        found.extend(head_at(text.folded, group.start, free).and_then(|start| {
            let end = iban_at(text.folded, start)?;
            Some(start..end)
        }));
    }
    found
}

/// Where the country code before these digits begins.
fn head_at(text: &str, digits: usize, free: usize) -> Option<usize> {
    let before = text.get(free..digits)?.trim_end_matches([' ', '\u{200b}']);
    let start = (free + before.len()).checked_sub(2)?;
    let country = text.get(start..start + 2)?;
    let letters = country.bytes().all(|byte| byte.is_ascii_alphabetic());
    let separated = digits - start - 2 <= LONGEST_GAP;
    let outside = before.get(..before.len().checked_sub(2)?)?;
    let begins = !outside.chars().next_back().is_some_and(is_word)
        || outside.ends_with("IBAN")
        || outside.ends_with("iban");
    (letters && separated && begins).then_some(start)
}

fn iban_at(text: &str, start: usize) -> Option<usize> {
    let country = text.as_bytes().get(start..start + 2)?.to_ascii_uppercase();
    let index = LENGTHS
        .binary_search_by_key(&country.as_slice(), |(code, _)| code.as_bytes())
        .ok()?;
    let (_, length) = LENGTHS.get(index)?;
    let (compact, end) = gather(text.get(start..)?, *length)?;
    let end = start + end;
    let alone = !char_after(text, end).is_some_and(is_word);
    (alone && is_iban(compact.as_str())).then_some(end)
}

/// The longest of the registry.
const LONGEST: usize = 34;

/// Letters and digits without what stands between them.
struct Compact {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Compact {
    fn push(&mut self, byte: u8) {
        if let Some(free) = self.bytes.get_mut(self.length) {
            *free = byte.to_ascii_uppercase();
            self.length += 1;
        }
    }

    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// The next `length` letters and digits, and where they end. Between two of them stands at most a
/// hyphen, a dot, or white space with one line end.
fn gather(text: &str, length: usize) -> Option<(Compact, usize)> {
    let mut compact = Compact {
        bytes: [0; LONGEST],
        length: 0,
    };
    let mut letters = 0;
    let mut gap = 0;
    let mut line_ends = 0;
    for (at, c) in text.char_indices() {
        step(1);
        match c {
            '0'..='9' | 'a'..='z' | 'A'..='Z' => {
                compact.push(u8::try_from(c).ok()?);
                gap = 0;
                letters += usize::from(!c.is_ascii_digit());
                // The check digits are digits, and so is half of the whole.
                if letters * 2 > length || compact.length == 4 && letters > 2 {
                    return None;
                }
                if compact.length == length {
                    return Some((compact, at + 1));
                }
            }
            ' ' | '-' | '.' | '\n' | '\r' | '\t' | '\u{200b}' if gap < LONGEST_GAP => {
                gap += 1;
                line_ends += usize::from(c == '\n');
                if line_ends > 1 {
                    return None;
                }
            }
            _ => return None,
        }
    }
    None
}

fn is_iban(compact: &str) -> bool {
    match compact.parse::<iban::Iban>() {
        Ok(_) => true,
        // A country that joined after the library was published.
        Err(iban::ParseIbanError::UnknownCountry(_)) => true,
        Err(
            iban::ParseIbanError::InvalidBaseIban { .. } | iban::ParseIbanError::InvalidBban(_),
        ) => false,
    }
}
