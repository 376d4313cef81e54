//! Boxes on top of each other: what comes later stands below, what runs side by side stands side by
//! side.

use crate::cli::view::text::{self, wrapped};

/// Extensions that run at the same time.
#[derive(Debug)]
pub(super) struct Wave {
    pub(super) title: String,
    pub(super) cells: Vec<Cell>,
}

/// One extension: its name, and phrases about it that fill the lines below.
#[derive(Debug, Default)]
pub(super) struct Cell {
    pub(super) name: String,
    pub(super) phrases: Vec<String>,
    /// Each on a line of its own.
    pub(super) notes: Vec<(Tone, String)>,
}

/// How something that stands out is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Strong,
    Good,
    Doubtful,
    Bad,
}

impl Tone {
    /// The text with the escape sequences of its colour.
    pub(super) fn paint(self, text: &str, colour: bool) -> String {
        let code = match self {
            Self::Strong => "1",
            Self::Good => "32",
            Self::Doubtful => "33",
            Self::Bad => "31",
        };
        if colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Narrower cells break every phrase.
const NARROWEST: usize = 24;

/// The lines of the picture, each `width` wide.
pub(super) fn draw(waves: &[Wave], width: usize, colour: bool) -> Vec<String> {
    let rows: Vec<Row<'_>> = waves.iter().flat_map(|wave| rows(wave, width)).collect();
    let mut lines = Vec::new();
    let mut above: &[usize] = &[];
    for (position, row) in rows.iter().enumerate() {
        let ends = if position == 0 {
            ('┌', '┐')
        } else {
            ('├', '┤')
        };
        lines.push(rule(ends, above, &row.walls, row.title, width));
        lines.extend(row.lines(colour));
        above = &row.walls;
    }
    lines.push(rule(('└', '┘'), above, &[], Some(""), width));
    lines
}

/// The cells of a wave that have room beside each other.
struct Row<'a> {
    /// None where a wave goes on.
    title: Option<&'a str>,
    cells: &'a [Cell],
    /// Columns of the lines between cells.
    walls: Vec<usize>,
    widths: Vec<usize>,
}

fn rows(wave: &Wave, width: usize) -> Vec<Row<'_>> {
    let most = (width.saturating_sub(1) / (NARROWEST + 1)).max(1);
    let number = wave.cells.len().div_ceil(most).max(1);
    let each = wave.cells.len().div_ceil(number).max(1);
    let rows = wave.cells.chunks(each).enumerate();
    rows.map(|(position, cells)| {
        Row::new((position == 0).then_some(wave.title.as_str()), cells, width)
    })
    .collect()
}

impl<'a> Row<'a> {
    /// Cells of the same width, as far as that can be.
    fn new(title: Option<&'a str>, cells: &'a [Cell], width: usize) -> Self {
        let number = cells.len().max(1);
        let inside = width.saturating_sub(cells.len() + 1);
        let widths: Vec<usize> = (0..cells.len())
            .map(|index| inside / number + usize::from(index < inside % number))
            .collect();
        let mut walls = Vec::with_capacity(cells.len());
        let mut wall = 0;
        for width in widths.iter().take(cells.len().saturating_sub(1)) {
            wall += width + 1;
            walls.push(wall);
        }
        Self {
            title,
            cells,
            walls,
            widths,
        }
    }

    fn lines(&self, colour: bool) -> Vec<String> {
        let columns: Vec<Vec<CellLine>> = self
            .cells
            .iter()
            .zip(&self.widths)
            .map(|(cell, width)| cell.lines(width.saturating_sub(2)))
            .collect();
        let height = columns.iter().map(Vec::len).max().unwrap_or_default();
        let mut lines = Vec::with_capacity(height);
        for index in 0..height {
            let parts: Vec<String> = columns
                .iter()
                .zip(&self.widths)
                .map(|(column, width)| part(column.get(index), *width, colour))
                .collect();
            lines.push(format!("│{}│", parts.join("│")));
        }
        lines
    }
}

/// A line of a cell, and how it is coloured.
type CellLine = (Option<Tone>, String);

fn part(line: Option<&CellLine>, width: usize, colour: bool) -> String {
    let Some((tone, text)) = line else {
        return " ".repeat(width);
    };
    let space = " ".repeat(width.saturating_sub(text.chars().count() + 1));
    match tone {
        Some(tone) => format!(" {}{space}", tone.paint(text, colour)),
        None => format!(" {text}{space}"),
    }
}

impl Cell {
    fn lines(&self, width: usize) -> Vec<CellLine> {
        let mut lines = toned(Tone::Strong, &self.name, width);
        for line in filled(&self.phrases, width) {
            lines.push((None, line));
        }
        for (tone, note) in &self.notes {
            lines.extend(toned(*tone, note, width));
        }
        lines
    }
}

fn toned(tone: Tone, text: &str, width: usize) -> Vec<CellLine> {
    let lines = wrapped(text, width).into_iter();
    lines.map(|line| (Some(tone), line)).collect()
}

