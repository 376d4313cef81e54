//! What the release before took for an answer, for [`Strictness::Warn`](super::Strictness::Warn):
//! a validator without a verdict let everything through, and nobody looked at what a processor
//! said.

use beamline_contract::call::{STATUS_OK, STATUS_REJECT};
use beamline_contract::record::Kind;

use super::model::Reply;
use super::read::{any_edit, metadata, parse, plain, rejection};
use crate::request::failure::CallFailure;

/// What it would have made of an answer that is refused now, and why that is refused.
pub(super) fn read(
    kind: Kind,
    body: &[u8],
    now: &Result<Reply, CallFailure>,
) -> Option<(Reply, &'static str)> {
    match (kind, now) {
        (Kind::Validator, Err(CallFailure::Malformed(_))) => {
            Some((verdict(body)?, "it has no status, and counts as ok"))
        }
        (Kind::Validator, Ok(Reply::Reject { .. })) => {
            let reply = verdict(body)?;
            let was_taken = matches!(reply, Reply::Accept { .. });
            was_taken.then_some((reply, "it says valid: false, and counts as ok"))
        }
        (Kind::Pre | Kind::Post, Err(CallFailure::Malformed(_))) => Some((
            processed(body)?,
            "it is no answer, and counts as one that changes nothing",
        )),
        (Kind::Pre | Kind::Post, Ok(Reply::Reject { .. })) => Some((
            processed(body)?,
            "it rejects the message, and counts as success",
        )),
        (_, _) => None,
    }
}

fn verdict(body: &[u8]) -> Option<Reply> {
    let fields = parse(body).ok()?;
    match plain(fields.status.as_deref()).as_deref() {
        None | Some(STATUS_OK) => Some(Reply::Accept { notes: None }),
        Some(STATUS_REJECT) => Some(rejection(Kind::Validator, &fields)),
        Some(_) => None,
    }
}

fn processed(body: &[u8]) -> Option<Reply> {
    let fields = parse(body).ok()?;
    let payload = match fields.payload.as_deref() {
        Some(raw) if raw.get() != "null" => Some(any_edit(raw).ok()?),
        Some(_) | None => None,
    };
    Some(Reply::Edit {
        payload,
        metadata: metadata(fields.metadata.as_deref()).ok()?,
        notes: None,
    })
}
