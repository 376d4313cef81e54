//! Groups of digits, which cards, social security numbers and phone numbers are made of. All of
//! this reads folded text, so digits and separators are ASCII.

use std::ops::Range;

/// All groups of digits of a text, in order.
pub(super) fn groups(text: &str) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = None;
    for (at, byte) in text.bytes().enumerate() {
        match (start, byte.is_ascii_digit()) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                groups.push(from..at);
                start = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }
    groups.extend(start.map(|from| from..text.len()));
    groups
}

/// What stands between two groups.
pub(super) fn gap<'a>(text: &'a str, first: &Range<usize>, second: &Range<usize>) -> &'a str {
    text.get(first.end..second.start).unwrap_or_default()
}

/// The value of a few digits; more than fit are none.
pub(super) fn value(text: &str, group: &Range<usize>) -> u32 {
    let digits = text.as_bytes().get(group.clone()).unwrap_or_default();
    if digits.len() > 9 {
        return u32::MAX;
    }
    digits.iter().fold(0, |value, digit| {
        value * 10 + u32::from(digit.saturating_sub(b'0'))
    })
}

pub(super) fn char_before(text: &str, at: usize) -> Option<char> {
    text.get(..at)?.chars().next_back()
}

pub(super) fn char_after(text: &str, at: usize) -> Option<char> {
    text.get(at..)?.chars().next()
}

/// A letter or digit that would make an adjoining number part of a word. Scripts without spaces,
/// and those that put small words in front of the next one, join numbers to text as they are.
pub(super) fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    let has_spaces = matches!(c,
        '\u{80}'..='\u{58f}' | '\u{10a0}'..='\u{10ff}' | '\u{1c80}'..='\u{1fff}'
        | '\u{2c00}'..='\u{2dff}' | '\u{a640}'..='\u{a69f}' | '\u{a720}'..='\u{a7ff}');
    has_spaces && c.is_alphanumeric()
}

/// Letters of the scripts in which words are not parted, and Korean, whose endings follow numbers.
pub(super) fn is_east_asian(c: char) -> bool {
    !c.is_ascii()
        && matches!(c,
            '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1100}'..='\u{11ff}'
            | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7ff}'
            | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ffdc}' | '\u{20000}'..='\u{3ffff}')
}

/// No letter or digit touches the range, and it is not one side of a decimal point.
pub(super) fn stands_alone(text: &str, range: &Range<usize>) -> bool {
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let point_before = char_before(text, range.start) == Some('.')
        && digit(char_before(text, range.start.saturating_sub(1)));
    let point_after = char_after(text, range.end) == Some('.')
        && digit(char_after(text, range.end.saturating_add(1)));
    !touches_word(text, range) && !point_before && !point_after
}

pub(super) fn touches_word(text: &str, range: &Range<usize>) -> bool {
    char_before(text, range.start).is_some_and(is_word)
        || char_after(text, range.end).is_some_and(is_word)
}
