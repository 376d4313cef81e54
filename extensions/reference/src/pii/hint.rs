//! Words near a number that say what it is: "tel", "card", "order". They are all found in one pass,
//! and only in texts with a number that needs them.

use std::cell::OnceCell;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::digits::{char_after, char_before, is_word};

mod words;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    Phone,
    Card,
    Ssn,
    /// Something that is counted or referred to, and no person's: an order, a version, a ticket.
    Id,
    /// A licence or voucher, which is written in groups as cards are.
    Serial,
    /// "No." and its like: of what, the word before says.
    Number,
    /// A customer, an account: an identifier when "number" follows.
    Thing,
    /// What masking left: it says nothing of what follows, nor does a word before it.
    Label,
    /// A header of mail or a log whose values look like addresses.
    MessageId,
}

/// The hints of one text, made when first asked for.
#[derive(Debug)]
pub(super) struct Hints<'a> {
    text: &'a str,
    /// From the key under which the text stands.
    key: Option<Hint>,
    hits: OnceCell<Vec<Hit>>,
}

#[derive(Clone, Copy, Debug)]
struct Hit {
    start: usize,
    end: usize,
    hint: Hint,
}

/// "order number", "Kunden-Nr.": how far apart the two words may be.
const WORDS_APART: usize = 12;

impl<'a> Hints<'a> {
    pub(super) fn new(text: &'a str, key: Option<Hint>) -> Self {
        Self {
            text,
            key,
            hits: OnceCell::new(),
        }
    }

    /// What the nearest word before a place says, looking back at most `window` bytes and not
    /// beyond `floor`, where another number stands; else what the key says.
    pub(super) fn before(&self, at: usize, floor: usize, window: usize) -> Option<Hint> {
        let hits = self.hits.get_or_init(|| scan(self.text));
        let near = hits.partition_point(|hit| hit.end <= at);
        let hits = hits.get(..near).unwrap_or_default();
        // A sentence that ended speaks of what came before it.
        let ended = |hit: &Hit| {
            self.text
                .get(hit.end..at)
                .is_some_and(|gap| gap.contains('。'))
        };
        let is_near = |hit: &&Hit| hit.start >= floor && hit.end + window >= at && !ended(hit);
        resolve(hits, is_near).or(self.key)
    }

    /// Whether there is a word of this kind anywhere.
    pub(super) fn have(&self, wanted: Hint) -> bool {
        let hits = self.hits.get_or_init(|| scan(self.text));
        self.key == Some(wanted) || hits.iter().any(|hit| hit.hint == wanted)
    }

    /// Whether a word of this kind follows closely, as in "4111.. (cvc 123)".
    pub(super) fn after(&self, at: usize, window: usize, wanted: Hint) -> bool {
        let hits = self.hits.get_or_init(|| scan(self.text));
        let next = hits.partition_point(|hit| hit.start < at);
        hits.get(next)
            .is_some_and(|hit| hit.hint == wanted && hit.start <= at + window)
    }
}

/// What a key says about the value that stands under it.
pub(super) fn of_key(key: &str) -> Option<Hint> {
    resolve(&scan(key), |_| true)
}

fn resolve(hits: &[Hit], is_near: impl Fn(&&Hit) -> bool) -> Option<Hint> {
    let last = hits.last().filter(&is_near)?;
    let other = hits.iter().rev().nth(1);
    let other = other.filter(|other| other.end + WORDS_APART >= last.start);
    match (last.hint, other.map(|other| other.hint)) {
        // In either order: "número de cliente".
        (Hint::Number, Some(Hint::Thing)) | (Hint::Thing, Some(Hint::Number)) => Some(Hint::Id),
        (Hint::Number, Some(hint)) => Some(hint),
        (hint, _) => Some(hint),
    }
}

static WORDS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::LeftmostLongest)
        .kind(Some(AhoCorasickKind::DFA))
        .build(words::ALL.iter().flat_map(|(_, words)| words.iter()))
        .ok()
});

/// The hint of each word, in the order in which the automaton counts them.
static MEANINGS: LazyLock<Vec<Hint>> = LazyLock::new(|| {
    words::ALL
        .iter()
        .flat_map(|(hint, words)| words.iter().map(|_| *hint))
        .collect()
});

fn scan(text: &str) -> Vec<Hit> {
    let Some(words) = WORDS.as_ref() else {
        return Vec::new();
    };
    words
        .find_iter(text)
        .filter(|found| is_whole(text, found.start(), found.end()))
        .filter_map(|found| {
            Some(Hit {
                start: found.start(),
                end: found.end(),
                hint: match is_label(text, found.start(), found.end()) {
                    true => Hint::Label,
                    false => *MEANINGS.get(found.pattern().as_usize())?,
                },
            })
        })
        .collect()
}

fn is_label(text: &str, start: usize, end: usize) -> bool {
    text.as_bytes().get(end) == Some(&b']')
        && start
            .checked_sub(1)
            .is_some_and(|before| text.as_bytes().get(before) == Some(&b'['))
}

/// From this length on, a word may go on: "telephones", "Bestellungen".
const STEM: usize = 6;

/// Whether a word is not merely part of another one. In `orderId` and `user_phone` it is not.
fn is_whole(text: &str, start: usize, end: usize) -> bool {
    let Some(first) = char_after(text, start) else {
        return false;
    };
    if !is_word(first) {
        return true;
    }
    let last = char_before(text, end);
    let long = end - start >= STEM;
    let begins = char_before(text, start).is_none_or(|c| {
        !is_word(c) || long && c.is_ascii_digit() || c.is_lowercase() && first.is_uppercase()
    });
    let ends = long
        || char_after(text, end).is_none_or(|c| {
            !is_word(c)
                || c.is_ascii_digit()
                || c.is_uppercase() && last.is_some_and(|last| !last.is_uppercase())
        });
    begins && ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_near_a_number() {
        for (text, expected) in [
            ("call me: ", Some(Hint::Phone)),
            ("hotel ", None),
            ("userPhone=", Some(Hint::Phone)),
            ("order_id: ", Some(Hint::Id)),
            ("orderId: ", Some(Hint::Id)),
            ("order number ", Some(Hint::Id)),
            ("customer number ", Some(Hint::Id)),
            ("my customer ", Some(Hint::Thing)),
            ("número de cliente ", Some(Hint::Id)),
            ("mobiliário ", None),
            ("my number is ", Some(Hint::Phone)),
            ("the number is ", Some(Hint::Number)),
            ("phone number: ", Some(Hint::Phone)),
            ("the card for the order: ", Some(Hint::Id)),
            ("order with card ", Some(Hint::Card)),
            ("我的卡号是", Some(Hint::Card)),
            ("Тел. ", Some(Hint::Phone)),
            ("said ", None),
            ("call [PHONE] ", Some(Hint::Label)),
        ] {
            let hints = Hints::new(text, None);
            assert_eq!(hints.before(text.len(), 0, 30), expected, "{text:?}");
        }
    }

    #[test]
    fn a_key_speaks_where_the_text_does_not() {
        for (key, expected) in [
            ("phone", Some(Hint::Phone)),
            ("contactPhone2", Some(Hint::Phone)),
            ("card_number", Some(Hint::Card)),
            ("request_id", Some(Hint::Id)),
            ("note", None),
        ] {
            assert_eq!(of_key(key), expected, "{key}");
        }
        let hints = Hints::new("about order ", Some(Hint::Phone));
        assert_eq!(hints.before(12, 0, 30), Some(Hint::Id));
        assert_eq!(hints.before(12, 11, 30), Some(Hint::Phone));
    }
}
