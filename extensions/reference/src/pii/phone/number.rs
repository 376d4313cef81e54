//! Digits as they are grouped from a place on, up to the longest number there is.

use std::ops::Range;

use super::super::Text;
use super::super::digits::{char_after, char_before, gap, is_word, value};
use super::super::steps::step;

/// The longest number with an exit code before it.
const MAX_DIGITS: usize = 17;
const MAX_GROUPS: usize = 8;

/// Groups of digits that may be one number.
#[derive(Debug)]
pub(super) struct Number<'t> {
    folded: &'t str,
    groups: &'t [Range<usize>],
    /// The first of `groups` in the text.
    pub(super) index: usize,
    /// Where the number begins: its plus sign or bracket, or its first digit.
    pub(super) start: usize,
    pub(super) plus: bool,
    /// A bracket was opened before the first group.
    pub(super) bracket: bool,
    digits: [u8; MAX_DIGITS],
    /// Digits up to the end of each group.
    totals: [u8; MAX_GROUPS],
}

impl<'t> Number<'t> {
    pub(super) fn read(text: &'t Text<'_>, index: usize, beginning: Beginning) -> Option<Self> {
        let rest = text.groups.get(index..)?;
        let folded = text.folded;
        let Beginning {
            start,
            plus,
            bracket,
        } = beginning;
        let mut number = Self {
            folded,
            groups: &[],
            index,
            start,
            plus,
            bracket,
            digits: [0; MAX_DIGITS],
            totals: [0; MAX_GROUPS],
        };
        let mut open = bracket;
        // The groups before the bracket that is open.
        let mut closed = 0;
        let mut total = 0;
        for (count, group) in rest.iter().take(MAX_GROUPS).enumerate() {
            let before = count.checked_sub(1).and_then(|before| rest.get(before));
            let joined = before.is_none_or(|before| {
                let between = gap(folded, before, group);
                is_separator(between) && brackets_fit(between, &mut open)
            });
            step(1 + group.len().min(MAX_DIGITS));
            let digits = folded.as_bytes().get(group.clone())?;
            let Some(free) = number.digits.get_mut(total..total + digits.len()) else {
                break;
            };
            if !joined || text.is_taken(index + count) {
                break;
            }
            free.copy_from_slice(digits);
            total += digits.len();
            *number.totals.get_mut(count)? = u8::try_from(total).ok()?;
            number.groups = rest.get(..=count)?;
            if !open {
                closed = count + 1;
            }
        }
        number.groups = rest.get(..closed)?;
        (!number.groups.is_empty()).then_some(number)
    }

    pub(super) fn count(&self) -> usize {
        self.groups.len()
    }

    /// The digits of the first groups.
    pub(super) fn digits(&self, count: usize) -> &[u8] {
        let last = count.checked_sub(1).and_then(|last| self.totals.get(last));
        let total = last.copied().map_or(0, usize::from);
        self.digits.get(..total).unwrap_or_default()
    }

    /// How many digits each of the first groups has.
    pub(super) fn sizes(&self, count: usize) -> impl DoubleEndedIterator<Item = usize> + Clone {
        self.groups
            .get(..count)
            .unwrap_or_default()
            .iter()
            .map(Range::len)
    }

    pub(super) fn size(&self, index: usize) -> usize {
        self.groups.get(index).map_or(0, Range::len)
    }

    pub(super) fn value(&self, index: usize) -> u32 {
        self.groups
            .get(index)
            .map_or(u32::MAX, |group| value(self.folded, group))
    }

    /// What stands between a group and the next.
    pub(super) fn gap(&self, index: usize) -> &'t str {
        match self.groups.get(index..index + 2) {
            Some([first, second]) => gap(self.folded, first, second),
            _ => "",
        }
    }

    pub(super) fn gaps(&self, count: usize) -> impl Iterator<Item = &'t str> + Clone {
        (0..count.saturating_sub(1)).map(|index| self.gap(index))
    }

    pub(super) fn end(&self, count: usize) -> usize {
        let last = count.checked_sub(1).and_then(|last| self.groups.get(last));
        last.map_or(self.start, |group| group.end)
    }

    /// Whether the number may end behind its first groups: not within a word, a decimal or a longer
    /// chain.
    pub(super) fn may_end(&self, count: usize) -> bool {
        let end = self.end(count);
        let Some(next) = char_after(self.folded, end) else {
            return true;
        };
        let further = char_after(self.folded, end + next.len_utf8());
        match next {
            'x' | 'X' => further.is_some_and(|c| c.is_ascii_digit()),
            '-' | '.' | '/' | '_' | ':' | '@' => !further.is_some_and(is_word),
            ',' | '\'' => !further.is_some_and(|c| c.is_ascii_digit()),
            '%' | '°' | '=' | '€' | '$' | '£' | '¥' | '₹' => false,
            c => !is_word(c),
        }
    }

    /// Whether nothing follows that looks like one more group.
    pub(super) fn is_last(&self, count: usize) -> bool {
        let rest = self.folded.get(self.end(count)..).unwrap_or_default();
        let mut next = rest.trim_start_matches([' ', '(']).chars();
        self.may_end(count) && !next.next().is_some_and(|c| c.is_ascii_digit())
    }
}

