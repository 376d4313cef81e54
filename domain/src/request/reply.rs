//! What an extension answered (contract section 2): read into what it means, all forms of failure
//! among it.

mod failed;
mod wait;

use beamline_contract::call::{CallAnswer, MessageEdit, STATUS_ERROR, STATUS_OK, STATUS_REJECT};
use beamline_contract::fields::Fields;
use beamline_contract::record::Kind;
use serde_json::value::RawValue;

use crate::document::check_depth;
use crate::request::endpoint::Answer;
use crate::request::failure::CallFailure;

use failed::RetryHints;

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

/// Reads an answer. What the body says of another attempt goes before the headers.
pub fn read(kind: Kind, answer: &Answer) -> Result<Reply, CallFailure> {
    if let Some((code, message)) = &answer.service_error {
        let body = text(&answer.body).unwrap_or("{}");
        let failure = failed::read_service_error(*code, message, body, hints(answer));
        return Err(CallFailure::Answered(failure));
    }
    let body = text(&answer.body)?;
    let fields = parse(&answer.body)?;
    if is_failure(kind, &fields, body) {
        let failure = failed::read(body, hints(answer));
        return Err(CallFailure::Answered(failure));
    }
    match kind {
        Kind::Pre | Kind::Post => edit(&fields),
        Kind::Validator => verdict(&fields),
        Kind::Provider => completion(&fields),
    }
}

fn hints(answer: &Answer) -> RetryHints {
    RetryHints {
        retryable: answer.retryable,
        retry_after: answer.retry_after.and_then(wait::bounded),
    }
}

fn parse(body: &[u8]) -> Result<CallAnswer<'_>, CallFailure> {
    serde_json::from_str(text(body)?).map_err(|error| CallFailure::Malformed(error.to_string()))
}

/// A JSON object, as far as that shows at its beginning.
fn text(body: &[u8]) -> Result<&str, CallFailure> {
    if body.is_empty() || check_depth(body).is_err() {
        return Err(malformed("it is empty or nested too deeply"));
    }
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(malformed("it is not a JSON object"));
    }
    std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))
}

/// `{"error": {..}}` and `{"status": "error", ..}`; from a provider also any other error without
/// an output. An empty `error` beside an answer is none.
fn is_failure(kind: Kind, fields: &CallAnswer<'_>, body: &str) -> bool {
    let error = fields.error.as_deref().map(RawValue::get);
    let names_one = error.is_some_and(|raw| !matches!(raw, "null" | "false" | "\"\""));
    let says_so = plain(fields.status.as_deref()).as_deref() == Some(STATUS_ERROR);
    let has_answer = fields.output.is_some() || fields.response.is_some();
    names_one || says_so || kind == Kind::Provider && !has_answer && failed::is_foreign_error(body)
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
            reason: plain(fields.reason.as_deref())
                .map_or_else(|| "rejected".to_owned(), |reason| failed::told(&reason)),
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
