//! The type an author starts from: which kind of extension, under which id, with which handler.

use std::fmt;

use beamline_contract::record::Kind;

use crate::context::CallContext;
use crate::failure::Failure;
use crate::handler::Handler;
use crate::message::{Edit, Message, Verdict};
use crate::provider::{Completion, Prompt};
use crate::raw::{RawAnswer, RawRequest};

/// An extension: an id and what it does with a call.
pub struct Extension {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) handler: Handler,
}

impl Extension {
    /// Changes a message before the provider is chosen.
    pub fn pre<F, R>(id: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Message, CallContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Edit, Failure>> + Send + 'static,
    {
        Self {
            id: id.into(),
            kind: Kind::Pre,
            handler: Handler::message(handler),
        }
    }

    /// Says whether a message may go on.
    pub fn validator<F, R>(id: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Message, CallContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Verdict, Failure>> + Send + 'static,
    {
        Self {
            id: id.into(),
            kind: Kind::Validator,
            handler: Handler::message(handler),
        }
    }

    /// Changes what the provider answered; the message's payload is the provider's output.
    pub fn post<F, R>(id: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Message, CallContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Edit, Failure>> + Send + 'static,
    {
        Self {
            id: id.into(),
            kind: Kind::Post,
            handler: Handler::message(handler),
        }
    }

    /// Answers a prompt.
    pub fn provider<F, R>(id: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Prompt, CallContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Completion, Failure>> + Send + 'static,
    {
        Self {
            id: id.into(),
            kind: Kind::Provider,
            handler: Handler::provider(handler),
        }
    }

    /// For tests and protocol work: gets the bytes and headers as they came, and answers any bytes,
    /// or nothing. Deadlines are not applied, so that it can also answer too late.
    pub fn raw<F, R>(kind: Kind, id: impl Into<String>, handler: F) -> Self
    where
        F: Fn(RawRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Option<RawAnswer>> + Send + 'static,
    {
        Self {
            id: id.into(),
            kind,
            handler: Handler::raw(handler),
        }
    }
}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extension")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
