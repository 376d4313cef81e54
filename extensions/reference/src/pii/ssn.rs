//! US social security numbers: 3-2-4 digits with the same separator, and the rules of the issuing
//! office. Nine digits without separators are one only where a word says so; every order number
//! would be.

use std::ops::Range;

use super::Text;
use super::digits::{gap, stands_alone};
use super::hint::Hint;

/// How far before the number the word may stand.
const WINDOW: usize = 24;

pub(super) fn find(text: &Text<'_>) -> Vec<Range<usize>> {
    let mut found = grouped(text);
    for (index, group) in text.groups.iter().enumerate() {
        if group.len() == 9
            && !text.is_taken(index)
            && is_named(text, index)
            && is_number(text, group)
        {
            found.push(group.clone());
        }
    }
    found.sort_by_key(|range| range.start);
    found
}

fn grouped(text: &Text<'_>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (index, window) in text.groups.windows(3).enumerate() {
        let [area, group, serial] = window else {
            continue;
        };
        if (area.len(), group.len(), serial.len()) != (3, 2, 4) {
            continue;
        }
        if (index..index + 3).any(|group| text.is_taken(group)) {
            continue;
        }
        let separator = gap(text.folded, area, group);
        let range = area.start..serial.end;
        if matches!(separator, "-" | " ")
            && separator == gap(text.folded, group, serial)
            && !is_chained(text, index, separator)
            && is_issued(text, area, group, serial)
            && stands_alone(text.folded, &range)
            && text.hint(index, WINDOW) != Some(Hint::Id)
        {
            found.push(range);
        }
    }
    found
}

/// Whether the three groups from `first` on have a neighbour with the same separator: a longer
/// chain is another kind of number.
fn is_chained(text: &Text<'_>, first: usize, separator: &str) -> bool {
    let joined = |index: Option<usize>| {
        index
            .and_then(|index| text.groups.get(index..index + 2))
            .is_some_and(|pair| match pair {
                [one, two] => gap(text.folded, one, two) == separator,
                _ => false,
            })
    };
    joined(first.checked_sub(1)) || joined(Some(first + 2))
}

fn is_issued(
    text: &Text<'_>,
    area: &Range<usize>,
    group: &Range<usize>,
    serial: &Range<usize>,
) -> bool {
    let digits = |range: &Range<usize>| text.folded.get(range.clone()).unwrap_or_default();
    let area = digits(area);
    !matches!(area, "000" | "666")
        && !area.starts_with('9')
        && digits(group) != "00"
        && digits(serial) != "0000"
}

fn is_named(text: &Text<'_>, index: usize) -> bool {
    text.hint(index, WINDOW) == Some(Hint::Ssn)
}

fn is_number(text: &Text<'_>, whole: &Range<usize>) -> bool {
    let start = whole.start;
    stands_alone(text.folded, whole)
        && is_issued(
            text,
            &(start..start + 3),
            &(start + 3..start + 5),
            &(start + 5..start + 9),
        )
}
