//! Phone numbers: international with "+" or "00", North American, and national with a leading zero.
//!
//! There is no checksum, so form decides. Without "+" a number must be written in groups and stand
//! alone: order numbers, dates, versions and addresses of machines are digits too.

use std::ops::Range;

use super::digits::{char_after, char_before, is_hyphen, is_space};

/// The most that a phone number can have, with an exit code before it.
const MAX_DIGITS: usize = 17;

pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in text.match_indices(|c: char| c == '+' || c == '(' || c.is_ascii_digit()) {
        let free = found.last().is_none_or(|last| last.end <= at);
        if free && !char_before(text, at).is_some_and(char::is_alphanumeric) {
            found.extend(phone_at(text, at));
        }
    }
    found
}

fn phone_at(text: &str, start: usize) -> Option<Range<usize>> {
    let number = Number::read(text, start)?;
    let end = if number.plus {
        number.international(8..=15)
    } else if !begins_a_token(text, start) {
        None
    } else if number.digits.starts_with("00") {
        number.groups.get(1)?;
        number.international(10..=MAX_DIGITS)
    } else if number.digits.starts_with('0') {
        number.with_trunk_zero()
    } else {
        number.north_american()
    };
    Some(start..end?)
}

/// Not the middle of something longer, and not the next of a list of digit groups.
fn begins_a_token(text: &str, start: usize) -> bool {
    let Some(before) = char_before(text, start) else {
        return true;
    };
    let further = char_before(text, start - before.len_utf8());
    match before {
        '#' | '_' | '$' | '€' | '£' => false,
        '.' | '/' => !further.is_some_and(char::is_alphanumeric),
        ',' | ':' => !further.is_some_and(|c| c.is_ascii_digit()),
        c if is_hyphen(c) => !further.is_some_and(char::is_alphanumeric),
        c if is_space(c) => !further.is_some_and(|c| c.is_ascii_digit()),
        _ => true,
    }
}

/// Digits as they are grouped from a place on.
struct Number<'a> {
    text: &'a str,
    plus: bool,
    digits: String,
    groups: Vec<Group<'a>>,
}

struct Group<'a> {
    digits: &'a str,
    /// What stands between this group and the one before it.
    separator: &'a str,
    end: usize,
}

impl Group<'_> {
    fn at_most(&self, limit: u32) -> bool {
        self.digits.parse::<u32>().is_ok_and(|value| value <= limit)
    }
}

impl<'a> Number<'a> {
    /// Reads groups until something that no phone number has, or more digits than one has.
    fn read(text: &'a str, start: usize) -> Option<Self> {
        let plus = text.get(start..)?.starts_with('+');
        let mut number = Self {
            text,
            plus,
            digits: String::new(),
            groups: Vec::new(),
        };
        let mut at = if plus { start + 1 } else { start };
        while number.digits.len() <= MAX_DIGITS {
            let separator = leading_separators(text.get(at..)?)?;
            let digits = leading_digits(text.get(at + separator.len()..)?)?;
            if digits.is_empty() || separator.chars().count() > 3 {
                break;
            }
            at += separator.len() + digits.len();
            number.digits.push_str(digits);
            number.groups.push(Group {
                digits,
                separator,
                end: at,
            });
        }
        (!number.groups.is_empty()).then_some(number)
    }

    /// A country code is one to three digits and never begins with zero; the whole has at most
    /// fifteen (ITU-T E.164).
    fn international(&self, lengths: std::ops::RangeInclusive<usize>) -> Option<usize> {
        let code = if self.plus {
            self.digits.as_str()
        } else {
            self.digits.get(2..)?
        };
        let adjoins = !self.plus || self.groups.first()?.separator.is_empty();
        let plausible = adjoins && code.starts_with(|c: char| matches!(c, '1'..='9'));
        self.longest(lengths).filter(|_| plausible)
    }