fn rule(
    ends: (char, char),
    above: &[usize],
    below: &[usize],
    title: Option<&str>,
    width: usize,
) -> String {
    let level = if title.is_some() { '─' } else { '╌' };
    let mut line: Vec<char> = (0..width)
        .map(
            |column| match (above.contains(&column), below.contains(&column)) {
                _ if column == 0 => ends.0,
                _ if column + 1 == width => ends.1,
                (true, true) => '┼',
                (true, false) => '┴',
                (false, true) => '┬',
                (false, false) => level,
            },
        )
        .collect();
    if let Some(title) = title.filter(|title| !title.is_empty()) {
        let title = format!(" {} ", text::shortened(title, width.saturating_sub(6)));
        line.iter_mut()
            .skip(2)
            .zip(title.chars())
            .for_each(|(place, letter)| *place = letter);
    }
    line.into_iter().collect()
}

/// Lines of phrases, broken between them where each fits on a line.
fn filled(phrases: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (position, phrase) in phrases.iter().enumerate() {
        let comma = if position + 1 < phrases.len() {
            ","
        } else {
            ""
        };
        let phrase = format!("{phrase}{comma}");
        match lines.last_mut() {
            Some(last) if last.chars().count() + 1 + phrase.chars().count() <= width => {
                last.push(' ');
                last.push_str(&phrase);
            }
            Some(_) | None => lines.extend(wrapped(&phrase, width)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(name: &str, phrase: &str) -> Cell {
        Cell {
            name: name.into(),
            phrases: vec![phrase.into()],
            notes: Vec::new(),
        }
    }

    fn wave(title: &str, cells: Vec<Cell>) -> Wave {
        Wave {
            title: title.into(),
            cells,
        }
    }

    #[test]
    fn walls_meet_the_rows_above_and_below() {
        let waves = [
            wave("1 pre", vec![cell("a v1", "optional")]),
            wave(
                "2 validators",
                vec![
                    cell("b v1", "blocks"),
                    cell("c v1", "warns, at most 200ms and more"),
                ],
            ),
            wave(
                "3 post",
                vec![cell("d v1", "required"), cell("e v1", "optional")],
            ),
        ];
        let expected = "\
┌─ 1 pre ──────────────────────────────────────────┐
│ a v1                                             │
│ optional                                         │
├─ 2 validators ──────────┬────────────────────────┤
│ b v1                    │ c v1                   │
│ blocks                  │ warns, at most 200ms   │
│                         │ and more               │
├─ 3 post ────────────────┼────────────────────────┤
│ d v1                    │ e v1                   │
│ required                │ optional               │
└─────────────────────────┴────────────────────────┘";
        assert_eq!(draw(&waves, 52, false).join("\n"), expected);
    }

    #[test]
    fn a_wave_without_room_goes_on_below_a_dashed_line() {
        let cells = ["a", "b", "c"].map(|name| cell(name, "blocks")).into();
        let expected = "\
┌─ 1 validators ──────────┬────────────────────────┐
│ a                       │ b                      │
│ blocks                  │ blocks                 │
├╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┴╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┤
│ c                                                │
│ blocks                                           │
└──────────────────────────────────────────────────┘";
        assert_eq!(
            draw(&[wave("1 validators", cells)], 52, false).join("\n"),
            expected
        );
    }

    #[test]
    fn colours_change_no_width() {
        let note = (Tone::Bad, "circuit open".to_owned());
        let waves = [wave(
            "1 pre",
            vec![Cell {
                notes: vec![note],
                ..cell("a v1", "optional")
            }],
        )];
        let coloured = draw(&waves, 30, true).join("\n");
        assert!(
            coloured.contains("│ \u{1b}[31mcircuit open\u{1b}[0m               │"),
            "{coloured}"
        );
        let bare = ["\u{1b}[1m", "\u{1b}[31m", "\u{1b}[0m"]
            .iter()
            .fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(bare, draw(&waves, 30, false).join("\n"));
    }

    #[test]
    fn phrases_stay_whole_where_they_fit() {
        let phrases = ["optional", "limit 1s", "usually 1.1 ms", "on a"].map(str::to_owned);
        assert_eq!(
            filled(&phrases, 18),
            ["optional,", "limit 1s,", "usually 1.1 ms,", "on a"].map(str::to_owned)
        );
        assert_eq!(
            filled(&phrases, 19).first().map(String::as_str),
            Some("optional, limit 1s,")
        );
        assert_eq!(
            filled(&phrases, 8),
            [
                "optional", ",", "limit", "1s,", "usually", "1.1 ms,", "on a"
            ]
        );
    }

    #[test]
    fn long_words_are_broken() {
        assert_eq!(
            wrapped("on a_very_long_instance now", 10),
            ["on", "a_very_lon", "g_instance", "now"]
        );
        assert!(wrapped("", 10).is_empty());
    }
}
