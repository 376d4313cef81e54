//! Phone numbers: international ones by their country's numbering plan, and those that people write
//! within a country, by the plans of all countries or of some.
//!
//! There is no checksum, so plan and form decide together. Order numbers, dates, versions and
//! addresses of machines are digits too, and nearly any digits are a number somewhere.

use std::ops::Range;

use super::Text;
use super::card::is_article;
use super::digits::{char_after, char_before, is_east_asian};
use super::hint::Hint;
use super::steps::step;

mod number;
mod shape;
pub(crate) mod table;

use number::{Beginning, Number};
use table::National;

/// How far before a number a word may stand that says what it is.
const WINDOW: usize = 28;
/// The least that is a number without a word that says so.
const SHORTEST: usize = 7;

pub(super) fn find(text: &Text<'_>, national: &National) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut index = 0;
    while index < text.groups.len() {
        match phone_at(text, index, national) {
            Some((count, range)) => {
                found.push(range);
                (index..index + count).for_each(|group| text.take_group(group));
                index += count.max(1);
            }
            None => index += 1,
        }
    }
    found
}

/// A number that begins with this group: its groups and its range.
fn phone_at(text: &Text<'_>, index: usize, national: &National) -> Option<(usize, Range<usize>)> {
    let beginning = Beginning::at(text, index)?;
    let number = Number::read(text, index, beginning)?;
    if number.digits(number.count()).len() < SHORTEST {
        return None;
    }
    let candidate = Candidate {
        text,
        number,
        national,
    };
    let count = candidate.groups()?;
    let number = &candidate.number;
    let end = with_extension(text.folded, number.end(count));
    Some((count, number.start..end))
}

struct Candidate<'t> {
    text: &'t Text<'t>,
    number: Number<'t>,
    national: &'t National,
}

