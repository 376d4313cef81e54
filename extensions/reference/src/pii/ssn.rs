//! US social security numbers: 3-2-4 digits with the same separator, and the rules of the issuing
//! office. Nine digits without separators are not taken for one; every order number would be.

use std::ops::Range;

use super::digits::{Run, is_space_or_hyphen, runs, stands_alone};

pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    runs(text, is_space_or_hyphen)
        .iter()
        .flat_map(|run| find_in_run(text, run))
        .collect()
}

fn find_in_run(text: &str, run: &Run) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (index, window) in run.groups.windows(3).enumerate() {
        let [area, group, serial] = window else {
            continue;
        };
        let separator = run.separator_after(text, index);
        let same_separator = separator == run.separator_after(text, index + 1);
        let range = area.start..serial.end;
        if same_separator
            && !is_chained(text, run, index, separator)
            && is_issued(text, area, group, serial)
            && stands_alone(text, &range)
        {
            found.push(range);
        }
    }
    found
}

/// Whether the three groups from `first` on have a neighbour with the same separator: a longer
/// chain is another kind of number.
fn is_chained(text: &str, run: &Run, first: usize, separator: Option<char>) -> bool {
    let before = first
        .checked_sub(1)
        .is_some_and(|previous| run.separator_after(text, previous) == separator);
    let last = first + 2;
    let after = last + 1 < run.groups.len() && run.separator_after(text, last) == separator;
    before || after
}

fn is_issued(text: &str, area: &Range<usize>, group: &Range<usize>, serial: &Range<usize>) -> bool {
    let digits = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
    let area = digits(area);
    let group = digits(group);
    let serial = digits(serial);
    let sized = area.len() == 3 && group.len() == 2 && serial.len() == 4;
    sized
        && !matches!(area, "000" | "666")
        && !area.starts_with('9')
        && group != "00"
        && serial != "0000"
}
