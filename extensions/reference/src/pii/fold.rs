//! Brings a text into the one form that the detectors read: digits of all scripts and full-width
//! characters become ASCII, invisible characters go, and what JSON or a programming language writes
//! as an escape counts as the character it stands for. Each byte keeps where it came from.

use std::borrow::Cow;
use std::ops::Range;

use super::steps::step;

/// A text as detectors see it.
#[derive(Debug)]
pub(super) struct Folded<'a> {
    pub(super) text: Cow<'a, str>,
    /// Where each byte of `text` began, and the length of the whole; `None` when nothing moved.
    origins: Option<Vec<u32>>,
}

impl Folded<'_> {
    /// The range of the original that a range of the folded text came from.
    pub(super) fn original(&self, range: &Range<usize>) -> Range<usize> {
        let Some(origins) = &self.origins else {
            return range.clone();
        };
        let at = |index: usize| {
            let origin = origins.get(index).or(origins.last()).copied();
            origin
                .and_then(|origin| usize::try_from(origin).ok())
                .unwrap_or(0)
        };
        at(range.start)..at(range.end)
    }
}

/// Stands where an invisible character parts a letter from a digit.
pub(super) const INVISIBLE: char = '\u{200b}';

pub(super) fn fold(text: &str) -> Folded<'_> {
    if text.is_ascii() && !text.as_bytes().contains(&b'\\') {
        return Folded {
            text: Cow::Borrowed(text),
            origins: None,
        };
    }
    let mut folder = Folder {
        text: String::with_capacity(text.len()),
        origins: Vec::with_capacity(text.len() + 1),
        last: '\0',
        hidden_at: None,
    };
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        step(1);
        let escape = if c == '\\' { escape(text, at) } else { None };
        let (meant, length) = escape.unwrap_or((c, c.len_utf8()));
        folder.push(meant, at);
        at += length;
    }
    folder.origins.push(narrow(text.len()));
    Folded {
        text: Cow::Owned(folder.text),
        origins: Some(folder.origins),
    }
}

struct Folder {
    text: String,
    origins: Vec<u32>,
    last: char,
    /// An invisible character was left out after `last`.
    hidden_at: Option<usize>,
}

impl Folder {
    fn push(&mut self, c: char, at: usize) {
        if c.is_ascii() && self.hidden_at.is_none() {
            self.text.push(c);
            self.origins.push(narrow(at));
            self.last = c;
            return;
        }
        let folded = fold_char(c);
        if folded == INVISIBLE {
            self.hidden_at.get_or_insert(at);
            return;
        }
        if let Some(hidden_at) = self.hidden_at.take()
            && parts_word_from_number(self.last, folded)
        {
            self.append(INVISIBLE, hidden_at);
        }
        self.append(folded, at);
        self.last = folded;
    }

    fn append(&mut self, c: char, at: usize) {
        self.text.push(c);
        let origins = std::iter::repeat_n(narrow(at), c.len_utf8());
        self.origins.extend(origins);
    }
}

fn parts_word_from_number(before: char, after: char) -> bool {
    before.is_ascii_digit() && after.is_alphabetic()
        || before.is_alphabetic() && after.is_ascii_digit()
}

/// Half the memory; a payload of four gigabytes reaches nobody.
fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The character that an escape at a backslash stands for, and its length. Text that was quoted
/// several times has several backslashes.
pub(super) fn escape(text: &str, at: usize) -> Option<(char, usize)> {
    let bytes = text.as_bytes().get(at..)?;
    // More than this many would be scanned again from each of them.
    let slashes = bytes
        .iter()
        .take(16)
        .take_while(|byte| **byte == b'\\')
        .count();
    let meant = match bytes.get(slashes)? {
        b'n' | b'r' => '\n',
        b't' => '\t',
        b'u' => {
            let digits = text.get(at + slashes + 1..at + slashes + 5)?;
            let code = u32::from_str_radix(digits, 16).ok()?;
            let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            return Some((c, slashes + 5));
        }
        _ => return None,
    };
    Some((meant, slashes + 1))
}

fn fold_char(c: char) -> char {
    match c {
        '\0'..='\u{7f}' => c,
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' => '-',
        '\u{2028}' | '\u{2029}' => '\n',
        '\u{b7}' | '\u{2022}' | '\u{2024}' => '.',
        // The block of full-width forms is ASCII, moved.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        _ if is_invisible(c) => INVISIBLE,
        _ => decimal_digit(c).unwrap_or(c),
    }
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}'
        | '\u{20e3}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0001}'..='\u{e01ef}')
}

/// The zeros of all scripts (general category Nd of Unicode 16); nine digits follow each.
#[rustfmt::skip]
const ZEROS: [u32; 66] = [
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6,
    0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50,
    0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0,
    0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0,
    0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50, 0x1d7ce,
    0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

fn decimal_digit(c: char) -> Option<char> {
    let code = u32::from(c);
    let zero = ZEROS.get(ZEROS.partition_point(|zero| *zero <= code).checked_sub(1)?)?;
    char::from_digit(code - zero, 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms() {
        for (text, expected) in [
            ("plain 12", "plain 12"),
            ("４１１１－１１", "4111-11"),
            ("ｊａｎｅ＠ｅｘａｍｐｌｅ．ｃｏｍ", "jane@example.com"),
            ("٤١١ ۴۱۱ ४११ ๔๑๑", "411 411 411 411"),
            ("𝟒𝟏", "41"),
            ("4\u{200b}1\u{ad}1\u{feff}1", "4111"),
            ("card\u{200b}41", "card\u{200b}41"),
            ("a\u{200d}b", "ab"),
            ("41\u{200b} 1", "41 1"),
            ("4\u{fe0f}\u{20e3}1", "41"),
            ("a\u{a0}b\u{3000}c\u{2013}d", "a b c-d"),
            (r"x\n1 \\t2 \\\u0034\u00e9", "x\n1 \t2 4é"),
            (r#"C:\dir "\"" \d \u12"#, r#"C:\dir "\"" \d \u12"#),
            ("½ Ⅻ 三", "½ Ⅻ 三"),
        ] {
            assert_eq!(fold(text).text, expected, "{text:?}");
        }
    }

    #[test]
    fn ranges_lead_back() {
        let text = "a\u{200b}é ４１\\n٢";
        let folded = fold(text);
        let digits = folded.text.find("41").unwrap();
        assert_eq!(&text[folded.original(&(digits..digits + 4))], "４１\\n٢");
    }

    #[test]
    fn each_zero_begins_ten_digits() {
        for zero in ZEROS {
            for value in 0..10 {
                let c = char::from_u32(zero + value).unwrap();
                assert_eq!(decimal_digit(c), char::from_digit(value, 10), "{c:?}");
            }
        }
        assert_eq!(decimal_digit('²'), None);
    }

    proptest! {
        #[test]
        fn every_range_is_whole(text in any::<String>()) {
            let folded = fold(&text);
            for (start, c) in folded.text.char_indices() {
                let range = folded.original(&(start..start + c.len_utf8()));
                prop_assert!(text.get(range).is_some());
            }
        }
    }
}
