//! What an answer may say.

use beamline_contract::fields::Fields;
use beamline_contract::notes::Notes;
use serde_json::value::RawValue;

use crate::request::failure::CallFailure;

/// What an extension answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Pre and post: what they change.
    Edit {
        payload: Option<Edit>,
        metadata: Fields,
        notes: Option<Notes>,
    },
    Accept {
        notes: Option<Notes>,
    },
    Reject {
        reason: String,
        details: Option<Box<RawValue>>,
        notes: Option<Notes>,
    },
    Completion {
        output: Box<RawValue>,
        usage: Option<Box<RawValue>>,
        metadata: Fields,
    },
}

/// A changed message. Its id cannot be changed: it belongs to the request.
#[derive(Debug, Clone)]
pub struct Edit {
    pub payload: Option<Box<RawValue>>,
    pub message_type: Option<String>,
    pub metadata: Option<Fields>,
}

/// Whether an answer is held to the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    #[default]
    Refuse,
    /// What the release before took is taken once more.
    Warn,
}

/// An answer as it was understood.
#[derive(Debug)]
pub struct Read {
    pub result: Result<Reply, CallFailure>,
    /// Why it would be refused, were it not for [`Strictness::Warn`].
    pub tolerated: Option<&'static str>,
}
