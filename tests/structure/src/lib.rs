//! Which file of the workspace imports from which, read from the sources, and the circles among
//! them.
//!
//! An import counts as one of the file that defines the name, however many files re-export it on
//! the way. Code that only tests see does not count, and neither does a file that only declares
//! modules and re-exports their names.

pub mod graph;
pub mod workspace;

mod declarations;
mod resolve;
