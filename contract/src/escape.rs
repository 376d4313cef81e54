//! Text from outside, made fit for a terminal and for a log.
//!
//! Ids, reasons and error messages come from other processes. An escape sequence in one of them
//! could move the cursor or recolour a table, a line break could fake a line of a log, and a mark
//! that turns the direction of text could hide what stands beside it. Whatever shows such text to
//! people writes these characters as escapes.

use std::fmt::{self, Write};

/// Controls (C0, DEL, C1), the separators of lines and paragraphs, and the marks that reorder the
/// text around them or cannot be seen.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
        )
}

/// Shows text on one line, with `\n` or `\u{1b}` for each unsafe character.
#[derive(Debug, Clone, Copy)]
pub struct OneLine<'a>(pub &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(out, self.0, is_unsafe)
    }
}

/// Text on one line, with `\n` or `\u{1b}` for each unsafe character.
pub fn line(text: &str) -> String {
    OneLine(text).to_string()
}

/// Text on several lines: line breaks and tabs stay, everything else is as in [`line()`].
pub fn block(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut block = String::with_capacity(text.len());
    // Writing to a string cannot fail.
    let _written = write_escaped(&mut block, &text, is_unsafe_in_block);
    block
}

/// For an unsafe character within a string of JSON: `\u001b`, which means the same to a reader of
/// JSON and nothing to a terminal.
pub fn in_json(character: char) -> String {
    let mut escape = String::new();
    for unit in character.encode_utf16(&mut [0; 2]) {
        escape.push_str(&format!("\\u{unit:04x}"));
    }
    escape
}

fn is_unsafe_in_block(character: char) -> bool {
    is_unsafe(character) && !matches!(character, '\n' | '\t')
}

fn write_escaped(
    out: &mut impl Write,
    text: &str,
    escapes: fn(char) -> bool,
) -> Result<(), fmt::Error> {
    for part in text.split_inclusive(escapes) {
        match part.chars().next_back().filter(|last| escapes(*last)) {
            Some(last) => {
                let before = part.strip_suffix(last).unwrap_or_default();
                write!(out, "{before}{}", last.escape_default())?;
            }
            None => out.write_str(part)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_steer_a_terminal_is_unsafe_and_nothing_else() {
        let unsafe_ranges = [
            ("C0", '\0'..='\u{1f}'),
            ("DEL and C1", '\u{7f}'..='\u{9f}'),
            ("Arabic letter mark", '\u{61c}'..='\u{61c}'),
            ("invisible, and marks of direction", '\u{200b}'..='\u{200f}'),
            (
                "separators, and embedded direction",
                '\u{2028}'..='\u{202e}',
            ),
            ("invisible, and isolated direction", '\u{2060}'..='\u{206f}'),
            ("byte order mark", '\u{feff}'..='\u{feff}'),
        ];
        for character in '\0'..=char::MAX {
            let range = unsafe_ranges
                .iter()
                .find(|(_, range)| range.contains(&character));
            assert_eq!(
                is_unsafe(character),
                range.is_some(),
                "{character:?} {range:?}"
            );
        }
    }

    #[test]
    fn each_form_shows_what_is_unsafe() {
        let cases = [
            ("", "", ""),
            ("Grüße, 世界 👍", "Grüße, 世界 👍", "Grüße, 世界 👍"),
            ("it's \"so\" \\n", "it's \"so\" \\n", "it's \"so\" \\n"),
            ("a\u{1b}[31mred", "a\\u{1b}[31mred", "a\\u{1b}[31mred"),
            ("a\r\nb\n\tc", "a\\r\\nb\\n\\tc", "a\nb\n\tc"),
            ("a\rb", "a\\rb", "a\\rb"),
            ("\u{9b}1m\u{7f}", "\\u{9b}1m\\u{7f}", "\\u{9b}1m\\u{7f}"),
            (
                "a\u{202e}b\u{2066}",
                "a\\u{202e}b\\u{2066}",
                "a\\u{202e}b\\u{2066}",
            ),
            (
                "\u{2028}\u{feff}",
                "\\u{2028}\\u{feff}",
                "\\u{2028}\\u{feff}",
            ),
        ];
        for (text, on_one_line, as_block) in cases {
            assert_eq!(line(text), on_one_line);
            assert_eq!(block(text), as_block);
        }
    }

    #[test]
    fn a_reader_of_json_sees_the_same_character() {
        for character in ['\u{1b}', '\u{7f}', '\u{9b}', '\u{202e}', '\u{1f600}'] {
            let json = format!("\"{}\"", in_json(character));
            assert!(json.is_ascii());
            let read: String = serde_json::from_str(&json).unwrap();
            assert_eq!(read, character.to_string());
        }
    }
}
