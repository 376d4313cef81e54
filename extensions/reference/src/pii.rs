//! Finds personal data in text, as an operator means it: card numbers, e-mail addresses, phone
//! numbers, IBANs and US social security numbers. What has a checksum is checked; what has none
//! must look like one and stand alone. Every detector reads a text once, so the time is linear in
//! its length.

mod card;
mod digits;
mod email;
mod iban;
mod phone;
mod ssn;

mod mask;
mod payload;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use mask::{Masked, Style, mask_payload, mask_text};
pub use payload::{Findings, inspect_payload};

/// In the order of precedence where finds overlap: what is checked by a checksum or has a clear
/// form comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Email,
    Iban,
    Card,
    Ssn,
    Phone,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Email, Self::Iban, Self::Card, Self::Ssn, Self::Phone];

    fn detect(self, text: &str) -> Vec<Range<usize>> {
        match self {
            Self::Email => email::find(text),
            Self::Iban => iban::find(text),
            Self::Card => card::find(text),
            Self::Ssn => ssn::find(text),
            Self::Phone => phone::find(text),
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Email => "[EMAIL]",
            Self::Iban => "[IBAN]",
            Self::Card => "[CARD]",
            Self::Ssn => "[SSN]",
            Self::Phone => "[PHONE]",
        }
    }
}

/// Which kinds to look for; all unless switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kinds {
    pub card: bool,
    pub email: bool,
    pub phone: bool,
    pub iban: bool,
    pub ssn: bool,
}

impl Default for Kinds {
    fn default() -> Self {
        Self {
            card: true,
            email: true,
            phone: true,
            iban: true,
            ssn: true,
        }
    }
}

impl Kinds {
    pub fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Email => self.email,
            Kind::Iban => self.iban,
            Kind::Card => self.card,
            Kind::Ssn => self.ssn,
            Kind::Phone => self.phone,
        }
    }
}

/// Something found, as a range of bytes of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find {
    pub kind: Kind,
    pub range: Range<usize>,
}

/// How many of each kind.
pub type Counts = BTreeMap<Kind, usize>;

/// Everything of the wanted kinds, in the order of the text and without overlaps.
///
/// All kinds are looked for, whatever is wanted, so that switching one off does not turn its finds
/// into another kind.
pub fn find(text: &str, wanted: &Kinds) -> Vec<Find> {
    if !text
        .bytes()
        .any(|byte| byte == b'@' || byte.is_ascii_digit())
    {
        return Vec::new();
    }
    let mut taken: BTreeMap<usize, Find> = BTreeMap::new();
    for kind in Kind::ALL {
        for range in kind.detect(text) {
            let before = taken.range(..range.end).next_back();
            if before.is_none_or(|(_, find)| find.range.end <= range.start) {
                taken.insert(range.start, Find { kind, range });
            }
        }
    }
    taken
        .into_values()
        .filter(|find| wanted.has(find.kind))
        .collect()
}

#[cfg(test)]
mod tests;
