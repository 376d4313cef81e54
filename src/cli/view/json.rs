//! JSON as the router sent it: laid out for people, with every digit and the order of its fields
//! kept.
//!
//! Parsing into a tree of values and printing that again would round long numbers and sort the
//! fields, so that `policy get` followed by `policy put` would change a document nobody edited.

use beamline_contract::escape;

/// Lays out a valid JSON text, two spaces a level. Invisible characters inside strings become
/// `\uXXXX`, which means the same to a reader of JSON and nothing to a terminal.
pub(in crate::cli) fn pretty(json: &str) -> String {
    let mut layout = Layout {
        out: String::with_capacity(json.len() * 2),
        depth: 0,
    };
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => layout.string(&mut characters),
            '{' | '[' => {
                skip_space(&mut characters);
                match characters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => layout.out.extend([character, end]),
                    None => layout.open(character),
                }
            }
            '}' | ']' => layout.close(character),
            ',' => layout.next_item(),
            ':' => layout.out.push_str(": "),
            space if space.is_ascii_whitespace() => {}
            other => layout.out.push(other),
        }
    }
    layout.out
}

/// The same without any space between the tokens, for one document a line.
pub(in crate::cli) fn compact(json: &str) -> String {
    let mut layout = Layout {
        out: String::with_capacity(json.len()),
        depth: 0,
    };
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => layout.string(&mut characters),
            space if space.is_ascii_whitespace() => {}
            other => layout.out.push(other),
        }
    }
    layout.out
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_space(characters: &mut Characters<'_>) {
    while characters.next_if(char::is_ascii_whitespace).is_some() {}
}

struct Layout {
    out: String,
    depth: usize,
}

impl Layout {
    fn open(&mut self, bracket: char) {
        self.out.push(bracket);
        self.depth += 1;
        self.line();
    }

    fn close(&mut self, bracket: char) {
        self.depth = self.depth.saturating_sub(1);
        self.line();
        self.out.push(bracket);
    }

    fn next_item(&mut self) {
        self.out.push(',');
        self.line();
    }

    fn line(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", self.depth));
    }

    /// Copies a string up to its closing quote.
    fn string(&mut self, characters: &mut Characters<'_>) {
        self.out.push('"');
        while let Some(character) = characters.next() {
            match character {
                '\\' => {
                    self.out.push('\\');
                    self.out.extend(characters.next());
                }
                '"' => break,
                hidden if escape::is_unsafe(hidden) => {
                    self.out.push_str(&escape::in_json(hidden));
                }
                other => self.out.push(other),
            }
        }
        self.out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_digits_survive() {
        let text = r#"{"z":1.10000000000000000001,"a":[1,{"b":[]}, { }],"s":"x, {y}: \"q\""}"#;
        let laid_out = "{\n  \"z\": 1.10000000000000000001,\n  \"a\": [\n    1,\n    {\n      \"b\": []\n    },\n    {}\n  ],\n  \"s\": \"x, {y}: \\\"q\\\"\"\n}";
        assert_eq!(pretty(text), laid_out);
        assert_eq!(pretty(laid_out), laid_out);
        assert_eq!(
            compact(laid_out),
            r#"{"z":1.10000000000000000001,"a":[1,{"b":[]},{}],"s":"x, {y}: \"q\""}"#
        );
    }

    #[test]
    fn hidden_characters_mean_the_same_but_cannot_act() {
        let text = "\"a\u{7f}\u{9b}31m\u{202e}\"";
        let shown = pretty(text);
        assert_eq!(shown, r#""a\u007f\u009b31m\u202e""#);
        assert_eq!(
            serde_json::from_str::<String>(&shown).expect("still JSON"),
            serde_json::from_str::<String>(text).expect("JSON")
        );
    }
}
