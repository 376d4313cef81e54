//! Groups of digits, which cards, social security numbers and phone numbers are made of.

use std::ops::Range;

/// Groups of ASCII digits with one separator between them.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) groups: Vec<Range<usize>>,
}

impl Run {
    /// What stands between this group and the next.
    pub(super) fn separator_after(&self, text: &str, index: usize) -> Option<char> {
        let group = self.groups.get(index)?;
        let next = self.groups.get(index + 1)?;
        single_char(text, group.end..next.start)
    }
}

/// The longest possible runs of a text.
pub(super) fn runs(text: &str, is_separator: fn(char) -> bool) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), '\0')]) {
        match (start, c.is_ascii_digit()) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                start = None;
                push(&mut runs, text, from..at, is_separator);
            }
            (None, false) | (Some(_), true) => {}
        }
    }
    runs
}

fn push(runs: &mut Vec<Run>, text: &str, group: Range<usize>, is_separator: fn(char) -> bool) {
    if let Some(run) = runs.last_mut() {
        let end = run.groups.last().map_or(0, |group| group.end);
        if single_char(text, end..group.start).is_some_and(is_separator) {
            run.groups.push(group);
            return;
        }
    }
    runs.push(Run {
        groups: vec![group],
    });
}

/// The character that fills a range alone.
fn single_char(text: &str, range: Range<usize>) -> Option<char> {
    let mut chars = text.get(range)?.chars();
    chars.next().filter(|_| chars.next().is_none())
}

pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{2009}' | '\u{202f}')
}

pub(super) fn is_hyphen(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2013}')
}

pub(super) fn is_space_or_hyphen(c: char) -> bool {
    is_space(c) || is_hyphen(c)
}

pub(super) fn char_before(text: &str, at: usize) -> Option<char> {
    text.get(..at)?.chars().next_back()
}

pub(super) fn char_after(text: &str, at: usize) -> Option<char> {
    text.get(at..)?.chars().next()
}

/// No letter or digit touches the range, and it is not one side of a decimal point.
pub(super) fn stands_alone(text: &str, range: &Range<usize>) -> bool {
    let point_before = char_before(text, range.start) == Some('.')
        && char_before(text, range.start.saturating_sub(1)).is_some_and(|c| c.is_ascii_digit());
    let point_after = char_after(text, range.end) == Some('.')
        && char_after(text, range.end.saturating_add(1)).is_some_and(|c| c.is_ascii_digit());
    !touches_word(text, range) && !point_before && !point_after
}

pub(super) fn touches_word(text: &str, range: &Range<usize>) -> bool {
    char_before(text, range.start).is_some_and(char::is_alphanumeric)
        || char_after(text, range.end).is_some_and(char::is_alphanumeric)
}
