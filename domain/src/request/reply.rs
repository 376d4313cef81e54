//! What an extension answered (contract section 2): read into what it means, all forms of failure
//! among it.

use std::time::Duration;

use beamline_contract::call::{CallAnswer, MessageEdit, STATUS_ERROR, STATUS_OK, STATUS_REJECT};
use beamline_contract::fields::Fields;
use beamline_contract::record::Kind;
use serde_json::value::RawValue;

use crate::document::check_depth;
use crate::request::endpoint::Answer;
use crate::request::failure::{AnsweredFailure, CallFailure};

/// What an extension answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Pre and post: what they change.
    Edit {
        payload: Option<Edit>,
        metadata: Fields,
    },
    Accept,
    Reject {
        reason: String,
        details: Option<Box<RawValue>>,
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

/// The metadata that one answer may add to the context, in bytes.
const MAX_METADATA: usize = 64 * 1024;
/// Longer waits than this that an extension asks for are not taken over.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(10);

/// Reads an answer. What the body says of another attempt goes before the headers.
pub fn read(kind: Kind, answer: &Answer) -> Result<Reply, CallFailure> {
    let hints = RetryHints::of_headers(answer);
    if let Some((code, message)) = &answer.service_error {
        return Err(service_error(*code, message, &answer.body, hints));
    }
    let fields = parse(&answer.body)?;
    if let Some(failure) = failure_in(&fields, hints) {
        return Err(CallFailure::Answered(failure));
    }
    match kind {
        Kind::Pre | Kind::Post => edit(&fields),
        Kind::Validator => verdict(&fields),
        Kind::Provider => completion(&fields),
    }
}

/// What an answer says of another attempt.
#[derive(Debug, Clone, Copy)]
struct RetryHints {
    retryable: Option<bool>,
    retry_after: Option<Duration>,
}

impl RetryHints {
    fn of_headers(answer: &Answer) -> Self {
        Self {
            retryable: answer.retryable,
            retry_after: answer.retry_after.filter(|wait| *wait <= MAX_RETRY_AFTER),
        }
    }
}

/// An error that the answer's headers tell of. Its body may be anything, an error with more to say
/// among it.
fn service_error(
    code: Option<u16>,
    message: &str,
    body: &[u8],
    headers: RetryHints,
) -> CallFailure {
    let in_body = parse(body)
        .ok()
        .and_then(|fields| failure_in(&fields, headers));
    let hints = in_body.map_or(headers, |failure| RetryHints {
        retryable: failure.retryable,
        retry_after: failure.retry_after,
    });
    CallFailure::Answered(AnsweredFailure {
        code: code.map_or_else(|| "service_error".to_owned(), |code| code.to_string()),
        message: message.to_owned(),
        retryable: hints.retryable,
        retry_after: hints.retry_after,
    })
}

fn parse(body: &[u8]) -> Result<CallAnswer<'_>, CallFailure> {
    if body.is_empty() || check_depth(body).is_err() {
        return Err(malformed("it is empty or nested too deeply"));
    }
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(malformed("it is not a JSON object"));
    }
    let json = std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))?;
    serde_json::from_str(json).map_err(|error| CallFailure::Malformed(error.to_string()))
}

/// `{"error": {..}}` and `{"status": "error", ..}`. However odd it is otherwise, somebody says that
/// it failed: what can be read is kept.
fn failure_in(fields: &CallAnswer<'_>, headers: RetryHints) -> Option<AnsweredFailure> {
    if let Some(error) = fields.error.as_deref().filter(|raw| raw.get() != "null") {
        return Some(described_error(error, headers));
    }
    if plain(fields.status.as_deref()).as_deref() != Some(STATUS_ERROR) {
        return None;
    }
    Some(AnsweredFailure {
        code: plain(fields.error_code.as_deref()).unwrap_or_else(|| "error".to_owned()),
        message: plain(fields.error_message.as_deref()).unwrap_or_default(),
        retryable: headers.retryable,
        retry_after: headers.retry_after,
    })
}

fn described_error(error: &RawValue, headers: RetryHints) -> AnsweredFailure {
    let fields = Fields::parse(error.get()).unwrap_or_default();
    let message = if fields.is_empty() {
        plain(Some(error))
    } else {
        plain(fields.get("message"))
    };
    let wait = fields
        .number("retry_after_ms")
        .and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok())
        .filter(|wait| *wait <= MAX_RETRY_AFTER);
    AnsweredFailure {
        code: plain(fields.get("code")).unwrap_or_else(|| "error".to_owned()),
        message: message.unwrap_or_default(),
        retryable: plain(fields.get("retryable"))
            .map(|word| word == "true")
            .or(headers.retryable),
        retry_after: wait.or(headers.retry_after),
    }
}

fn edit(fields: &CallAnswer<'_>) -> Result<Reply, CallFailure> {
    let payload = match &fields.payload {
        Some(raw) if raw.get() != "null" => Some(message_edit(raw)?),
        Some(_) | None => None,
    };
    Ok(Reply::Edit {
        payload,
        metadata: metadata(fields)?,
    })
}

fn message_edit(raw: &RawValue) -> Result<Edit, CallFailure> {
    let edit: MessageEdit<'_> = serde_json::from_str(raw.get())
        .map_err(|error| CallFailure::Malformed(format!("its payload is no message: {error}")))?;
    Ok(Edit {
        payload: edit.payload.map(std::borrow::Cow::into_owned),
        message_type: edit.message_type.map(std::borrow::Cow::into_owned),
        metadata: edit.metadata.map(std::borrow::Cow::into_owned),
    })
}

fn verdict(fields: &CallAnswer<'_>) -> Result<Reply, CallFailure> {
    match plain(fields.status.as_deref()).as_deref() {
        None | Some(STATUS_OK) => Ok(Reply::Accept),
        Some(STATUS_REJECT) => Ok(Reply::Reject {
            reason: plain(fields.reason.as_deref()).unwrap_or_else(|| "rejected".to_owned()),
            details: fields.details.as_deref().map(RawValue::to_owned),
        }),
        Some(_) => Err(malformed("its status is neither ok nor reject")),
    }
}

fn completion(fields: &CallAnswer<'_>) -> Result<Reply, CallFailure> {
    let Some(output) = fields.output.as_deref() else {
        return Err(malformed("it has no output"));
    };
    Ok(Reply::Completion {
        output: output.to_owned(),
        usage: fields.usage.as_deref().map(RawValue::to_owned),
        metadata: metadata(fields)?,
    })
}

fn metadata(fields: &CallAnswer<'_>) -> Result<Fields, CallFailure> {
    let Some(raw) = fields.metadata.as_deref().filter(|raw| raw.get() != "null") else {
        return Ok(Fields::default());
    };
    if raw.get().len() > MAX_METADATA {
        let problem = format!("its metadata is longer than {MAX_METADATA} bytes");
        return Err(CallFailure::Malformed(problem));
    }
    Fields::parse(raw.get()).map_err(|_| malformed("its metadata is not an object"))
}

/// A string as it is, anything else as it was written; `null` is nothing.
fn plain(raw: Option<&RawValue>) -> Option<String> {
    let raw = raw.filter(|raw| raw.get() != "null")?;
    Some(serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned()))
}

fn malformed(problem: &str) -> CallFailure {
    CallFailure::Malformed(problem.to_owned())
}

#[cfg(test)]
mod tests;
