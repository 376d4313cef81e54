//! Walks JSON as text, so that what is not changed stays byte for byte: order of keys, spacing,
//! digits of numbers. The text must be valid JSON, as every `RawValue` is. Nothing here recurses,
//! so depth costs heap and not stack.

use std::borrow::Cow;

/// One step from an object or array to a value in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// The key as it is written, without its quotes.
    Key(&'a str),
    Index(usize),
}

/// A string or a number somewhere in the JSON.
#[derive(Debug)]
pub(crate) struct Scalar<'a, 'p> {
    pub(crate) path: &'p [Step<'a>],
    pub(crate) token: Token<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Token<'a> {
    /// What stands between the quotes, escapes and all.
    String(&'a str),
    Number(&'a str),
}

/// Shows every string and number to `edit`; where it answers a text, a JSON string of that text
/// takes the place. `None` when nothing changed.
pub(crate) fn rewrite(
    json: &str,
    mut edit: impl FnMut(&Scalar<'_, '_>) -> Option<String>,
) -> Option<String> {
    let mut scanner = Scanner::new(json);
    let mut output = None;
    let mut copied = 0;
    while let Some((start, token)) = scanner.next_scalar() {
        let path = &scanner.path;
        let Some(text) = edit(&Scalar { path, token }) else {
            continue;
        };
        let output = output.get_or_insert_with(|| String::with_capacity(json.len()));
        output.push_str(json.get(copied..start).unwrap_or_default());
        output.push_str(&serde_json::Value::String(text).to_string());
        copied = scanner.at;
    }
    output.map(|output: String| output + json.get(copied..).unwrap_or_default())
}

/// A place in the JSON, and how one comes there.
struct Scanner<'a> {
    json: &'a str,
    at: usize,
    path: Vec<Step<'a>>,
    /// The next string is a key.
    key_follows: bool,
}

impl<'a> Scanner<'a> {
    fn new(json: &'a str) -> Self {
        Self {
            json,
            at: 0,
            path: Vec::new(),
            key_follows: false,
        }
    }

    /// The next string or number and where it starts; afterwards the scanner is behind it.
    fn next_scalar(&mut self) -> Option<(usize, Token<'a>)> {
        loop {
            let start = self.at;
            let byte = self.json.as_bytes().get(start)?;
            self.at += 1;
            match byte {
                b'{' => {
                    self.path.push(Step::Key(""));
                    self.key_follows = true;
                }
                b'[' => self.path.push(Step::Index(0)),
                b'}' | b']' => {
                    self.path.pop();
                    self.key_follows = false;
                }
                b',' => self.key_follows = next_member(self.path.last_mut()),
                b'"' => {
                    if let Some(content) = self.string_value() {
                        return Some((start, Token::String(content)));
                    }
                }
                b'-' | b'0'..=b'9' => {
                    let number = number(self.json, start);
                    self.at = start + number.len();
                    return Some((start, Token::Number(number)));
                }
                _ => {}
            }
        }
    }

    /// The string whose opening quote was just read, unless it is a key.
    fn string_value(&mut self) -> Option<&'a str> {
        let content = string_content(self.json, self.at);
        self.at += content.len() + 1;
        if !std::mem::take(&mut self.key_follows) {
            return Some(content);
        }
        if let Some(step) = self.path.last_mut() {
            *step = Step::Key(content);
        }
        None
    }
}

/// A comma: the next key in an object, the next index in an array.
fn next_member(step: Option<&mut Step<'_>>) -> bool {
    match step {
        Some(Step::Index(index)) => {
            *index += 1;
            false
        }
        Some(Step::Key(_)) => true,
        None => false,
    }
}

fn string_content(json: &str, start: usize) -> &str {
    let rest = json.get(start..).unwrap_or_default();
    let mut escaped = false;
    let end = rest.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.and_then(|end| rest.get(..end)).unwrap_or(rest)
}

fn number(json: &str, start: usize) -> &str {
    let rest = json.get(start..).unwrap_or_default();
    let end = rest
        .bytes()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
    rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest)
}

