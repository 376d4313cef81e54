//! Lines and columns, as people count them in an editor.

use serde::{Deserialize, Serialize};

/// A place in a text, both counted from 1; columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl Position {
    /// The place of a byte; one beyond the end is the end.
    pub fn of_byte(text: &str, byte: usize) -> Self {
        Lines::of(text).position(byte)
    }
}

/// A text with the starts of its lines, for whoever looks up many places in it.
#[derive(Debug)]
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub fn of(text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(end, _)| end + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(ends).collect(),
        }
    }

    /// The place of a byte; one beyond the end is the end, and one inside a character is where the
    /// character starts.
    pub fn position(&self, byte: usize) -> Position {
        let byte = self.text.floor_char_boundary(byte);
        let line = self.starts.partition_point(|start| *start <= byte);
        let column = self.text.get(self.start(line)..byte);
        Position {
            line,
            column: column.unwrap_or_default().chars().count() + 1,
        }
    }

    /// The text from the start of a line on; nothing if there is no such line.
    pub fn from(&self, line: usize) -> &'a str {
        self.text.get(self.start(line)..).unwrap_or_default()
    }

    fn start(&self, line: usize) -> usize {
        let start = self.starts.get(line.saturating_sub(1));
        start.copied().unwrap_or(self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_lines_and_characters() {
        let text = "ä\nöü\r\n\nz";
        for (byte, line, column) in [
            (0, 1, 1),
            (1, 1, 1),
            (2, 1, 2),
            (3, 2, 1),
            (5, 2, 2),
            (8, 2, 4),
            (9, 3, 1),
            (10, 4, 1),
            (11, 4, 2),
            (99, 4, 2),
        ] {
            let expected = Position { line, column };
            assert_eq!(Position::of_byte(text, byte), expected, "byte {byte}");
        }
        assert_eq!(Position::of_byte("", 0), Position { line: 1, column: 1 });
    }

    #[test]
    fn the_rest_of_a_text_starts_at_a_line() {
        let lines = Lines::of("a\nb\nc");
        assert_eq!(
            [1, 2, 3, 4].map(|line| lines.from(line)),
            ["a\nb\nc", "b\nc", "c", ""]
        );
    }
}