/// Where a number begins, and with what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    start: usize,
    plus: bool,
    bracket: bool,
}

impl Beginning {
    /// The beginning of a number whose first group is this one; `None` where none can begin.
    pub(super) fn at(text: &Text<'_>, index: usize) -> Option<Self> {
        let digit = text
            .groups
            .get(index)
            .filter(|_| !text.is_taken(index))?
            .start;
        let bytes = text.folded.as_bytes();
        let before = |back: usize| digit.checked_sub(back).and_then(|at| bytes.get(at));
        let closes = || closes_soon(bytes.get(digit..).unwrap_or_default());
        let found = |back: usize, plus: bool, bracket: bool| Self {
            start: digit - back,
            plus,
            bracket,
        };
        let beginning = match (before(2), before(1)) {
            (Some(b'('), Some(b'+')) if closes() => found(2, true, true),
            (Some(b'+'), Some(b'(')) if closes() => found(2, true, true),
            (_, Some(b'+')) => found(1, true, false),
            (_, Some(b'(')) if closes() => found(1, false, true),
            _ => found(0, false, false),
        };
        let begins = match beginning.plus {
            true => !char_before(text.folded, beginning.start).is_some_and(is_word),
            false => begins_a_token(text, beginning.start, index),
        };
        begins.then_some(beginning)
    }
}

/// A bracket around an area code; one that closes later is around more than that.
fn closes_soon(after: &[u8]) -> bool {
    const LONGEST_CODE: usize = 8;
    let mut brackets = after
        .iter()
        .take(LONGEST_CODE)
        .filter(|byte| matches!(byte, b'(' | b')'));
    brackets.next() == Some(&b')')
}

fn is_separator(gap: &str) -> bool {
    matches!(
        gap,
        " " | "-"
            | "."
            | "/"
            | ")"
            | ") "
            | " ("
            | "("
            | ")-"
            | " - "
            | " / "
            | ") - "
            | "-("
            | "/("
            | ")/"
            | ")."
            | "\u{200b}"
    )
}

/// A bracket closes once what was opened, and is not opened twice.
fn brackets_fit(gap: &str, open: &mut bool) -> bool {
    for byte in gap.bytes() {
        match byte {
            b'(' if *open => return false,
            b'(' => *open = true,
            b')' if !*open => return false,
            b')' => *open = false,
            _ => {}
        }
    }
    true
}

/// Not the middle of something longer, and not the next of a list of digit groups.
fn begins_a_token(text: &Text<'_>, start: usize, index: usize) -> bool {
    let Some(before) = char_before(text.folded, start) else {
        return true;
    };
    let further = || char_before(text.folded, start - before.len_utf8());
    let after_digit = || further().is_some_and(|c| c.is_ascii_digit());
    let after_word = || further().is_some_and(is_word);
    match before {
        '#' | '_' | '$' | '€' | '£' | '¥' | '₹' | '+' | '@' | '%' | '~' | '^' => false,
        '.' | '/' | '-' | '\\' | '&' => !after_word(),
        ',' | ':' | '\'' => !after_digit(),
        ' ' => {
            let found = index
                .checked_sub(1)
                .is_some_and(|before| text.is_taken(before));
            !after_digit() || found || follows_a_time(text, index)
        }
        '\u{200b}' => true,
        c => !is_word(c),
    }
}

/// "10:30:00 0171 2345678": the number before is the end of a time or date.
fn follows_a_time(text: &Text<'_>, index: usize) -> bool {
    let Some(second) = index.checked_sub(2) else {
        return false;
    };
    match text.groups.get(second..index + 1) {
        Some([first, second, number]) => {
            matches!(gap(text.folded, first, second), ":" | "-" | "." | "/" | ",")
                && second.len() <= 4
                && gap(text.folded, second, number) == " "
        }
        _ => false,
    }
}
