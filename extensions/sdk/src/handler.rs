//! Puts the kinds of typed handlers behind one form, so that serving a call needs no generics.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;

use beamline_contract::call::CallBody;
use bytes::Bytes;
use serde::Serialize;

use crate::context::CallContext;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::message::Message;
use crate::provider::{Completion, Prompt};
use crate::raw::{RawAnswer, RawRequest};

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type ContractFn =
    dyn Fn(CallBody<'_>, CallContext) -> Pending<Result<Bytes, Failure>> + Send + Sync;
type RawFn = dyn Fn(RawRequest) -> Pending<Option<RawAnswer>> + Send + Sync;

#[derive(Clone)]
pub(crate) enum Handler {
    /// Speaks the contract: gets a decoded body and answers an encoded one.
    Contract(Arc<ContractFn>),
    Raw(Arc<RawFn>),
}

impl Handler {
    pub(crate) fn message<F, R, A>(handler: F) -> Self
    where
        F: Fn(Message, CallContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<A, Failure>> + Send + 'static,
        A: Serialize,
    {
        let handler = Arc::new(handler);
        Self::Contract(Arc::new(move |body, call| {
            let handler = Arc::clone(&handler);
            let message = message_of(body);
            Box::pin(async move { encode(&handler(message?, call).await?) })
        }))
    }

    pub(crate) fn provider<F, R>(handler: F) -> Self
    where
        F: Fn(Prompt, CallContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Completion, Failure>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        Self::Contract(Arc::new(move |body, call| {
            let handler = Arc::clone(&handler);
            let prompt = prompt_of(body, &call);
            Box::pin(async move {
                let prompt = prompt?;
                let provider_id = prompt.provider_id.clone();
                let completion = handler(prompt, call).await?;
                encode(&completion.of(provider_id))
            })
        }))
    }

    pub(crate) fn raw<F, R>(handler: F) -> Self
    where
        F: Fn(RawRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Option<RawAnswer>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        Self::Raw(Arc::new(move |request| {
            let handler = Arc::clone(&handler);
            Box::pin(async move { handler(request).await })
        }))
    }
}

fn message_of(body: CallBody<'_>) -> Result<Message, Failure> {
    body.payload
        .map(Message::from_body)
        .ok_or_else(|| Failure::invalid_request("missing field `payload`"))
}

fn prompt_of(body: CallBody<'_>, call: &CallContext) -> Result<Prompt, Failure> {
    if body.prompt.is_none() && body.messages.is_none() {
        return Err(Failure::invalid_request("missing field `prompt`"));
    }
    let provider_id = body.provider_id.map(Cow::into_owned);
    Ok(Prompt {
        provider_id: provider_id.unwrap_or_else(|| call.extension_id.clone()),
        message_type: body.message_type.map(Cow::into_owned).unwrap_or_default(),
        text: body.prompt.map(Cow::into_owned).unwrap_or_default(),
        messages: body.messages,
        parameters: Fields::from_contract(body.parameters),
        context: Fields::from_contract(body.context),
    })
}

fn encode(answer: &impl Serialize) -> Result<Bytes, Failure> {
    serde_json::to_vec(answer)
        .map(Bytes::from)
        .map_err(|_| Failure::internal("the answer has no JSON form"))
}
