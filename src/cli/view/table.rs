//! Tables without borders: columns, a header, and nothing that gets in the way of `awk`. What is
//! too wide leaves out what can be done without, and what is wrong is red.

use comfy_table::{CellAlignment, presets};

use super::look::Look;
use super::text;

mod tone;

/// Between two columns.
const GAP: usize = 2;
/// A text that is cut shorter than this says nothing any more.
const LEAST_WIDTH: usize = 12;
/// Half a point of time is none.
const WHOLE: [&str; 1] = ["UNTIL"];
/// Columns whose beginning says most of it.
const SENTENCES: [&str; 5] = ["REASON", "LAST EXIT", "STATUS", "SUBJECT", ""];

/// Rows under a header.
#[derive(Debug, Default)]
pub(in crate::cli) struct Table {
    header: Vec<String>,
    numbers: Vec<String>,
    spare: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Columns that go when there is no room for all, the first of them first.
    pub(in crate::cli) fn sparing(mut self, columns: &'static [&'static str]) -> Self {
        self.spare = columns;
        self
    }

    pub(in crate::cli) fn add_row<C: Into<String>>(
        &mut self,
        cells: impl IntoIterator<Item = C>,
    ) -> &mut Self {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.header.len(), String::new());
        self.rows.push(row);
        self
    }

    pub(in crate::cli) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(in crate::cli) fn add_rows<C: Into<String>, R: IntoIterator<Item = C>>(
        &mut self,
        rows: impl IntoIterator<Item = R>,
    ) {
        for row in rows {
            self.add_row(row);
        }
    }

    /// The lines of the table, without the space at their ends.
    pub(in crate::cli) fn drawn(&self, look: Look) -> Vec<String> {
        let fitted = self.fitted(look.width);
        let mut lines = fitted.layout();
        if look.colour {
            for (line, row) in lines.iter_mut().skip(1).zip(&fitted.rows) {
                *line = tone::coloured(line, &fitted.header, row);
            }
        }
        lines
    }

    /// As much of the table as there is room for.
    fn fitted(&self, width: usize) -> Self {
        let mut fitted = Self {
            header: self.header.clone(),
            numbers: self.numbers.clone(),
            spare: self.spare,
            rows: self.rows.clone(),
        };
        for name in self.spare {
            if fitted.width() <= width {
                return fitted;
            }
            fitted.leave_out(name);
        }
        while fitted.width() > width && fitted.shrink(fitted.width() - width) {}
        fitted
    }

    fn leave_out(&mut self, name: &str) {
        let Some(position) = self.header.iter().position(|column| column == name) else {
            return;
        };
        self.header.remove(position);
        for row in &mut self.rows {
            row.remove(position);
        }
    }

    /// Cuts the widest text by what is too much, as far as it can be cut; false when none can.
    /// Sentences go before names, which are typed again.
    fn shrink(&mut self, too_much: usize) -> bool {
        let Some(position) = self.widest(true).or_else(|| self.widest(false)) else {
            return false;
        };
        let widths = self.widths();
        let width = widths.get(position).copied().unwrap_or_default();
        // Others are cut as well where one alone would lose too much.
        let second = widths.iter().copied().filter(|other| *other < width).max();
        let step = second.map_or(too_much, |second| too_much.min(width - second));
        let limit = width.saturating_sub(step).max(self.least(position));
        for row in &mut self.rows {
            if let Some(cell) = row.get_mut(position)
                && cell.chars().count() > limit
            {
                *cell = text::shortened(cell, limit);
            }
        }
        self.widths().get(position) < Some(&width)
    }

    /// The column that can best be cut.
    fn widest(&self, only_sentences: bool) -> Option<usize> {
        let widths = self.widths();
        let columns = self.header.iter().enumerate().zip(&widths);
        let cut = columns.filter(|((position, name), width)| {
            let name = name.as_str();
            let is_sentence = SENTENCES.contains(&name);
            let is_whole = WHOLE.contains(&name) || self.numbers.iter().any(|one| one == name);
            !is_whole && (is_sentence || !only_sentences) && **width > self.least(*position)
        });
        let widest = cut.max_by_key(|(_, width)| **width);
        widest.map(|((position, _), _)| position)
    }

    fn least(&self, position: usize) -> usize {
        let name = self.header.get(position);
        let name = name.map_or(0, |name| name.chars().count());
        LEAST_WIDTH.max(name)
    }

    fn widths(&self) -> Vec<usize> {
        let padded = self.table().column_max_content_widths();
        padded.into_iter().map(usize::from).collect()
    }

    fn width(&self) -> usize {
        let widths = self.widths();
        widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
    }

    fn layout(&self) -> Vec<String> {
        let table = self.table();
        let lines = table.lines();
        lines.map(|line| line.trim_end().to_owned()).collect()
    }

    fn table(&self) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(self.header.clone());
        for (column, name) in table.column_iter_mut().zip(&self.header) {
            column.set_padding((0, 2));
            if self.numbers.contains(name) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.add_rows(self.rows.iter().cloned());
        table
    }
}

/// An empty table with the given header; columns named in `numbers` are aligned to the right.
pub(in crate::cli) fn with_header(header: &[&str], numbers: &[&str]) -> Table {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Table {
        header: owned(header),
        numbers: owned(numbers),
        ..Table::default()
    }
}

/// The lines of a table as this process shows them.
pub(in crate::cli) fn lines(table: &Table) -> Vec<String> {
    table.drawn(Look::current())
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
mod tests;