impl Candidate<'_> {
    /// How many groups are a phone number, if any.
    fn groups(&self) -> Option<usize> {
        let number = &self.number;
        if number.plus {
            return self.international(0);
        }
        let digits = number.digits(number.count());
        if digits.starts_with(b"00") {
            return self.after_exit_code();
        }
        self.with_trunk()
            .or_else(|| self.north_american())
            .or_else(|| self.in_groups())
            .or_else(|| self.in_one_piece())
    }

    fn hint(&self) -> Option<Hint> {
        self.text.hint(self.number.index, WINDOW)
    }

    fn is_named(&self) -> bool {
        self.hint() == Some(Hint::Phone)
    }

    fn is_named_otherwise(&self) -> bool {
        matches!(
            self.hint(),
            Some(Hint::Id | Hint::Serial | Hint::Card | Hint::Ssn)
        )
    }

    /// The most groups that are a country code and a number, behind this many digits.
    fn international(&self, skip: usize) -> Option<usize> {
        if self.number.plus && is_added_line(self.text, self.number.start) {
            return None;
        }
        let mut buffer = [0; table::LONGEST + 2];
        let planned = self.longest(|&count| {
            let digits = shape::without_bracketed_zero(&self.number, count, &mut buffer);
            let code = digits.get(skip..).unwrap_or_default();
            self.number.may_end(count) && code.len() >= SHORTEST && table::is_international(code)
        });
        // What nobody was given yet, or what stands in examples: only with a plus sign.
        let plausible = self.number.plus && !self.is_named_otherwise();
        planned.or_else(|| {
            self.longest(|&count| {
                let digits = shape::without_bracketed_zero(&self.number, count, &mut buffer);
                plausible && self.number.is_last(count) && table::is_possible(digits)
            })
        })
    }

    fn longest(&self, accepts: impl FnMut(&usize) -> bool) -> Option<usize> {
        step(self.number.count());
        (1..=self.number.count()).rev().find(accepts)
    }

    /// "0049 30 123456".
    fn after_exit_code(&self) -> Option<usize> {
        let adjoins = self.number.size(0) > 2 || matches!(self.number.gap(0), " " | "-");
        if !adjoins || self.is_named_otherwise() {
            return None;
        }
        let count = self.international(2)?;
        let grouped = count > 1;
        let article = std::str::from_utf8(self.number.digits(1)).is_ok_and(is_article);
        if article && !self.is_named() {
            return None;
        }
        (grouped || self.number.digits(1).len() >= 12 || self.is_named()).then_some(count)
    }

    /// "020 7946 0958", "(030) 123456", "8 (912) 345-67-89", "07700900123".
    fn with_trunk(&self) -> Option<usize> {
        let number = &self.number;
        let whole = number.digits(number.count());
        let zero = whole.first() == Some(&b'0');
        if self.is_named_otherwise() || !zero && !shape::may_have_other_trunk(number) {
            return None;
        }
        self.longest(|&count| {
            let digits = number.digits(count);
            if !self.national.has_with_trunk(digits) {
                return false;
            }
            let ends = match count == number.count() {
                true => number.may_end(count),
                false => shape::may_break(number, count),
            };
            ends && match count {
                1 => zero && self.is_trunk_in_one_piece(digits),
                _ => shape::is_trunk_form(number, count),
            }
        })
    }

    /// Identifiers are padded with zeros as well, but not with one, to the length of a number.
    fn is_trunk_in_one_piece(&self, digits: &[u8]) -> bool {
        let before = char_before(self.text.folded, self.number.start);
        let in_address = matches!(before, Some('/' | '=' | '-' | '.' | '&'));
        let counts_up = b"01234567890".starts_with(digits);
        match self.is_named() {
            true => digits.len() >= 8,
            false => {
                let thing = self.hint() == Some(Hint::Thing);
                (10..=11).contains(&digits.len()) && !in_address && !counts_up && !thing
            }
        }
    }

    /// "(415) 555-0132", "415-555-0132", "1-415-555-0132".
    fn north_american(&self) -> Option<usize> {
        let number = &self.number;
        if !self.national.north_american || self.is_named_otherwise() {
            return None;
        }
        let skip = usize::from(number.size(0) == 1 && number.value(0) == 1);
        let count = skip + 3;
        let form = shape::is_north_american(number, skip);
        (form && number.is_last(count)).then_some(count)
    }

    /// "612 345 678", "(11) 98765-4321": as a country without trunk prefix writes them.
    fn in_groups(&self) -> Option<usize> {
        let number = &self.number;
        let count = number.count();
        if count < 2 || self.is_named_otherwise() || !number.is_last(count) {
            return None;
        }
        let hint = self.hint();
        let named = matches!(hint, Some(Hint::Phone | Hint::Number));
        if shape::is_date(number) || shape::is_hours(number, count) {
            return None;
        }
        if !named && shape::needs_a_word(number)
            || shape::is_quantity(self.text.folded, number, count)
        {
            return None;
        }
        let digits = number.digits(count);
        let known = shape::is_common(number) && self.national.has_without_trunk(digits);
        let said = hint == Some(Hint::Phone)
            && digits.len() >= 8
            && shape::is_steady(number)
            && self.national.has(digits);
        (known || said).then_some(count)
    }

    /// "13812345678" where a word says that it is a phone number, or where Chinese text surrounds
    /// it: there, mobile numbers are written so.
    fn in_one_piece(&self) -> Option<usize> {
        let number = &self.number;
        let digits = number.digits(1);
        if number.count() > 1 && !number.is_last(1) || !number.may_end(1) {
            return None;
        }
        let around = [
            char_before(self.text.folded, number.start),
            char_after(self.text.folded, number.end(1)),
        ];
        let in_chinese = matches!(digits, [b'1', b'3'..=b'9', ..])
            && digits.len() == 11
            && around.into_iter().flatten().any(is_east_asian)
            && !self.is_named_otherwise();
        let said = self.is_named()
            && !shape::is_quantity(self.text.folded, number, 1)
            && (8..=table::LONGEST).contains(&digits.len())
            && (self.national.has(digits) || table::is_international(digits));
        (in_chinese || said).then_some(1)
    }
}

/// The extension belongs to the number: "x12", "ext. 12".
fn with_extension(text: &str, end: usize) -> usize {
    let rest = text.get(end..).unwrap_or_default();
    let trimmed = rest.trim_start_matches([' ', ',']);
    if rest.len() - trimmed.len() > 2 {
        return end;
    }
    let word = ["extension", "ext.", "ext", "x", "X", "Ext.", "Ext", "#"]
        .into_iter()
        .find(|word| trimmed.starts_with(word));
    let Some(number) = word.and_then(|word| trimmed.strip_prefix(word)) else {
        return end;
    };
    let number = number.trim_start_matches([' ', ':']);
    let digits = number
        .bytes()
        .take(7)
        .take_while(u8::is_ascii_digit)
        .count();
    match digits {
        1..=6 => text.len() - number.len() + digits,
        _ => end,
    }
}

/// In a difference of two files, "+" begins a line that was added.
fn is_added_line(text: &Text<'_>, plus: usize) -> bool {
    let begins = matches!(char_before(text.folded, plus), None | Some('\n'));
    begins && (text.is_difference() || is_beside_removed(text.folded, plus))
}

/// The line before begins with "-" and a digit.
fn is_beside_removed(text: &str, line: usize) -> bool {
    let before = text.get(..line.saturating_sub(1)).unwrap_or_default();
    // A longer line is no list of numbers.
    let tail: Vec<u8> = before
        .bytes()
        .rev()
        .take(80)
        .take_while(|byte| *byte != b'\n')
        .collect();
    matches!(tail.as_slice(), [.., digit, b'-'] if digit.is_ascii_digit())
}
