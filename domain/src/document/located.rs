//! What is wrong with a document, and where in its text.

use beamline_contract::mistake::Mistake;
use serde::Serialize;

use super::pointer::{self, Place};
use crate::mistakes::Found;
use crate::position::Position;

/// A mistake with its place in the text, for somebody who has it in an editor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Located {
    #[serde(flatten)]
    pub position: Position,
    #[serde(flatten)]
    pub mistake: Mistake,
}

/// Whoever made more mistakes mends these first. The list is part of an answer, so it has an end.
pub(super) const MAX_MISTAKES: usize = 20;

/// Everything found wrong so far with a document.
pub type Mistakes = crate::mistakes::MistakeList<Place>;

impl Default for Mistakes {
    fn default() -> Self {
        Self::up_to(MAX_MISTAKES)
    }
}

impl Mistakes {
    /// `value` if nothing was wrong, otherwise all mistakes.
    pub fn into_result<T>(self, value: Option<T>) -> Result<T, Vec<Mistake>> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            _ => Err(self.into_iter().map(mistake).collect()),
        }
    }

    /// All mistakes in the order of the text that they were found in.
    pub fn located_in(self, json: &str) -> Vec<Located> {
        let mut located = Vec::with_capacity(self.count());
        for found in self {
            let position = pointer::position(json, &found.place);
            let mistake = mistake(found);
            located.push(Located { position, mistake });
        }
        located.sort_by_key(|located| located.position);
        located
    }
}

/// With its place in the text that it was found in.
pub fn located(mistake: &Mistake, json: &str) -> Located {
    let place = Place::from(mistake.pointer.clone());
    Located {
        position: pointer::position(json, &place),
        mistake: mistake.clone(),
    }
}

/// As it crosses the wire.
pub fn mistake(found: Found<Place>) -> Mistake {
    Mistake {
        pointer: found.place.pointer,
        message: found.message,
    }
}
