//! What an entry of a stage may say besides its extension: when it runs, and how long it may take.

use std::time::Duration;

use serde_json::value::{RawValue, to_raw_value};

use super::logic::Logic;
use crate::conditions::{Conditions, Facts};

/// The terms of an entry.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Terms {
    /// `None`: always.
    pub when: Option<EntryWhen>,
    /// Less than its record gives; more is not given.
    pub timeout: Option<Duration>,
}

/// Which requests an entry is for. It is asked when its stage begins, so that what earlier stages
/// found out counts.
#[derive(Debug, Clone)]
pub enum EntryWhen {
    /// Keys that must be equal, as in routing rules.
    Equal(Conditions),
    /// JsonLogic, and how it was written.
    Logic(Logic, Box<RawValue>),
}

impl PartialEq for EntryWhen {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Equal(a), Self::Equal(b)) => a == b,
            (Self::Logic(a, _), Self::Logic(b, _)) => a == b,
            (Self::Equal(_), Self::Logic(..)) | (Self::Logic(..), Self::Equal(_)) => false,
        }
    }
}

impl EntryWhen {
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Equal(conditions) => conditions.matches(facts),
            Self::Logic(logic, _) => logic.holds(facts),
        }
    }

    /// As it goes into a document.
    pub fn to_raw(&self) -> Box<RawValue> {
        match self {
            Self::Equal(conditions) => to_raw_value(&conditions.to_fields()).unwrap_or_default(),
            Self::Logic(_, written) => written.clone(),
        }
    }
}