/// The text that a JSON string stands for. Half a surrogate pair, which JSON allows and Rust does
/// not, becomes U+FFFD: refusing it would be a way to pass text by unseen.
pub(crate) fn unescape(content: &str) -> Cow<'_, str> {
    if !content.contains('\\') {
        return Cow::Borrowed(content);
    }
    let mut text = String::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = rest.find('\\') {
        text.push_str(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + 1..).unwrap_or_default();
        let Some(escaped) = rest.chars().next() else {
            text.push(char::REPLACEMENT_CHARACTER);
            break;
        };
        rest = rest.get(escaped.len_utf8()..).unwrap_or_default();
        text.push(match escaped {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => hex_char(&mut rest),
            other => other,
        });
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// Four digits, or eight with an escape between them where UTF-16 needs a pair.
fn hex_char(rest: &mut &str) -> char {
    let first = hex_unit(rest).unwrap_or(0xfffd);
    let pair = rest
        .strip_prefix("\\u")
        .filter(|_| (0xd800..0xdc00).contains(&first));
    let second = pair.and_then(|mut after| {
        let unit = hex_unit(&mut after).filter(|unit| (0xdc00..0xe000).contains(unit))?;
        *rest = after;
        Some(unit)
    });
    let units = [first, second.unwrap_or(0)];
    let units = units.into_iter().take(1 + usize::from(second.is_some()));
    let mut chars = char::decode_utf16(units);
    chars
        .next()
        .and_then(Result::ok)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn hex_unit(rest: &mut &str) -> Option<u16> {
    let digits = rest.get(..4)?;
    *rest = rest.get(4..)?;
    u16::from_str_radix(digits, 16).ok()
}

/// The JSON pointer (RFC 6901) of a path; each key goes through `shown` first.
pub(crate) fn pointer(path: &[Step<'_>], mut shown: impl FnMut(&str) -> String) -> String {
    let mut pointer = String::new();
    for step in path {
        pointer.push('/');
        match step {
            Step::Key(key) => {
                pointer.push_str(&shown(&unescape(key)).replace('~', "~0").replace('/', "~1"))
            }
            Step::Index(index) => pointer.push_str(&index.to_string()),
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pointers(json: &str) -> Vec<String> {
        let mut found = Vec::new();
        let unchanged = rewrite(json, |scalar| {
            found.push(pointer(scalar.path, str::to_owned));
            None
        });
        assert_eq!(unchanged, None);
        found
    }

    #[test]
    fn every_value_has_its_pointer() {
        let json = concat!(
            r#" {"a": "x", "b" : [1, {"c/d~":"y"}, [], {}, "z"], "e":{"f":-2.5e3}, "#,
            r#""g": true, "\u0068": ""} "#
        );
        assert_eq!(
            pointers(json),
            ["/a", "/b/0", "/b/1/c~1d~0", "/b/4", "/e/f", "/h"]
        );
        assert_eq!(pointers(r#""text""#), [""]);
        assert_eq!(pointers("7"), [""]);
        assert!(pointers("null").is_empty());
    }

    #[test]
    fn only_the_replaced_value_changes() {
        let json = r#"{"n": 1.10 ,"s":"a\"b\\", "t" : "keep\u0041"}"#;
        let changed = rewrite(json, |scalar| match scalar.token {
            Token::String(content) if unescape(content) == "a\"b\\" => Some("new\n\"".to_owned()),
            Token::String(_) | Token::Number(_) => None,
        });
        assert_eq!(
            changed.unwrap(),
            r#"{"n": 1.10 ,"s":"new\n\"", "t" : "keep\u0041"}"#
        );
    }

    #[test]
    fn half_a_surrogate_pair_hides_nothing() {
        assert_eq!(
            unescape(r"\ud800 a\u0040b \ud83d\ude00"),
            "\u{fffd} a@b \u{1f600}"
        );
    }

    #[test]
    fn depth_costs_no_stack() {
        let depth = 200_000;
        let json = "[".repeat(depth) + "1" + &"]".repeat(depth);
        assert!(rewrite(&json, |_| None).is_none());
    }

    proptest! {
        #[test]
        fn unescape_agrees_with_serde(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let content = json.get(1..json.len() - 1).unwrap();
            prop_assert_eq!(unescape(content), text);
        }

        #[test]
        fn an_echo_of_every_string_is_the_same_value(
            fields in prop::collection::btree_map(any::<String>(), any::<String>(), 0..5),
        ) {
            let json = serde_json::to_string(&fields).unwrap();
            let echoed = rewrite(&json, |scalar| match scalar.token {
                Token::String(content) => Some(unescape(content).into_owned()),
                Token::Number(_) => None,
            });
            prop_assert_eq!(echoed.unwrap_or(json.clone()), json);
        }
    }
}
