//! The type an author starts from: which kind of extension, under which id, with which handler.

use std::fmt;
use std::process::ExitCode;

use clap::Parser;

use crate::context::CallContext;
use crate::failure::Failure;
use crate::handler::{self, Handler};
use crate::message::{Edit, Message, Verdict};
use crate::provider::{Completion, Prompt};
use crate::raw::{RawAnswer, RawRequest};
use crate::running::{Running, StartError};
use crate::settings::{CommandLine, Settings};
use crate::{process, running};

/// Where in the pipeline an extension stands. It decides the subject and the form of requests and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pre,
    Validator,
    Post,
    Provider,
}

impl Kind {
    pub(crate) fn subject_part(self) -> &'static str {
        match self {
            Self::Pre => "ext.pre",
            Self::Validator => "ext.validate",
            Self::Post => "ext.post",
            Self::Provider => "provider",
        }
    }

    /// The `type` of the extension in the router's registry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Validator => "validator",
            Self::Post => "post",
            Self::Provider => "provider",
        }
    }
}

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
            handler: handler::edit(handler),
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
            handler: handler::validate(handler),
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
            handler: handler::edit(handler),
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
            handler: handler::provide(handler),
        }
    }

    /// For tests and protocol work: gets the bytes and headers as they came, and answers any bytes, or nothing.
    /// Deadlines are not applied, so that it can also answer too late.
    pub fn raw<F, R>(kind: Kind, id: impl Into<String>, handler: F) -> Self
    where
        F: Fn(RawRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Option<RawAnswer>> + Send + 'static,
    {
        Self {
            id: id.into(),
            kind,
            handler: handler::raw(handler),
        }
    }

    /// The whole program: flags and environment, logging, serving, signals, drain. The exit code is 0 after a clean
    /// stop, 2 for wrong flags, 78 for settings that cannot work, 130 when a second signal cuts the drain short, else 1.
    pub async fn run(self) -> ExitCode {
        let settings = CommandLine::parse().settings;
        self.run_with(&settings).await
    }

    /// As [`Extension::run`], for a program that has parsed its own command line.
    pub async fn run_with(self, settings: &Settings) -> ExitCode {
        process::run(self, settings).await
    }

    /// Serves inside this process on a connection of its own, and returns when the extension answers requests. While
    /// the server cannot be reached it keeps trying; dropping the future gives up.
    ///
    /// # Errors
    /// When names are invalid, the URL or the credentials are unusable, or the server refuses the connection for good.
    pub async fn serve(self, settings: &Settings) -> Result<Running, StartError> {
        running::serve(self, settings).await
    }

    /// As [`Extension::serve`], on a connection that the caller keeps.
    ///
    /// # Errors
    /// As [`Extension::serve`].
    pub async fn serve_on(
        self,
        client: &async_nats::Client,
        settings: &Settings,
    ) -> Result<Running, StartError> {
        running::serve_on(self, client.clone(), settings).await
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
