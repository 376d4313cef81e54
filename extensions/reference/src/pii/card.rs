//! Payment card numbers: 13 to 19 digits, the prefix and length of an issuer, and the Luhn
//! checksum.

use std::ops::Range;

use super::digits::{Run, is_space_or_hyphen, runs, stands_alone};

const LENGTHS: std::ops::RangeInclusive<usize> = 13..=19;

pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    runs(text, is_space_or_hyphen)
        .iter()
        .flat_map(|run| find_in_run(text, run))
        .collect()
}

/// A card may have other numbers beside it, such as an expiry date: every stretch of groups is
/// tried, longest first.
fn find_in_run(text: &str, run: &Run) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(rest) = run.groups.get(from..).filter(|rest| !rest.is_empty()) {
        match longest_card(text, rest) {
            Some((groups, range)) => {
                found.push(range);
                from += groups;
            }
            None => from += 1,
        }
    }
    found
}

fn longest_card(text: &str, groups: &[Range<usize>]) -> Option<(usize, Range<usize>)> {
    let mut digits = String::new();
    let mut longest = None;
    for (index, group) in groups.iter().enumerate() {
        digits.push_str(text.get(group.clone()).unwrap_or_default());
        if digits.len() > *LENGTHS.end() {
            break;
        }
        let range = groups.first()?.start..group.end;
        if is_card(&digits) && stands_alone(text, &range) {
            longest = Some((index + 1, range));
        }
        // Printed cards have four digits or more in each group but the last; shorter ones are lists
        // of numbers.
        if group.len() < 4 {
            break;
        }
    }
    longest
}

/// Whether a string of digits is a card number.
pub(super) fn is_card(digits: &str) -> bool {
    LENGTHS.contains(&digits.len()) && has_issuer(digits) && luhn(digits)
}

fn has_issuer(digits: &str) -> bool {
    let prefix = |length: usize| {
        digits
            .get(..length)
            .and_then(|text| text.parse::<u32>().ok())
            .unwrap_or(0)
    };
    let length = digits.len();
    match (prefix(1), prefix(2), prefix(3), prefix(4)) {
        // Visa
        (4, ..) => matches!(length, 13 | 16 | 19),
        // Mastercard
        (_, 51..=55, ..) | (_, _, _, 2221..=2720) => length == 16,
        // American Express
        (_, 34 | 37, ..) => length == 15,
        // JCB, before Diners Club
        (_, _, _, 3528..=3589) => length >= 16,
        // Diners Club
        (_, 36 | 38 | 39, ..) | (_, _, 300..=305, _) | (_, _, _, 3095) => length >= 14,
        // Mir
        (_, _, _, 2200..=2204) => length >= 16,
        // Discover, UnionPay, RuPay, InterPayment
        (_, _, 644..=649 | 636, _) | (_, 60 | 62 | 65 | 81 | 82, ..) => length >= 16,
        // Maestro
        (_, 50 | 56..=58, ..) | (_, _, _, 6304 | 6390 | 6759 | 6761..=6763) => true,
        // Troy
        (_, _, _, 9792) => length == 16,
        _ => false,
    }
}

/// Every second digit from the right counts twice (ISO/IEC 7812-1).
fn luhn(digits: &str) -> bool {
    let mut sum = 0;
    for (index, byte) in digits.bytes().rev().enumerate() {
        let digit = u32::from(byte - b'0');
        let weighted = if index % 2 == 0 { digit } else { digit * 2 };
        sum += weighted / 10 + weighted % 10;
    }
    sum.is_multiple_of(10)
}
