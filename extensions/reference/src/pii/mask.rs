//! Replaces personal data in text and in JSON payloads, leaving every other byte as it was.

use std::ops::Range;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fold::escape;
use super::hint::Hint;
use super::payload::{Value, value_of};
use super::{Counts, Detector, Find, Kind};
use crate::json_text::rewrite;

/// How a find is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// `[EMAIL]`, `[CARD]`, ..
    #[default]
    Label,
    /// Letters and digits but the last four become stars; separators stay.
    Partial,
    /// Every character becomes a star.
    Stars,
}

impl Style {
    /// What takes the place of a find.
    pub fn replacement(self, piece: &Piece<'_>) -> String {
        match self {
            Self::Label => piece.kind.label().to_owned(),
            Self::Partial => last_four(piece.original),
            Self::Stars => "*".repeat(piece.original.chars().count()),
        }
    }
}

/// Something that is about to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    pub kind: Kind,
    pub original: &'a str,
    /// In the text as it is at that moment: the decoded text of one JSON string, for a payload.
    pub range: Range<usize>,
}

/// A payload with something masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked {
    pub json: String,
    pub counts: Counts,
}

/// Masking may bring two texts together that only now look like a number: a few rounds settle that.
const MAX_ROUNDS: usize = 8;

impl Detector {
    /// Masks a valid JSON text; `None` when there is nothing to mask. Each find is shown to
    /// `replacement`, which can keep it.
    pub fn mask_payload(
        &self,
        json: &str,
        mut replacement: impl FnMut(&Piece<'_>) -> String,
    ) -> Option<Masked> {
        let mut counts = Counts::new();
        let json = self.mask_json(json, 0, &mut replacement, &mut counts)?;
        Some(Masked { json, counts })
    }

    /// Masks one text; `None` when there is nothing to mask.
    pub fn mask_text(
        &self,
        text: &str,
        mut replacement: impl FnMut(&Piece<'_>) -> String,
    ) -> Option<(String, Counts)> {
        let mut counts = Counts::new();
        let masked = self.mask_under(text, None, &mut replacement, &mut counts)?;
        Some((masked, counts))
    }

    fn mask_json(
        &self,
        json: &str,
        depth: usize,
        replacement: &mut dyn FnMut(&Piece<'_>) -> String,
        counts: &mut Counts,
    ) -> Option<String> {
        rewrite(json, |scalar| match value_of(scalar, depth) {
            Value::Json(inner) => self.mask_json(&inner, depth + 1, replacement, counts),
            Value::Text(text, key) => self.mask_under(&text, key, replacement, counts),
            Value::Number(number, key) => {
                let find = self.find_in_number(number, key)?;
                *counts.entry(find.kind).or_default() += 1;
                let piece = Piece {
                    kind: find.kind,
                    original: number,
                    range: find.range,
                };
                Some(replacement(&piece))
            }
        })
    }

    fn mask_under(
        &self,
        text: &str,
        key: Option<Hint>,
        replacement: &mut dyn FnMut(&Piece<'_>) -> String,
        counts: &mut Counts,
    ) -> Option<String> {
        let mut masked = None;
        for round in 0..=MAX_ROUNDS {
            let current = masked.as_deref().unwrap_or(text);
            let found = self.find_under(current, key);
            if found.is_empty() {
                break;
            }
            for find in &found {
                *counts.entry(find.kind).or_default() += 1;
            }
            // Whatever the caller puts there, stars end it.
            masked = Some(match round == MAX_ROUNDS {
                true => replace(current, &found, &mut |piece| {
                    Style::Stars.replacement(piece)
                }),
                false => replace(current, &found, replacement),
            });
        }
        masked
    }
}

fn replace(
    text: &str,
    found: &[Find],
    replacement: &mut dyn FnMut(&Piece<'_>) -> String,
) -> String {
    let mut output = String::with_capacity(text.len());
    let mut copied = 0;
    for find in found {
        let piece = Piece {
            kind: find.kind,
            original: text.get(find.range.clone()).unwrap_or_default(),
            range: find.range.clone(),
        };
        output.push_str(text.get(copied..find.range.start).unwrap_or_default());
        let quote = quote_of_number(text, &find.range);
        output.push_str(quote);
        output.push_str(&replacement(&piece));
        output.push_str(quote);
        copied = find.range.end;
    }
    output + text.get(copied..).unwrap_or_default()
}

/// A text may hold JSON among other things, such as an example in a fenced block. What takes the
/// place of a number there needs quotes, written as those of its key are.
fn quote_of_number<'t>(text: &'t str, range: &Range<usize>) -> &'t str {
    let found = text.get(range.clone()).unwrap_or_default();
    let after = text.get(range.end..).unwrap_or_default();
    let after = after.trim_start_matches([' ', '\n']);
    if !after.starts_with([',', '}', ']']) || !found.bytes().all(|byte| byte.is_ascii_digit()) {
        return "";
    }
    let before = text.get(..range.start).unwrap_or_default();
    let key = before.trim_end_matches(' ').strip_suffix(':');
    let key = key.map(|key| key.trim_end_matches(' '));
    let Some(key) = key.filter(|key| key.ends_with('"')) else {
        return "";
    };
    let quoted = key.strip_suffix('"').unwrap_or(key);
    let start = quoted.trim_end_matches('\\').len();
    key.get(start..).unwrap_or_default()
}

fn last_four(secret: &str) -> String {
    let mut output = String::with_capacity(secret.len());
    let units: Vec<(char, &str)> = units(secret);
    let counted = |c: char| c.is_alphanumeric();
    let hidden = units
        .iter()
        .filter(|(c, _)| counted(*c))
        .count()
        .saturating_sub(4);
    let mut seen = 0;
    for (c, written) in units {
        seen += usize::from(counted(c));
        output.push_str(if counted(c) && seen <= hidden {
            "*"
        } else {
            written
        });
    }
    output
}

/// Characters with how they are written: an escape is one.
fn units(text: &str) -> Vec<(char, &str)> {
    let mut units = Vec::new();
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let escaped = if c == '\\' { escape(text, at) } else { None };
        let (meant, length) = escaped.unwrap_or((c, c.len_utf8()));
        units.push((meant, text.get(at..at + length).unwrap_or_default()));
        at += length;
    }
    units
}
