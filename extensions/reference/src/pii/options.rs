//! The keys that `pii_guard` and `mask_pii` share: what to look for.

use serde::{Deserialize, Deserializer};

use super::{Detector, Kind, Kinds};

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
