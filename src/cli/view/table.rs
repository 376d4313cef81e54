//! Tables without borders: columns, a header, and nothing that gets in the way of `awk`.

use comfy_table::{CellAlignment, Table, presets};

/// An empty table with the given header; columns named in `numbers` are aligned to the right.
pub(in crate::cli) fn with_header(header: &[&str], numbers: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.to_vec());
    for (column, name) in table.column_iter_mut().zip(header) {
        column.set_padding((0, 2));
        if numbers.contains(name) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The lines of a table, without the space at their ends.
pub(in crate::cli) fn lines(table: &Table) -> Vec<String> {
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// The whole table as one text without a line break at its end.
pub(in crate::cli) fn text(table: &Table) -> String {
    lines(table).join("\n")
}

/// Lines of `name  value`, for one thing instead of many.
pub(in crate::cli) fn of_fields<N: AsRef<str>>(fields: &[(N, String)]) -> String {
    let width = fields
        .iter()
        .map(|(name, _)| name.as_ref().chars().count())
        .max()
        .unwrap_or(0);
    let lines: Vec<String> = fields
        .iter()
        .map(|(name, value)| {
            let name = name.as_ref();
            let indent = format!("\n{:width$}  ", "");
            format!("{name:width$}  {}", value.replace('\n', &indent))
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_borders() {
        let mut table = with_header(&["ID", "CALLS"], &["CALLS"]);
        table.add_row(["pii_guard", "7"]).add_row(["ä世", "1234"]);
        assert_eq!(
            text(&table),
            "ID         CALLS\npii_guard      7\nä世         1234"
        );
    }

    #[test]
    fn fields_keep_values_under_each_other() {
        assert_eq!(
            of_fields(&[("id", "a".into()), ("config", "{\n}".into())]),
            "id      a\nconfig  {\n        }"
        );
    }
}
