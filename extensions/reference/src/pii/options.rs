//! The keys that `pii_guard` and `mask_pii` share: what to look for.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use super::phone::table::region_ids;
use super::{Detector, Kind, Kinds};

/// How other detectors name the kinds.
const OTHER_NAMES: [(&str, Kind); 5] = [
    ("email_address", Kind::Email),
    ("iban_code", Kind::Iban),
    ("credit_card", Kind::Card),
    ("us_ssn", Kind::Ssn),
    ("phone_number", Kind::Phone),
];

/// All names of all kinds.
fn names() -> impl Iterator<Item = (&'static str, Kind)> {
    let own = Kind::ALL.into_iter().map(|kind| (kind.name(), kind));
    own.chain(OTHER_NAMES)
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word: Cow<'_, str> = Deserialize::deserialize(deserializer)?;
        let known = names().find(|(name, _)| *name == word);
        known.map(|(_, kind)| kind).ok_or_else(|| {
            let all: Vec<&str> = names().map(|(name, _)| name).collect();
            serde::de::Error::custom(format!("expected one of {}", all.join(", ")))
        })
    }
}

impl JsonSchema for Kind {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Kind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let all: Vec<&str> = names().map(|(name, _)| name).collect();
        json_schema!({"enum": all})
    }
}

/// Kinds from the switches and the list `patterns`; `regions` narrows the phone numbers.
pub(crate) fn detector(
    kinds: Kinds,
    patterns: Option<&[Kind]>,
    regions: Option<&Regions>,
) -> Detector {
    let kinds = patterns.map_or(kinds, |patterns| kinds.only(patterns));
    match regions {
        Some(Regions(narrowed)) => Detector {
            wanted: kinds,
            ..narrowed.clone()
        },
        None => Detector::new(kinds),
    }
}

/// Countries whose ways to write phone numbers are known, by ISO 3166 code.
#[derive(Clone, Debug)]
pub(crate) struct Regions(Detector);

impl<'de> Deserialize<'de> for Regions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let codes: Vec<String> = Vec::deserialize(deserializer)?;
        let detector = Detector::for_regions(Kinds::default(), &codes);
        detector.map(Self).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Regions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Regions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "items": {
            "type": "string",
            "pattern": pattern_of(region_ids()),
            "description": "ISO 3166 code of a country, such as DE or US",
        }})
    }
}

/// Codes of two letters, in either case, are put together by their first; others stay whole.
fn pattern_of<'i>(ids: impl Iterator<Item = &'i str>) -> String {
    let both = |letter: char| [letter, letter.to_ascii_lowercase()];
    let mut whole = Vec::new();
    let mut by_first: BTreeMap<char, String> = BTreeMap::new();
    for id in ids {
        match id.chars().collect::<Vec<_>>().as_slice() {
            [first, second] => by_first.entry(*first).or_default().extend(both(*second)),
            _ => whole.push(id.to_owned()),
        }
    }
    let pairs = by_first.into_iter().map(|(first, seconds)| {
        let firsts: String = both(first).into_iter().collect();
        format!("[{firsts}][{seconds}]")
    });
    let all: Vec<String> = whole.into_iter().chain(pairs).collect();
    format!("^(?:{})$", all.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_put_together_by_their_first_letter() {
        let pattern = pattern_of(["001", "AC", "AD", "DE"].into_iter());
        assert_eq!(pattern, "^(?:001|[Aa][CcDd]|[Dd][Ee])$");
    }
}
