//! The type an author starts from: which kind of extension, under which id, with which handler.

use std::fmt;

use beamline_contract::discovery::MAX_CONFIG_SCHEMA;
use beamline_contract::record::Kind;
use serde_json::Value;

use crate::context::CallContext;
use crate::failure::Failure;
use crate::handler::Handler;
use crate::message::{Edit, Message, Verdict};
use crate::provider::{Completion, Prompt};
use crate::raw::{RawAnswer, RawRequest};
use crate::start_error::StartError;

/// An extension: an id and what it does with a call.
pub struct Extension {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) handler: Handler,
    pub(crate) config_schema: Option<Value>,
}

impl Extension {
    fn new(id: impl Into<String>, kind: Kind, handler: Handler) -> Self {
        Self {
            id: id.into(),
            kind,
            handler,
            config_schema: None,
        }
    }

    /// Changes a message before the provider is chosen.
    pub fn pre<F, R>(id: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Message, CallContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Edit, Failure>> + Send + 'static,
    {
        Self::new(id, Kind::Pre, Handler::message(handler))
    }

    /// Says whether a message may go on.
    pub fn validator<F, R>(id: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Message, CallContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Verdict, Failure>> + Send + 'static,
    {
        Self::new(id, Kind::Validator, Handler::message(handler))
    }

    /// Changes what the provider answered; the message's payload is the provider's output.
    pub fn post<F, R>(id: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Message, CallContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Edit, Failure>> + Send + 'static,
    {
        Self::new(id, Kind::Post, Handler::message(handler))
    }

    /// Answers a prompt.
    pub fn provider<F, R>(id: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Prompt, CallContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Completion, Failure>> + Send + 'static,
    {
        Self::new(id, Kind::Provider, Handler::provider(handler))
    }

    /// For tests and protocol work: gets the bytes and headers as they came, and answers any bytes,
    /// or nothing. Deadlines are not applied, so that it can also answer too late.
    pub fn raw<F, R>(kind: Kind, id: impl Into<String>, handler: F) -> Self
    where
        F: Fn(RawRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Option<RawAnswer>> + Send + 'static,
    {
        Self::new(id, kind, Handler::raw(handler))
    }

    /// Publishes a JSON Schema of the configuration, so that the router refuses one that breaks it
    /// when it is saved and not when it is used. For a provider it is the schema of `parameters`.
    ///
    /// `schemars::schema_for!(Config)` makes it from the type, `serde_json::json!` by hand. It must
    /// allow what [`CallContext::config`] reads, refers to nothing outside of itself (`$ref` begins
    /// with `#/`), and has at most 64 KiB.
    #[must_use]
    pub fn with_config_schema(mut self, schema: impl Into<Value>) -> Self {
        self.config_schema = Some(schema.into());
        self
    }

    /// The schema of the config as a text.
    pub(crate) fn published_schema(&self) -> Result<Option<String>, StartError> {
        let schema = self.config_schema.as_ref().map(Value::to_string);
        match schema {
            Some(long) if long.len() > MAX_CONFIG_SCHEMA => {
                Err(StartError::ConfigSchemaTooLong(long.len()))
            }
            schema => Ok(schema),
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
