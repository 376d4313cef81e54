//! Payment card numbers: the prefix and length of an issuer, the Luhn checksum, and the way cards
//! are written. A number in one piece is only as much as an identifier with luck is, so the words
//! before it count as well.

use std::ops::Range;

use super::Text;
use super::digits::{gap, stands_alone};
use super::hint::Hint;
use super::steps::step;

pub(super) const LENGTHS: std::ops::RangeInclusive<usize> = 12..=19;
/// How far before the number the word may stand.
pub(super) const WINDOW: usize = 40;

pub(super) fn find(text: &Text<'_>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut index = 0;
    while index < text.groups.len() {
        match card_at(text, index) {
            Some((groups, range)) => {
                found.push(range);
                index += groups;
            }
            None => index += 1,
        }
    }
    found
}

/// A card may have other numbers beside it, such as an expiry date: the longest stretch of groups
/// from here that is a card.
fn card_at(text: &Text<'_>, index: usize) -> Option<(usize, Range<usize>)> {
    let groups = text.groups.get(index..)?;
    let first = groups.first()?;
    if !(4..=*LENGTHS.end()).contains(&first.len()) || text.is_taken(index) {
        return None;
    }
    let prefix = text.folded.get(first.start..first.start + 4)?;
    // Without an issuer, only a word makes it a card.
    if issuer(prefix).is_none() && !text.mentions_cards() {
        return None;
    }
    let mut digits = Digits::default();
    let mut longest = None;
    let mut line_ends = 0;
    for (count, group) in groups.iter().enumerate() {
        if let Some(before) = count.checked_sub(1).and_then(|before| groups.get(before)) {
            // Printed cards have four digits or more in each group but the last; shorter ones are
            // lists of numbers.
            let Some(joined) = joins(gap(text.folded, before, group)) else {
                break;
            };
            line_ends += usize::from(joined == Joint::Line);
            if before.len() < 4 || line_ends > 1 || text.is_taken(index + count) {
                break;
            }
        }
        if !digits.push(text.folded.get(group.clone())?) {
            break;
        }
        step(1 + group.len());
        let range = first.start..group.end;
        if is_written_as_card(text, index, count, &digits) && stands_alone(text.folded, &range) {
            longest = Some((count + 1, range));
        }
    }
    longest
}

fn is_written_as_card(text: &Text<'_>, index: usize, count: usize, digits: &Digits) -> bool {
    let digits = digits.as_str();
    let issuer = issuer(digits).filter(|issuer| issuer.has_length(digits.len()));
    if !LENGTHS.contains(&digits.len()) || !luhn(digits) {
        return false;
    }
    let hint = text.hint(index, WINDOW);
    if hint == Some(Hint::Card) {
        return true;
    }
    let Some(issuer) = issuer else {
        return false;
    };
    let followed = || text.hint_after(index + count, Hint::Card);
    if count > 0 {
        let sizes = || {
            let groups = text.groups.get(index..=index + count).unwrap_or_default();
            groups.iter().map(Range::len)
        };
        // Three groups of four are too little to go by.
        let printed = is_printed(sizes) && digits.len() > 12 && hint != Some(Hint::Serial);
        return printed || followed();
    }
    match hint {
        Some(Hint::Id | Hint::Serial | Hint::Phone | Hint::Ssn) => false,
        Some(Hint::Card | Hint::Number | Hint::Thing | Hint::MessageId | Hint::Label) | None => {
            let alone = !text.is_among_identifiers(index)
                && !is_article(digits)
                && !text.continues_a_word(index);
            issuer.usual.contains(&digits.len()) && alone || followed()
        }
    }
}

/// Whether the digits are an article number (EAN-13), which Visa's oldest numbers are as long as.
pub(super) fn is_article(digits: &str) -> bool {
    let weighted = |(index, byte): (usize, u8)| {
        u32::from(byte.saturating_sub(b'0')) * if index % 2 == 0 { 1 } else { 3 }
    };
    let sum: u32 = digits.bytes().enumerate().map(weighted).sum();
    digits.len() == 13 && sum.is_multiple_of(10)
}

