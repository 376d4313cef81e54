//! Who asks for an operation: as an edge hears it, and as the router knows it.

use std::sync::Arc;

use beamline_actors::ports::{Author, Nonce};
use beamline_contract::admin::Role;

use super::refusal::Refusal;

/// What an edge heard, none of it checked.
#[derive(Debug, Clone, Default)]
pub struct Asking {
    /// The edge that it came by, for the audit log: `nats-admin`.
    pub source: &'static str,
    /// Where the request was sent.
    pub subject: String,
    /// That came beside the body.
    pub credentials: Credentials,
    pub trace_id: Option<String>,
    /// Bytes that its edge can carry back.
    pub largest_answer: usize,
}

/// The headers by which somebody says who it is.
#[derive(Clone, Default)]
pub struct Credentials {
    pub authorization: Option<String>,
    pub date: Option<String>,
    pub nonce: Option<String>,
    /// One of them was there more than once, so that nobody can say which counts.
    pub ambiguous: bool,
}

/// Whoever asks, as the router knows it.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) source: &'static str,
    /// The id of its key; nobody's word is taken for who is behind it.
    pub(super) key_id: Option<String>,
    /// What it may do, if anything.
    pub(super) role: Option<Role>,
    /// The only one whose matters it sees.
    pub(super) tenant_id: Option<String>,
    pub(super) trace_id: Option<String>,
    pub(super) largest_answer: usize,
    /// Of a signed request.
    pub(super) nonce: Option<Arc<Nonce>>,
    /// Up to which it knows what it writes.
    pub(super) if_revision: Option<u64>,
    /// Why it writes, as far as it says.
    pub(super) reason: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Credentials")
    }
}

impl Caller {
    /// As the author of a change.
    pub(super) fn author(&self) -> Author {
        Author {
            source: self.source.to_owned(),
            actor: self.key_id.clone(),
            role: self.role.map(|role| role.as_str().to_owned()),
            tenant_id: self.tenant_id.clone(),
            reason: self.reason.clone(),
            trace_id: self.trace_id.clone(),
            based_on: None,
            if_revision: self.if_revision,
            nonce: self.nonce.clone(),
        }
    }

    /// Whether it may know of what belongs to this tenant.
    pub(super) fn sees(&self, tenant_id: &str) -> bool {
        self.tenant_id.as_deref().is_none_or(|own| own == tenant_id)
    }

    /// Whether what is shared by all tenants is shown to it in part only.
    pub(super) fn is_of_one_tenant(&self) -> bool {
        self.tenant_id.is_some()
    }

    /// Refused in the words in which what does not exist is refused.
    pub(super) fn check_tenant(&self, tenant_id: &str, name: &str) -> Result<(), Refusal> {
        if self.sees(tenant_id) {
            Ok(())
        } else {
            Err(Refusal::not_found(name))
        }
    }
}
