//! Reads JSON objects from outside: every mistake is collected with its JSON pointer, so that all
//! of them can be shown at once. A repeated key is a mistake everywhere; an unknown one in records
//! and policies, where a typo is an outage.

mod json;
mod located;
mod object;
pub mod pointer;

pub use json::{MAX_DEPTH, check_depth, check_json, kind_of, shorten};
pub use located::{Located, Mistakes, located, mistake};
pub use object::{Object, items};

#[cfg(test)]
mod tests;
