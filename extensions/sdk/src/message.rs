//! What pre-processors, validators and post-processors see and answer.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::failure::{Failure, describe};
use crate::fields::Fields;

/// The message on its way through the pipeline; for a post-processor, the provider's output.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Message {
    #[serde(default)]
    pub message_id: String,
    #[serde(default)]
    pub message_type: String,
    /// Any JSON value, as it was written.
    pub payload: Box<RawValue>,
    #[serde(default)]
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
}

/// What a pre- or post-processor wants changed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Edit {
    #[serde(rename = "payload", skip_serializing_if = "Option::is_none")]
    message: Option<Message>,
    #[serde(skip_serializing_if = "Fields::is_empty")]
    metadata: Fields,
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
}

/// What a validator says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    Reject {
        /// A stable code, such as `pii_detected`.
        reason: String,
        #[serde(skip_serializing_if = "Value::is_null")]
        details: Value,
    },
}

impl Verdict {
    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject {
            reason: reason.into(),
            details: Value::Null,
        }
    }

    /// As [`Verdict::reject`], with an object that explains it. Never put the payload's text into it.
    pub fn reject_with(reason: impl Into<String>, details: Value) -> Self {
        Self::Reject {
            reason: reason.into(),
            details,
        }
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
            r#"{"payload":{"message_id":"m","message_type":"chat","payload":1.10,"metadata":{"a":2.50}},"metadata":{"lang":"en"}}"#
        );
        assert_eq!(serde_json::to_string(&Edit::unchanged()).unwrap(), "{}");
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
