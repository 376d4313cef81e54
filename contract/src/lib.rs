//! Wire contract, version 1: everything that crosses a process boundary, each thing once.
//!
//! Router, command line, SDK and tests use these types. A field name stands here and nowhere else.

pub mod header;
pub mod subject;

pub mod request;

pub mod message;
pub mod notes;

pub mod answer;
pub mod details;
pub mod error;
pub mod failure;

pub mod call;
pub mod discovery;

mod kind;
pub mod policy;
pub mod record;

pub mod admin;
pub mod control;
pub mod trace;

pub mod escape;
pub mod fields;
pub mod limits;
pub mod mistake;
#[cfg(feature = "schema")]
mod schema;
pub mod time;
pub mod word;

#[cfg(test)]
mod other_versions;
