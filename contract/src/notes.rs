//! What an extension keeps with a request for another face of its own program (contract section
//! 2).

use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

/// Longest notes of one answer, in bytes.
pub const MAX_NOTES: usize = 16 * 1024;

/// Any JSON. It may hold what was masked, so its debug form does not show it.
#[derive(Clone)]
pub struct Notes(Arc<RawValue>);

impl Notes {
    pub fn new(json: Box<RawValue>) -> Self {
        Self(json.into())
    }

    pub fn json(&self) -> &RawValue {
        &self.0
    }
}

impl PartialEq for Notes {
    fn eq(&self, other: &Self) -> bool {
        self.json().get() == other.json().get()
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Notes({} bytes)", self.0.get().len())
    }
}
