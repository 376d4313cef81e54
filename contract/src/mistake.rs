//! What is wrong with a document, and where.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Mistake {
    /// JSON pointer (RFC 6901); empty for the document itself.
    pub pointer: String,
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() {
            "(document)"
        } else {
            &self.pointer
        };
        write!(out, "{place}: {}", self.message)
    }
}
