//! Finds personal data in text, as an operator means it: card numbers, e-mail addresses, phone
//! numbers, IBANs and US social security numbers. What has a checksum is checked, what has a
//! numbering plan is held against it, and the words nearby decide where form does not.
//!
//! A text is folded, its groups of digits and its "@" are found, and each detector looks at a
//! bounded number of characters around them, so the time is linear in the length of the text.

mod fold;

mod digits;
mod hint;

mod card;
mod email;
mod iban;
mod phone;
mod ssn;

mod steps;

mod mask;
pub(crate) mod options;
mod payload;
mod placeholder;

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use hint::{Hint, Hints};
pub use mask::{Masked, Piece, Style};
pub use payload::Findings;
use phone::table::National;
pub use placeholder::{Placeholders, PutBack, Replaced};

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

    fn detect(self, text: &Text<'_>, national: &National) -> Vec<Range<usize>> {
        match self {
            Self::Email => email::find(text),
            Self::Iban => iban::find(text),
            Self::Card => card::find(text),
            Self::Ssn => ssn::find(text),
            Self::Phone => phone::find(text, national),
        }
    }

    /// What takes its place.
    fn label(self) -> &'static str {
        match self {
            Self::Email => "[EMAIL]",
            Self::Iban => "[IBAN]",
            Self::Card => "[CARD]",
            Self::Ssn => "[SSN]",
            Self::Phone => "[PHONE]",
        }
    }

    /// As configurations and answers name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Iban => "iban",
            Self::Card => "card",
            Self::Ssn => "ssn",
            Self::Phone => "phone",
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

    /// Without those that a list leaves out.
    pub fn only(self, listed: &[Kind]) -> Self {
        Self {
            card: self.card && listed.contains(&Kind::Card),
            email: self.email && listed.contains(&Kind::Email),
            phone: self.phone && listed.contains(&Kind::Phone),
            iban: self.iban && listed.contains(&Kind::Iban),
            ssn: self.ssn && listed.contains(&Kind::Ssn),
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

/// What to look for.
#[derive(Clone, Debug)]
pub struct Detector {
    wanted: Kinds,
    national: Arc<National>,
}

impl Default for Detector {
    fn default() -> Self {
        Self::new(Kinds::default())
    }
}

impl Detector {
    /// Phone numbers as they are written within any country.
    pub fn new(wanted: Kinds) -> Self {
        Self {
            wanted,
            national: National::everywhere(),
        }
    }

    /// Phone numbers as they are written within the countries with these ISO 3166 codes;
    /// international ones of all countries.
    ///
    /// # Errors
    /// A sentence about the first code that is none.
    pub fn for_regions(wanted: Kinds, regions: &[String]) -> Result<Self, String> {
        Ok(Self {
            wanted,
            national: National::of_regions(regions)?,
        })
    }

    /// Everything of the wanted kinds, in the order of the text and without overlaps.
    pub fn find(&self, text: &str) -> Vec<Find> {
        self.find_under(text, None)
    }

    /// What the key above a text says counts where the text says nothing.
    ///
    /// All kinds are looked for, whatever is wanted, so that switching one off does not turn its
    /// finds into another kind.
    fn find_under(&self, text: &str, key: Option<Hint>) -> Vec<Find> {
        let folded = fold::fold(text);
        let text = Text::new(&folded.text, key);
        if text.groups.is_empty() && !text.folded.contains('@') {
            return Vec::new();
        }
        let mut found: Vec<Find> = Vec::new();
        for kind in Kind::ALL {
            let ranges = kind.detect(&text, &self.national);
            text.take(&ranges);
            found.extend(ranges.into_iter().map(|range| Find { kind, range }));
        }
        let mut apart = without_overlaps(found);
        apart.retain(|find| self.wanted.has(find.kind));
        for find in &mut apart {
            find.range = folded.original(&find.range);
        }
        apart
    }
}

/// In the order of the text; of two that overlap, the kind that comes first stays.
fn without_overlaps(mut found: Vec<Find>) -> Vec<Find> {
    found.sort_by_key(|find| find.range.start);
    let mut apart: Vec<Find> = Vec::with_capacity(found.len());
    for find in found {
        match apart.last_mut() {
            Some(last) if last.range.end > find.range.start => {
                if find.kind < last.kind {
                    *last = find;
                }
            }
            _ => apart.push(find),
        }
    }
    apart
}

/// A folded text with what all detectors need of it.
struct Text<'a> {
    folded: &'a str,
    groups: Vec<Range<usize>>,
    /// Which groups belong to something that was found.
    taken: Vec<Cell<bool>>,
    hints: Hints<'a>,
    /// Lengths of numbers in one piece that are no cards, as bits.
    identifiers: OnceCell<u32>,
    difference: OnceCell<bool>,
    cards: OnceCell<bool>,
}

impl<'a> Text<'a> {
    fn new(folded: &'a str, key: Option<Hint>) -> Self {
        let groups = digits::groups(folded);
        Self {
            folded,
            taken: vec![Cell::new(false); groups.len()],
            groups,
            hints: Hints::new(folded, key),
            identifiers: OnceCell::new(),
            difference: OnceCell::new(),
            cards: OnceCell::new(),
        }
    }

    /// Keeps the groups within these ranges, which are in order, from later detectors.
    fn take(&self, ranges: &[Range<usize>]) {
        let mut index = 0;
        let group = |index: usize| self.groups.get(index);
        for range in ranges {
            while group(index).is_some_and(|group| group.end <= range.start) {
                index += 1;
            }
            while group(index).is_some_and(|group| group.start < range.end) {
                self.take_group(index);
                index += 1;
            }
        }
    }

    fn take_group(&self, group: usize) {
        if let Some(taken) = self.taken.get(group) {
            taken.set(true);
        }
    }

    fn is_taken(&self, group: usize) -> bool {
        self.taken.get(group).is_some_and(Cell::get)
    }

    /// What the words between the number before this one and this one say. Digits at the end of a
    /// word, as in `u64`, are no number.
    fn hint(&self, group: usize, window: usize) -> Option<Hint> {
        let at = self.groups.get(group)?.start;
        let before = self
            .groups
            .get(group.saturating_sub(3)..group)
            .unwrap_or_default();
        let ends_word = |range: &&Range<usize>| {
            let before = digits::char_before(self.folded, range.start);
            range.len() <= 3 && before.is_some_and(char::is_alphabetic)
        };
        let floor = before.iter().rev().find(|range| !ends_word(range));
        let floor = floor.map_or(0, |range| range.end);
        self.hints.before(at, floor, window)
    }

    /// Whether a word anywhere in the text, or its key, speaks of cards.
    fn mentions_cards(&self) -> bool {
        *self.cards.get_or_init(|| self.hints.have(Hint::Card))
    }

    fn hint_at(&self, at: usize, window: usize) -> Option<Hint> {
        self.hints.before(at, 0, window)
    }

    fn hint_after(&self, group: usize, wanted: Hint) -> bool {
        const NEAR: usize = 12;
        let group = self.groups.get(group);
        group.is_some_and(|group| self.hints.after(group.end, NEAR, wanted))
    }

    /// Whether a number stands among others of its length that are no cards: a list of identifiers
    /// holds one now and then that passes for a card.
    fn is_among_identifiers(&self, index: usize) -> bool {
        let Some(length) = self.groups.get(index).map(Range::len) else {
            return false;
        };
        let beside = [index.checked_sub(1), Some(index + 1)];
        let beside = beside.into_iter().flatten().any(|other| {
            let group = self.groups.get(other);
            group.is_some_and(|group| group.len() == length && !self.is_card(group))
        });
        let lengths = self.identifiers.get_or_init(|| {
            let groups = self.groups.iter().enumerate();
            let long = groups.filter(|(_, group)| card::LENGTHS.contains(&group.len()));
            long.fold(0, |lengths, (index, group)| {
                // What a word calls an identifier says nothing of numbers further away.
                let unlike = !self.is_card(group) && self.hint(index, card::WINDOW).is_none();
                lengths | u32::from(unlike) << group.len()
            })
        });
        beside || lengths & (1 << length) != 0
    }

    /// Whether a hyphen joins a number to letters before it, as in the last part of a UUID.
    fn continues_a_word(&self, group: usize) -> bool {
        let at = self.groups.get(group).map_or(0, |group| group.start);
        let before = self
            .folded
            .get(..at)
            .and_then(|before| before.strip_suffix('-'));
        before.is_some_and(|word| word.ends_with(digits::is_word))
    }

    fn is_card(&self, group: &Range<usize>) -> bool {
        card::is_card(self.folded.get(group.clone()).unwrap_or_default())
    }

    /// Whether the text holds a difference of files.
    fn is_difference(&self) -> bool {
        *self.difference.get_or_init(|| {
            let heads = ["@@ -", "diff --git ", "--- a/", "+++ "];
            heads.iter().any(|head| {
                self.folded.starts_with(head) || self.folded.contains(&format!("\n{head}"))
            })
        })
    }
}

#[cfg(test)]
mod tests;
