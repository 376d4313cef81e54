//! An answer as the contract has it.

use std::borrow::Cow;

use beamline_contract::call::{
    CallAnswer, MessageEdit, STATUS_ERROR, STATUS_OK, STATUS_REJECT, STATUS_SUCCESS,
};
use beamline_contract::fields::Fields;
use beamline_contract::notes::{MAX_NOTES, Notes};
use beamline_contract::record::Kind;
use serde_json::value::RawValue;

use crate::document::check_depth;
use crate::request::endpoint::Answer;
use crate::request::failure::CallFailure;

use super::failed::{self, RetryHints};
use super::model::{Edit, Reply};
use super::wait;

/// What a changed message may name.
const MESSAGE_KEYS: [&str; 4] = ["payload", "metadata", "message_type", "message_id"];
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
        Kind::Pre | Kind::Post => processed(kind, &fields, body),
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

pub(super) fn parse(body: &[u8]) -> Result<CallAnswer<'_>, CallFailure> {
    serde_json::from_str(text(body)?).map_err(|error| CallFailure::Malformed(error.to_string()))
}

/// A JSON object, as far as that shows at its beginning.
pub(super) fn text(body: &[u8]) -> Result<&str, CallFailure> {
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
pub(super) fn is_failure(kind: Kind, fields: &CallAnswer<'_>, body: &str) -> bool {
    let error = fields.error.as_deref().map(RawValue::get);
    let names_one = error.is_some_and(|raw| !matches!(raw, "null" | "false" | "\"\""));
    let status = plain(fields.status.as_deref());
    let has_code = fields
        .error_code
        .as_deref()
        .is_some_and(|raw| raw.get() != "null");
    let says_so = status.as_deref() == Some(STATUS_ERROR) || status.is_none() && has_code;
    let has_answer = fields.output.is_some() || fields.response.is_some();
    names_one || says_so || kind == Kind::Provider && !has_answer && failed::is_foreign_error(body)
}

/// What a processor changes. One that says something that nobody understands may have meant
/// anything.
fn processed(kind: Kind, fields: &CallAnswer<'_>, body: &str) -> Result<Reply, CallFailure> {
    let valid = fields.valid.as_deref().map(RawValue::get);
    let says_what = fields.payload.is_some() || fields.metadata.is_some() || fields.notes.is_some();
    match plain(fields.status.as_deref()).as_deref() {
        None if valid == Some("false") => return Ok(rejection(kind, fields)),
        None if !says_what && !is_empty_object(body) => {
            return Err(malformed(
                "it has none of the fields payload, metadata, status and error",
            ));
        }
        None | Some(STATUS_OK | STATUS_SUCCESS) => {}
        Some(STATUS_REJECT) => return Ok(rejection(kind, fields)),
        Some(_) => {
            return Err(malformed(
                "its status is none of ok, success, reject and error",
            ));
        }
    }
    edit(kind, fields)
}

fn edit(kind: Kind, fields: &CallAnswer<'_>) -> Result<Reply, CallFailure> {
    let payload = match fields.payload.as_deref() {
        Some(raw) if raw.get() != "null" => Some(message_edit(raw)?),
        Some(_) | None => None,
    };
    Ok(Reply::Edit {
        payload,
        metadata: metadata(fields.metadata.as_deref())?,
        notes: notes(kind, fields)?,
    })
}

/// A message with what changes in it, or just the new payload of the message.
fn message_edit(raw: &RawValue) -> Result<Edit, CallFailure> {
    if !raw.get().starts_with('{') {
        return Ok(Edit {
            payload: Some(raw.to_owned()),
            message_type: None,
            metadata: None,
        });
    }
    let edit = any_edit(raw)?;
    let names_nothing =
        edit.payload.is_none() && edit.message_type.is_none() && edit.metadata.is_none();
    let names_its_message = || {
        let fields = Fields::parse(raw.get()).unwrap_or_default();
        MESSAGE_KEYS.iter().any(|key| fields.get(key).is_some())
    };
    if names_nothing && !names_its_message() {
        return Err(malformed(
            "its payload is no message: it has none of the fields payload, metadata, message_type and message_id",
        ));
    }
    Ok(edit)
}

pub(super) fn any_edit(raw: &RawValue) -> Result<Edit, CallFailure> {
    let edit: MessageEdit<'_> = serde_json::from_str(raw.get())
        .map_err(|error| CallFailure::Malformed(format!("its payload is no message: {error}")))?;
    Ok(Edit {
        payload: edit.payload.map(Cow::into_owned),
        message_type: edit.message_type.map(Cow::into_owned),
        metadata: edit.metadata.map(Cow::into_owned),
    })
}

/// A guardrail that says nothing has not said yes.
fn verdict(fields: &CallAnswer<'_>) -> Result<Reply, CallFailure> {
    let status = plain(fields.status.as_deref());
    let valid = fields.valid.as_deref().map(RawValue::get);
    match (status.as_deref(), valid) {
        (Some(STATUS_OK), None | Some("true" | "null")) | (None, Some("true")) => {
            let notes = notes(Kind::Validator, fields)?;
            Ok(Reply::Accept { notes })
        }
        (Some(STATUS_REJECT), _) | (None, Some("false")) => Ok(rejection(Kind::Validator, fields)),
        (Some(STATUS_OK), Some(_)) => Err(malformed("its status is ok, and valid is not true")),
        (None, None) => Err(malformed(
            "it has no status, so it says neither ok nor reject",
        )),
        (_, _) => Err(malformed("its status is neither ok nor reject")),
    }
}

/// A rejection stays one, whatever its notes are.
pub(super) fn rejection(kind: Kind, fields: &CallAnswer<'_>) -> Reply {
    Reply::Reject {
        reason: plain(fields.reason.as_deref())
            .map_or_else(|| "rejected".to_owned(), |reason| failed::told(&reason)),
        details: fields.details.as_deref().map(RawValue::to_owned),
        notes: notes(kind, fields).ok().flatten(),
    }
}

/// `{"output": ..}`, or the older `{"status": "success", "response": {"output": ..}}`.
fn completion(fields: &CallAnswer<'_>) -> Result<Reply, CallFailure> {
    let older = fields.response.as_deref().map(RawValue::get);
    let older: CallAnswer<'_> = older
        .and_then(|raw| serde_json::from_str(raw).ok())
        .unwrap_or_default();
    let output = fields
        .output
        .as_deref()
        .or(older.output.as_deref())
        .or(older.payload.as_deref());
    let Some(output) = output else {
        return Err(malformed("it has no output"));
    };
    let usage = fields.usage.as_deref().or(older.usage.as_deref());
    Ok(Reply::Completion {
        output: output.to_owned(),
        usage: usage.map(RawValue::to_owned),
        metadata: metadata(fields.metadata.as_deref().or(older.metadata.as_deref()))?,
    })
}

pub(super) fn metadata(raw: Option<&RawValue>) -> Result<Fields, CallFailure> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
        return Ok(Fields::default());
    };
    if raw.get().len() > MAX_METADATA {
        let problem = format!("its metadata is longer than {MAX_METADATA} bytes");
        return Err(CallFailure::Malformed(problem));
    }
    Fields::parse(raw.get()).map_err(|_| malformed("its metadata is not an object"))
}

/// What comes after the provider has nobody to hand notes to.
fn notes(kind: Kind, fields: &CallAnswer<'_>) -> Result<Option<Notes>, CallFailure> {
    let given = fields
        .notes
        .as_deref()
        .filter(|raw| kind != Kind::Post && raw.get() != "null");
    match given {
        Some(raw) if raw.get().len() > MAX_NOTES => Err(CallFailure::Malformed(format!(
            "its notes are longer than {MAX_NOTES} bytes"
        ))),
        Some(raw) => Ok(Some(Notes::new(raw.to_owned()))),
        None => Ok(None),
    }
}

fn is_empty_object(body: &str) -> bool {
    Fields::parse(body).is_ok_and(|fields| fields.is_empty())
}

/// A string as it is, anything else as it was written; `null` is nothing.
pub(super) fn plain(raw: Option<&RawValue>) -> Option<String> {
    let raw = raw.filter(|raw| raw.get() != "null")?;
    Some(serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned()))
}

fn malformed(problem: &str) -> CallFailure {
    CallFailure::Malformed(problem.to_owned())
}