/// The groups that are embossed on cards.
fn is_printed<I: Iterator<Item = usize>>(sizes: impl Fn() -> I) -> bool {
    let fours = sizes().all(|size| size <= 4);
    let others: [&[usize]; 3] = [&[4, 6, 5], &[4, 6, 4], &[6, 13]];
    fours
        || others
            .iter()
            .any(|groups| sizes().eq(groups.iter().copied()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Joint {
    Plain,
    Line,
}

/// Whether two groups with this between them may belong to one card.
fn joins(gap: &str) -> Option<Joint> {
    match gap {
        " " | "  " | "   " | "-" | "." | "/" | "_" | " - " | "\u{200b}" => Some(Joint::Plain),
        "\n" | "\r\n" | " \n" | "\n " | "-\n" | " \n " | "\n  " => Some(Joint::Line),
        _ => None,
    }
}

/// The digits of up to one card.
#[derive(Default)]
struct Digits {
    bytes: [u8; 19],
    length: usize,
}

impl Digits {
    /// Whether they fit.
    fn push(&mut self, digits: &str) -> bool {
        let end = self.length + digits.len();
        let Some(free) = self.bytes.get_mut(self.length..end) else {
            return false;
        };
        free.copy_from_slice(digits.as_bytes());
        self.length = end;
        true
    }

    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// Whether a string of digits could be a card number at all.
pub(super) fn is_card(digits: &str) -> bool {
    issuer(digits).is_some_and(|issuer| issuer.has_length(digits.len())) && luhn(digits)
}

const MAESTRO: &[usize] = &[12, 13, 14, 15, 16, 17, 18, 19];

struct Issuer {
    lengths: &'static [usize],
    /// Its usual lengths: a number of another one needs a word that says "card" when it is in one
    /// piece.
    usual: &'static [usize],
}

impl Issuer {
    fn has_length(&self, length: usize) -> bool {
        self.lengths.contains(&length)
    }
}

const LONG: &[usize] = &[16, 17, 18, 19];

/// By the ranges of ISO/IEC 7812 that are given out, of the first four digits.
fn issuer(digits: &str) -> Option<Issuer> {
    let first = digits.as_bytes().get(..4)?;
    let value = |value: u32, digit: &u8| value * 10 + u32::from(digit.saturating_sub(b'0'));
    let (lengths, usual): (&[usize], &[usize]) = match first.iter().fold(0, value) {
        // Visa
        4000..=4999 => (&[13, 16, 19], &[13, 16]),
        // Mastercard
        5100..=5599 | 2221..=2720 => (&[16], &[16]),
        // American Express
        3400..=3499 | 3700..=3799 => (&[15], &[15]),
        // JCB, Discover
        3528..=3589 | 6011 | 6440..=6599 => (LONG, &[16]),
        // Diners Club
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => (&[14, 16, 17, 18, 19], &[14]),
        // UnionPay
        6200..=6299 => (LONG, LONG),
        // Maestro: the numbers that are given out, and the rest of its range
        5018 | 5020 | 5038 | 5893 | 6304 | 6390 | 6759 | 6761..=6763 => {
            (MAESTRO, &[12, 13, 14, 15, 16])
        }
        5000..=5099 | 5600..=5899 => (MAESTRO, &[]),
        // Mir, RuPay, InterPayment, InstaPayment, Troy
        2200..=2204 | 6000..=6099 | 6360..=6399 | 8100..=8299 | 9792 => (LONG, &[]),
        _ => return None,
    };
    Some(Issuer { lengths, usual })
}

/// Every second digit from the right counts twice (ISO/IEC 7812-1).
fn luhn(digits: &str) -> bool {
    step(digits.len());
    let mut sum = 0;
    for (index, byte) in digits.bytes().rev().enumerate() {
        let digit = u32::from(byte.saturating_sub(b'0'));
        let weighted = if index % 2 == 0 { digit } else { digit * 2 };
        sum += weighted / 10 + weighted % 10;
    }
    sum.is_multiple_of(10)
}
