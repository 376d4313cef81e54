//! A tenant's policy (contract section 4): which extensions run, in which order, and what happens
//! when one fails.
//!
//! There is one model. Every form of the document is brought into it where it is read.

mod entry;
mod fallback;
mod logic;
mod model;
mod places;

mod read;
mod write;

pub mod complexity;
pub mod diff;
pub mod waves;

#[cfg(any(test, feature = "testing"))]
pub mod invariants;
#[cfg(test)]
mod tests;

pub use entry::{EntryWhen, Terms};
pub use fallback::{Backoff, Fallback, When};
pub use model::{EntryConfig, Policy, Processor, Provider, Sticky, Validator};
pub use read::Checked;
