//! How a call fails. One row says everything that follows from it: see [`CallFailure::row`].

mod answered;
mod class;
pub mod codes;
mod row;

pub use answered::AnsweredFailure;
pub use class::FailureClass;
pub use row::{CallFailure, Consequence, FailureRow, Repeat};

#[cfg(test)]
mod tests;