    /// "020 7946 0958", "(030) 123456", "01 23 45 67 89": nine to twelve digits in groups.
    fn with_trunk_zero(&self) -> Option<usize> {
        let first = self.groups.first()?;
        self.groups.get(1)?;
        let is_area_code = (2..=6).contains(&first.digits.len()) && !first.digits.starts_with("00");
        if !is_area_code || self.is_date() || self.is_machine_address() {
            return None;
        }
        let slash_inside = self
            .groups
            .iter()
            .skip(2)
            .any(|group| group.separator.contains('/'));
        let odd_group = self
            .groups
            .iter()
            .take(5)
            .skip(1)
            .any(|group| !(2..=8).contains(&group.digits.len()));
        if slash_inside || odd_group {
            return None;
        }
        self.longest(9..=12)
    }

    /// "(415) 555-0132", "415-555-0132", "1-415-555-0132": the area code begins with 2 to 9.
    fn north_american(&self) -> Option<usize> {
        let skip = usize::from(self.groups.first().is_some_and(|group| group.digits == "1"));
        let [area, exchange, line, ..] = self.groups.get(skip..)? else {
            return None;
        };
        let sized = area.digits.len() == 3 && exchange.digits.len() == 3 && line.digits.len() == 4;
        let uniform =
            exchange.separator == line.separator && exchange.separator.chars().count() == 1;
        let in_parentheses = area.separator.ends_with('(') && exchange.separator.starts_with(')');
        let plausible = sized
            && area.digits.starts_with(|c: char| matches!(c, '2'..='9'))
            && (uniform || in_parentheses)
            && !line.separator.contains(['/', '(']);
        (plausible && self.may_end_at(line.end)).then_some(line.end)
    }

    /// The end of the most groups that have an allowed number of digits together.
    fn longest(&self, lengths: std::ops::RangeInclusive<usize>) -> Option<usize> {
        let mut digits = 0;
        let mut end = None;
        for group in &self.groups {
            digits += group.digits.len();
            if lengths.contains(&digits) && self.may_end_at(group.end) {
                end = Some(group.end);
            }
        }
        end
    }

    fn may_end_at(&self, end: usize) -> bool {
        match char_after(self.text, end) {
            None => true,
            Some(c) if c.is_alphanumeric() => false,
            Some(c) if is_hyphen(c) || matches!(c, '.' | '/' | '_' | ':') => {
                !char_after(self.text, end + c.len_utf8()).is_some_and(char::is_alphanumeric)
            }
            Some(_) => true,
        }
    }

    /// "01.02.2024 10", "01-02-24 1030": day and month, then a year. French numbers have pairs of
    /// digits as well, but one separator throughout.
    fn is_date(&self) -> bool {
        let [first, second, third, rest @ ..] = self.groups.as_slice() else {
            return false;
        };
        let day_and_month =
            (first.at_most(31) && second.at_most(12)) || (first.at_most(12) && second.at_most(31));
        let pairs = first.digits.len() <= 2 && second.digits.len() <= 2;
        let ends_here = rest
            .first()
            .is_none_or(|next| next.separator != third.separator);
        let year = third.digits.len() == 4 || (third.digits.len() == 2 && ends_here);
        pairs && day_and_month && year && second.separator == third.separator
    }

    fn is_machine_address(&self) -> bool {
        self.groups.len() == 4
            && self
                .groups
                .iter()
                .all(|group| group.digits.len() == 3 && group.at_most(255))
            && self
                .groups
                .iter()
                .skip(1)
                .all(|group| group.separator == ".")
    }
}

/// No more is looked at than may stand there, so that a long line of brackets stays cheap.
fn leading_separators(text: &str) -> Option<&str> {
    let length = text
        .chars()
        .take(4)
        .take_while(|c| is_separator(*c))
        .map(char::len_utf8)
        .sum();
    text.get(..length)
}

fn leading_digits(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.get(..end.unwrap_or(text.len()))
}

fn is_separator(c: char) -> bool {
    is_space(c) || is_hyphen(c) || matches!(c, '.' | '/' | '(' | ')')
}
