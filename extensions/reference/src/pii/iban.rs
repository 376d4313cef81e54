//! International bank account numbers: the length that the country uses and the checksum of ISO
//! 13616 (mod 97).

use std::ops::Range;

use super::digits::{char_after, char_before, is_space_or_hyphen};

/// Lengths from the IBAN registry of SWIFT.
#[rustfmt::skip]
const LENGTHS: &[(&str, usize)] = &[
    ("AD", 24), ("AE", 23), ("AL", 28), ("AT", 20), ("AZ", 28), ("BA", 20), ("BE", 16), ("BG", 22),
    ("BH", 22), ("BI", 27), ("BR", 29), ("BY", 28), ("CH", 21), ("CR", 22), ("CY", 28), ("CZ", 24),
    ("DE", 22), ("DJ", 27), ("DK", 18), ("DO", 28), ("EE", 20), ("EG", 29), ("ES", 24), ("FI", 18),
    ("FK", 18), ("FO", 18), ("FR", 27), ("GB", 22), ("GE", 22), ("GI", 23), ("GL", 18), ("GR", 27),
    ("GT", 28), ("HN", 28), ("HR", 21), ("HU", 28), ("IE", 22), ("IL", 23), ("IQ", 23), ("IS", 26),
    ("IT", 27), ("JO", 30), ("KW", 30), ("KZ", 20), ("LB", 28), ("LC", 32), ("LI", 21), ("LT", 20),
    ("LU", 20), ("LV", 21), ("LY", 25), ("MC", 27), ("MD", 24), ("ME", 22), ("MK", 19), ("MN", 20),
    ("MR", 27), ("MT", 31), ("MU", 30), ("NI", 28), ("NL", 18), ("NO", 15), ("OM", 23), ("PK", 24),
    ("PL", 28), ("PS", 29), ("PT", 25), ("QA", 29), ("RO", 24), ("RS", 22), ("RU", 33), ("SA", 24),
    ("SC", 31), ("SD", 18), ("SE", 24), ("SI", 19), ("SK", 24), ("SM", 27), ("SO", 23), ("ST", 25),
    ("SV", 28), ("TL", 23), ("TN", 24), ("TR", 26), ("UA", 29), ("VA", 22), ("VG", 24), ("XK", 20),
    ("YE", 30),
];

pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    // A candidate starts with two letters and two digits; looking for the digits first keeps
    // ordinary text cheap.
    for (at, _) in text.match_indices(|c: char| c.is_ascii_digit()) {
        let Some(start) = at.checked_sub(2) else {
            continue;
        };
        let free = found.last().is_none_or(|last| last.end <= start);
        if free && !char_before(text, start).is_some_and(char::is_alphanumeric) {
            found.extend(iban_at(text, start));
        }
    }
    found
}

fn iban_at(text: &str, start: usize) -> Option<Range<usize>> {
    let country = text.get(start..start + 2)?.to_ascii_uppercase();
    let (_, length) = LENGTHS.iter().find(|(code, _)| *code == country)?;
    let (compact, end) = gather(text.get(start..)?, *length)?;
    let range = start..start + end;
    let alone = !char_after(text, range.end).is_some_and(char::is_alphanumeric);
    (alone && is_iban(&compact)).then_some(range)
}

/// The next `length` letters and digits, and where they end. At most one separator stands between
/// two of them.
fn gather(text: &str, length: usize) -> Option<(String, usize)> {
    let mut compact = String::with_capacity(length);
    let mut separated = false;
    for (at, c) in text.char_indices() {
        if c.is_ascii_alphanumeric() {
            compact.push(c.to_ascii_uppercase());
            separated = false;
            if compact.len() == length {
                return Some((compact, at + 1));
            }
        } else if is_space_or_hyphen(c) && !separated {
            separated = true;
        } else {
            return None;
        }
    }
    None
}

fn is_iban(compact: &str) -> bool {
    let (Some(head), Some(account)) = (compact.get(..4), compact.get(4..)) else {
        return false;
    };
    let digits = account.bytes().filter(u8::is_ascii_digit).count();
    // Sentences pass the checksum once in 97 times; account numbers are mostly digits and sentences
    // are not.
    let plausible = head.bytes().skip(2).all(|b| b.is_ascii_digit()) && digits * 2 >= account.len();
    plausible && remainder_of_97(account.chars().chain(head.chars())) == 1
}

/// Letters stand for 10 to 35.
fn remainder_of_97(chars: impl Iterator<Item = char>) -> u32 {
    chars.filter_map(|c| c.to_digit(36)).fold(0, |rest, value| {
        let shift = if value < 10 { 10 } else { 100 };
        (rest * shift + value) % 97
    })
}

/// The two check digits that make an IBAN of a country and an account, for tests.
#[cfg(test)]
pub(super) fn with_check_digits(country: &str, account: &str) -> String {
    let rest = remainder_of_97(account.chars().chain(country.chars()).chain("00".chars()));
    format!("{country}{:02}{account}", 98 - rest)
}
