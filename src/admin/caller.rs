//! Who asks for an operation.

use beamline_actors::ports::Author;
use secrecy::SecretString;

/// What an edge knows of who asks.
#[derive(Debug)]
pub struct Caller {
    /// The edge that it came by, for the audit log: `nats-admin`.
    pub source: &'static str,
    /// Who is behind it, as far as somebody says.
    pub actor: Option<String>,
    pub trace_id: Option<String>,
    /// That came beside the body.
    pub key: Option<SecretString>,
    /// Bytes that its edge can carry back.
    pub largest_answer: usize,
}

impl Caller {
    /// As the author of a change.
    pub(super) fn author(&self) -> Author {
        Author {
            source: self.source.to_owned(),
            actor: self.actor.clone(),
            trace_id: self.trace_id.clone(),
            based_on: None,
            if_revision: None,
        }
    }
}
