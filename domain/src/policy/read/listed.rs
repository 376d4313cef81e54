//! The entries of a list, and the ids that name them.

use crate::document::{Mistakes, Object};
use crate::names::reference_problem;

/// What was read, with the place where each of them names its extension.
pub(super) struct Listed<T> {
    pub(super) items: Vec<T>,
    pub(super) places: Vec<String>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            places: Vec::new(),
        }
    }
}

impl<T> Listed<T> {
    pub(super) fn push(&mut self, item: T, place: String) {
        self.items.push(item);
        self.places.push(place);
    }
}

pub(super) fn read_id(item: &mut Object<'_>, key: &str, mistakes: &mut Mistakes) -> Option<String> {
    let id = item.required_text(key, mistakes)?;
    check_id(id, &item.at(key), mistakes)
}

pub(super) fn check_id(id: String, pointer: &str, mistakes: &mut Mistakes) -> Option<String> {
    let Some(problem) = reference_problem(&id) else {
        return Some(id);
    };
    mistakes.add(pointer, problem);
    None
}

pub(super) fn refuse_repeated<'i>(
    id: Option<&str>,
    mut known: impl Iterator<Item = &'i str>,
    pointer: &str,
    mistakes: &mut Mistakes,
) {
    if let Some(id) = id.filter(|id| known.any(|other| other == *id)) {
        mistakes.add(pointer, format!("{id} is listed twice"));
    }
}
