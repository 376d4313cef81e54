//! What an extension answered (contract section 2): read into what it means, all forms of failure
//! among it.

use beamline_contract::record::Kind;

use crate::request::endpoint::Answer;

pub mod content;
mod failed;
mod model;
mod older;
mod read;
mod wait;

pub use model::{Edit, Read, Reply, Strictness};
pub use read::read;

/// Reads an answer, and takes what the release before took where that is wanted.
pub fn read_with(strictness: Strictness, kind: Kind, answer: &Answer) -> Read {
    let result = read(kind, answer);
    let tolerated = match strictness {
        Strictness::Refuse => None,
        Strictness::Warn => older::read(kind, &answer.body, &result),
    };
    match tolerated {
        Some((reply, problem)) => Read {
            result: Ok(reply),
            tolerated: Some(problem),
        },
        None => Read {
            result,
            tolerated: None,
        },
    }
}

#[cfg(test)]
mod tests;
