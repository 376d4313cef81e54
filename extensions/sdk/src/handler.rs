//! Puts the four kinds of typed handlers behind one form, so that serving a call needs no generics.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::context::CallContext;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::message::{Edit, Message, Verdict};
use crate::provider::{Completion, Prompt};
use crate::raw::{RawAnswer, RawRequest};

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type ContractFn = dyn Fn(Body, CallContext) -> Pending<Result<Bytes, Failure>> + Send + Sync;
type RawFn = dyn Fn(RawRequest) -> Pending<Option<RawAnswer>> + Send + Sync;

#[derive(Clone)]
pub(crate) enum Handler {
    /// Speaks the contract: gets a decoded body and answers an encoded one.
    Contract(Arc<ContractFn>),
    Raw(Arc<RawFn>),
}

/// Everything that a request to any kind of extension may carry.
#[derive(Debug, Deserialize)]
pub(crate) struct Body {
    #[serde(default)]
    pub(crate) trace_id: Option<String>,
    #[serde(default)]
    pub(crate) tenant_id: Option<String>,
    #[serde(default)]
    pub(crate) request_id: Option<String>,
    #[serde(default)]
    pub(crate) metadata: Fields,
    #[serde(default)]
    pub(crate) config: Option<Box<RawValue>>,
    #[serde(default)]
    payload: Option<Message>,
    #[serde(default)]
    provider_id: Option<String>,
    #[serde(default)]
    prompt: Option<String>,
    #[serde(default)]
    messages: Option<Box<RawValue>>,
    #[serde(default)]
    parameters: Fields,
    #[serde(default)]
    context: Fields,
}

pub(crate) fn edit<F, R>(handler: F) -> Handler
where
    F: Fn(Message, CallContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Edit, Failure>> + Send + 'static,
{
    on_message(handler)
}

pub(crate) fn validate<F, R>(handler: F) -> Handler
where
    F: Fn(Message, CallContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Verdict, Failure>> + Send + 'static,
{
    on_message(handler)
}

pub(crate) fn provide<F, R>(handler: F) -> Handler
where
    F: Fn(Prompt, CallContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Completion, Failure>> + Send + 'static,
{
    let handler = Arc::new(handler);
    Handler::Contract(Arc::new(move |body, call| {
        let handler = Arc::clone(&handler);
        Box::pin(async move {
            let prompt = body.into_prompt(&call)?;
            let provider_id = prompt.provider_id.clone();
            let completion = handler(prompt, call).await?;
            encode(&completion.of(provider_id))
        })
    }))
}

pub(crate) fn raw<F, R>(handler: F) -> Handler
where
    F: Fn(RawRequest) -> R + Send + Sync + 'static,
    R: Future<Output = Option<RawAnswer>> + Send + 'static,
{
    let handler = Arc::new(handler);
    Handler::Raw(Arc::new(move |request| {
        let handler = Arc::clone(&handler);
        Box::pin(async move { handler(request).await })
    }))
}

fn on_message<F, R, A>(handler: F) -> Handler
where
    F: Fn(Message, CallContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<A, Failure>> + Send + 'static,
    A: Serialize,
{
    let handler = Arc::new(handler);
    Handler::Contract(Arc::new(move |body, call| {
        let handler = Arc::clone(&handler);
        Box::pin(async move {
            let message = body
                .payload
                .ok_or_else(|| Failure::invalid_request("missing field `payload`"))?;
            encode(&handler(message, call).await?)
        })
    }))
}

fn encode(answer: &impl Serialize) -> Result<Bytes, Failure> {
    serde_json::to_vec(answer)
        .map(Bytes::from)
        .map_err(|_| Failure::internal("the answer has no JSON form"))
}

impl Body {
    fn into_prompt(self, call: &CallContext) -> Result<Prompt, Failure> {
        if self.prompt.is_none() && self.messages.is_none() {
            return Err(Failure::invalid_request("missing field `prompt`"));
        }
        Ok(Prompt {
            provider_id: self
                .provider_id
                .unwrap_or_else(|| call.extension_id.clone()),
            text: self.prompt.unwrap_or_default(),
            messages: self.messages,
            parameters: self.parameters,
            context: self.context,
        })
    }
}
