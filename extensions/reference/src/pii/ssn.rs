//! US social security numbers: 3-2-4 digits with the same separator, and the rules of the issuing office. Nine digits
//! without separators are not taken for one; every order number would be.

use std::ops::Range;

use super::digits::{is_space_or_hyphen, runs, single_char, stands_alone};

pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for run in runs(text, is_space_or_hyphen) {
        for (index, window) in run.groups.windows(3).enumerate() {
            let [area, group, serial] = window else {
                continue;
            };
            let separator = single_char(text, area.end..group.start);
            let before = index.checked_sub(1).and_then(|index| run.groups.get(index));
            let after = run.groups.get(index + 3);
            // A longer chain with the same separator is another kind of number.
            let chained = before
                .is_some_and(|before| single_char(text, before.end..area.start) == separator)
                || after
                    .is_some_and(|after| single_char(text, serial.end..after.start) == separator);
            let range = area.start..serial.end;
            if separator == single_char(text, group.end..serial.start)
                && !chained
                && is_issued(text, area, group, serial)
                && stands_alone(text, &range)
            {
                found.push(range);
            }
        }
    }
    found
}

fn is_issued(text: &str, area: &Range<usize>, group: &Range<usize>, serial: &Range<usize>) -> bool {
    let digits = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
    let (area, group, serial) = (digits(area), digits(group), digits(serial));
    (area.len(), group.len(), serial.len()) == (3, 2, 4)
        && !matches!(area, "000" | "666")
        && !area.starts_with('9')
        && group != "00"
        && serial != "0000"
}
