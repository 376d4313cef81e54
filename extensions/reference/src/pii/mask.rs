//! Replaces personal data in text and in JSON payloads, leaving every other byte as it was.

use serde::Deserialize;

use super::payload::find_in_token;
use super::{Counts, Find, Kinds, find};
use crate::json_text::{Token, rewrite, unescape};

/// How a find is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
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

/// A payload with something masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked {
    pub json: String,
    pub counts: Counts,
}

/// Masking may bring two texts together that only now look like a number: a few rounds settle that.
const MAX_ROUNDS: usize = 8;

/// Masks a valid JSON text; `None` when there is nothing to mask.
pub fn mask_payload(json: &str, wanted: &Kinds, style: Style) -> Option<Masked> {
    let mut counts = Counts::new();
    let json = rewrite(json, |scalar| {
        let text = match scalar.token {
            Token::String(content) => unescape(content),
            Token::Number(_) if find_in_token(scalar.token, wanted).is_empty() => return None,
            Token::Number(number) => number.into(),
        };
        let (masked, found) = mask_text(&text, wanted, style)?;
        for (kind, count) in found {
            *counts.entry(kind).or_default() += count;
        }
        Some(masked)
    });
    json.map(|json| Masked { json, counts })
}

/// Masks one text; `None` when there is nothing to mask.
pub fn mask_text(text: &str, wanted: &Kinds, style: Style) -> Option<(String, Counts)> {
    let mut counts = Counts::new();
    let mut masked = None;
    for round in 0..=MAX_ROUNDS {
        let current = masked.as_deref().unwrap_or(text);
        let found = find(current, wanted);
        if found.is_empty() {
            break;
        }
        let style = if round == MAX_ROUNDS {
            Style::Stars
        } else {
            style
        };
        masked = Some(replace(current, &found, style, &mut counts));
    }
    masked.map(|masked| (masked, counts))
}

fn replace(text: &str, found: &[Find], style: Style, counts: &mut Counts) -> String {
    let mut output = String::with_capacity(text.len());
    let mut copied = 0;
    for find in found {
        output.push_str(text.get(copied..find.range.start).unwrap_or_default());
        let secret = text.get(find.range.clone()).unwrap_or_default();
        match style {
            Style::Label => output.push_str(find.kind.label()),
            Style::Partial => push_last_four(&mut output, secret),
            Style::Stars => output.extend(secret.chars().map(|_| '*')),
        }
        copied = find.range.end;
        *counts.entry(find.kind).or_default() += 1;
    }
    output + text.get(copied..).unwrap_or_default()
}

fn push_last_four(output: &mut String, secret: &str) {
    let hidden = secret
        .chars()
        .filter(|c| c.is_alphanumeric())
        .count()
        .saturating_sub(4);
    let mut seen = 0;
    for c in secret.chars() {
        let counted = c.is_alphanumeric();
        seen += usize::from(counted);
        output.push(if counted && seen <= hidden { '*' } else { c });
    }
}
