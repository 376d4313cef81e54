//! Everything that is wrong with what somebody wrote, so that it can be put right in one go.

use std::error::Error;
use std::fmt;

use serde::Serialize;

/// One thing that was found wrong: where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found<P> {
    #[serde(flatten)]
    pub place: P,
    /// A sentence for people.
    pub message: String,
}

/// All that was found wrong so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct MistakeList<P> {
    found: Vec<Found<P>>,
    #[serde(skip)]
    warnings: Vec<Found<P>>,
    #[serde(skip)]
    most: usize,
    /// What is read was accepted by an earlier release.
    #[serde(skip)]
    is_stored: bool,
}

/// Nobody reads more.
const MOST_WARNINGS: usize = 20;

impl<P> MistakeList<P> {
    /// Keeps all.
    pub fn all() -> Self {
        Self::up_to(usize::MAX)
    }

    /// Keeps the first `most`.
    pub fn up_to(most: usize) -> Self {
        Self {
            found: Vec::new(),
            warnings: Vec::new(),
            most,
            is_stored: false,
        }
    }

    /// The same for what an earlier release accepted: what only new documents are refused for is
    /// warned of.
    #[must_use]
    pub fn of_stored(self) -> Self {
        Self {
            is_stored: true,
            ..self
        }
    }

    pub fn add(&mut self, place: impl Into<P>, message: impl Into<String>) {
        if self.found.len() < self.most {
            self.found.push(Found {
                place: place.into(),
                message: message.into(),
            });
        }
    }

    /// Whether it keeps no more, so that it is no use looking for any.
    pub fn is_full(&self) -> bool {
        self.found.len() >= self.most
    }

    /// A mistake that earlier releases did not refuse.
    pub fn add_in_new(&mut self, place: impl Into<P>, message: impl Into<String>) {
        if self.is_stored {
            self.warn(place, message);
        } else {
            self.add(place, message);
        }
    }

    /// Something that can be meant, but probably is not.
    pub fn warn(&mut self, place: impl Into<P>, message: impl Into<String>) {
        if self.warnings.len() < MOST_WARNINGS {
            self.warnings.push(Found {
                place: place.into(),
                message: message.into(),
            });
        }
    }

    pub fn take_warnings(&mut self) -> Vec<Found<P>> {
        std::mem::take(&mut self.warnings)
    }

    pub fn count(&self) -> usize {
        self.found.len()
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Found<P>> {
        self.found.iter()
    }
}

impl<P: Ord> MistakeList<P> {
    /// Puts them in the order of their places; those of one place stay as they were found.
    pub fn sort(&mut self) {
        self.found.sort_by(|a, b| a.place.cmp(&b.place));
    }
}

impl<P> Extend<Found<P>> for MistakeList<P> {
    fn extend<I: IntoIterator<Item = Found<P>>>(&mut self, more: I) {
        for Found { place, message } in more {
            self.add(place, message);
        }
    }
}

impl<P> IntoIterator for MistakeList<P> {
    type Item = Found<P>;
    type IntoIter = std::vec::IntoIter<Found<P>>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.into_iter()
    }
}

impl<'a, P> IntoIterator for &'a MistakeList<P> {
    type Item = &'a Found<P>;
    type IntoIter = std::slice::Iter<'a, Found<P>>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.iter()
    }
}

impl<P: fmt::Display> fmt::Display for Found<P> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.message)
    }
}

/// A line for each.
impl<P: fmt::Display> fmt::Display for MistakeList<P> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, found) in self.found.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(out, "{line_break}{found}")?;
        }
        Ok(())
    }
}

impl<P: fmt::Debug + fmt::Display> Error for MistakeList<P> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_kept_up_to_a_number_and_sorted_by_place() {
        let mut mistakes: MistakeList<u32> = MistakeList::up_to(3);
        for (place, message) in [(2, "a"), (1, "b"), (1, "a"), (0, "beyond the limit")] {
            mistakes.add(place as u32, message);
        }
        mistakes.sort();
        assert_eq!(mistakes.count(), 3);
        assert_eq!(mistakes.to_string(), "1: b\n1: a\n2: a");
    }
}
