//! What pre-processors, validators and post-processors see and answer.

use std::borrow::Cow;

use beamline_contract::call::{CallAnswer, STATUS_OK, STATUS_REJECT};
use beamline_contract::message::MessageBody;
use beamline_contract::notes::{MAX_NOTES, Notes};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::answer_part::part;
use crate::failure::{Failure, describe};
use crate::fields::Fields;

/// The message on its way through the pipeline; for a post-processor, the provider's output.
#[derive(Clone, Debug)]
pub struct Message {
    pub message_id: String,
    pub message_type: String,
    /// Any JSON value, as it was written.
    pub payload: Box<RawValue>,
    pub metadata: Fields,
}

impl Message {
    /// The payload as a type of the handler's own.
    ///
    /// # Errors
    /// `invalid_request` when the payload has another form; the text never repeats the payload.
    pub fn payload_as<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(self.payload.get())
            .map_err(|error| Failure::invalid_request(format!("payload: {}", describe(&error))))
    }

    /// The same message with another payload.
    ///
    /// # Errors
    /// `internal` when the value has no JSON form.
    pub fn with_payload(self, payload: &(impl Serialize + ?Sized)) -> Result<Self, Failure> {
        let payload = to_raw_value(payload)
            .map_err(|_| Failure::internal("the new payload has no JSON form"))?;
        Ok(Self { payload, ..self })
    }

    pub(crate) fn from_body(body: MessageBody<'_>) -> Self {
        Self {
            message_id: body.message_id.into_owned(),
            message_type: body.message_type.into_owned(),
            payload: body.payload.into_owned(),
            metadata: Fields::from_contract(Some(body.metadata.into_owned())),
        }
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        MessageBody::deserialize(deserializer).map(Self::from_body)
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let body = MessageBody {
            message_id: Cow::Borrowed(&self.message_id),
            message_type: Cow::Borrowed(&self.message_type),
            payload: Cow::Borrowed(&self.payload),
            metadata: Cow::Borrowed(self.metadata.as_contract()),
        };
        body.serialize(serializer)
    }
}

/// What a pre- or post-processor wants changed.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    message: Option<Message>,
    metadata: Fields,
    notes: Option<Notes>,
}

impl Edit {
    /// Leaves the message as it is.
    pub fn unchanged() -> Self {
        Self::default()
    }

    /// Puts this message in the place of the one received.
    pub fn replace(message: Message) -> Self {
        Self {
            message: Some(message),
            ..Self::default()
        }
    }

    /// Adds to the request's context, for all later stages and the answer.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: &impl Serialize) -> Self {
        self.metadata.insert(key, value);
        self
    }

    /// Keeps notes with the request for the other faces of this program: for an extension whose
    /// `notes_of` names this one, and for nobody else. At most 16 KiB; a pre-processor's only.
    ///
    /// # Errors
    /// `internal` when the value has no JSON form, `notes_too_long`.
    pub fn with_notes(mut self, notes: &impl Serialize) -> Result<Self, Failure> {
        self.notes = Some(written_notes(notes)?);
        Ok(self)
    }
}

fn written_notes(notes: &impl Serialize) -> Result<Notes, Failure> {
    let notes =
        to_raw_value(notes).map_err(|_| Failure::internal("the notes have no JSON form"))?;
    if notes.get().len() > MAX_NOTES {
        let sentence = format!("the notes are longer than {MAX_NOTES} bytes");
        return Err(Failure::new("notes_too_long", sentence));
    }
    Ok(Notes::new(notes))
}

impl Serialize for Edit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut answer = CallAnswer::default();
        if let Some(message) = &self.message {
            answer.payload = Some(part(message)?);
        }
        if !self.metadata.is_empty() {
            answer.metadata = Some(part(&self.metadata)?);
        }
        answer.notes = self.notes.as_ref().map(Notes::json).map(Cow::Borrowed);
        answer.serialize(serializer)
    }
}

/// What a validator says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Ok,
    /// The same, with notes; [`Verdict::ok_with_notes`] makes it.
    Noted(Notes),
    Reject {
        /// A stable code, such as `pii_detected`.
        reason: String,
        /// Null when there are none.
        details: Value,
    },
}

impl Verdict {
    /// The message may go on, and notes are kept as [`Edit::with_notes`] keeps them.
    ///
    /// # Errors
    /// As [`Edit::with_notes`].
    pub fn ok_with_notes(notes: &impl Serialize) -> Result<Self, Failure> {
        written_notes(notes).map(Self::Noted)
    }

    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject {
            reason: reason.into(),
            details: Value::Null,
        }
    }

    /// As [`Verdict::reject`], with an object that explains it. Never put the payload's text into
    /// it.
    pub fn reject_with(reason: impl Into<String>, details: Value) -> Self {
        Self::Reject {
            reason: reason.into(),
            details,
        }
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut answer = CallAnswer::default();
        match self {
            Self::Ok => answer.status = Some(part(STATUS_OK)?),
            Self::Noted(notes) => {
                answer.status = Some(part(STATUS_OK)?);
                answer.notes = Some(Cow::Borrowed(notes.json()));
            }
            Self::Reject { reason, details } => {
                answer.status = Some(part(STATUS_REJECT)?);
                answer.reason = Some(part(reason)?);
                if !details.is_null() {
                    answer.details = Some(part(details)?);
                }
            }
        }
        answer.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_the_contracts() {
        let message: Message = serde_json::from_str(
            r#"{"message_id":"m","message_type":"chat","payload":1.10,"metadata":{"a":2.50}}"#,
        )
        .unwrap();
        let edit = Edit::replace(message).with_metadata("lang", &"en");
        assert_eq!(
            serde_json::to_string(&edit).unwrap(),
            concat!(
                r#"{"payload":{"message_id":"m","message_type":"chat","payload":1.10,"#,
                r#""metadata":{"a":2.50}},"metadata":{"lang":"en"}}"#
            )
        );
        assert_eq!(serde_json::to_string(&Edit::unchanged()).unwrap(), "{}");
        let noted = Edit::unchanged().with_notes(&["4111"]).unwrap();
        assert_eq!(
            serde_json::to_string(&noted).unwrap(),
            r#"{"notes":["4111"]}"#
        );
        let long = "x".repeat(MAX_NOTES);
        let refused = Edit::unchanged().with_notes(&long).unwrap_err();
        assert_eq!(refused.code, "notes_too_long");
        let noted = Verdict::ok_with_notes(&1).unwrap();
        assert!(!format!("{noted:?} {:?}", Edit::default().with_notes(&"4111")).contains("4111"));
        assert_eq!(
            serde_json::to_string(&noted).unwrap(),
            r#"{"status":"ok","notes":1}"#
        );
        assert_eq!(
            serde_json::to_string(&Verdict::Ok).unwrap(),
            r#"{"status":"ok"}"#
        );
        assert_eq!(
            serde_json::to_string(&Verdict::reject("no")).unwrap(),
            r#"{"status":"reject","reason":"no"}"#
        );
    }
}
