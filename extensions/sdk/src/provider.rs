//! What a provider sees and answers.

use std::borrow::Cow;

use beamline_contract::call::CallAnswer;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::answer_part::part;
use crate::failure::Failure;
use crate::fields::Fields;

/// A request to a provider.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The id under which the router called; a program may serve several.
    pub provider_id: String,
    /// What kind of message it is, such as `chat` or `embedding`.
    pub message_type: String,
    /// The text of a message, or of the last one of a user; may be empty beside `messages`.
    pub text: String,
    /// A conversation, when the message carried one.
    pub messages: Option<Box<RawValue>>,
    /// `model`, `max_tokens`, `temperature` and whatever else the policy or the caller gives.
    pub parameters: Fields,
    pub context: Fields,
}

/// A provider's answer.
#[derive(Clone, Debug)]
pub struct Completion {
    provider_id: String,
    output: Box<RawValue>,
    usage: Option<Usage>,
    metadata: Fields,
}

impl Completion {
    /// Any JSON value as output.
    ///
    /// # Errors
    /// `internal` when the value has no JSON form.
    pub fn new(output: &(impl Serialize + ?Sized)) -> Result<Self, Failure> {
        let output =
            to_raw_value(output).map_err(|_| Failure::internal("the output has no JSON form"))?;
        Ok(Self {
            provider_id: String::new(),
            output,
            usage: None,
            metadata: Fields::default(),
        })
    }

    #[must_use]
    pub fn with_usage(self, usage: Usage) -> Self {
        Self {
            usage: Some(usage),
            ..self
        }
    }

    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: &impl Serialize) -> Self {
        self.metadata.insert(key, value);
        self
    }

    pub(crate) fn of(self, provider_id: String) -> Self {
        Self {
            provider_id,
            ..self
        }
    }
}

impl Serialize for Completion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let answer = CallAnswer {
            provider_id: Some(Cow::Borrowed(&self.provider_id)),
            output: Some(Cow::Borrowed(&self.output)),
            usage: self.usage.as_ref().map(part).transpose()?,
            metadata: Some(part(&self.metadata)?),
            ..CallAnswer::default()
        };
        answer.serialize(serializer)
    }
}

/// Tokens that a call used. Some providers count in fractions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Usage {
    #[serde(serialize_with = "whole_without_point")]
    pub prompt_tokens: f64,
    #[serde(serialize_with = "whole_without_point")]
    pub completion_tokens: f64,
    #[serde(serialize_with = "whole_without_point")]
    pub total_tokens: f64,
}

impl Usage {
    pub fn new(prompt_tokens: f64, completion_tokens: f64) -> Self {
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
        }
    }
}

/// Readers with integer fields would refuse `12.0`.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn whole_without_point<S: Serializer>(count: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if count.fract() == 0.0 && (0.0..EXACT).contains(count) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and in range, as just checked"
        )]
        return serializer.serialize_u64(*count as u64);
    }
    serializer.serialize_f64(*count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_counts_are_integers_on_the_wire() {
        let json = serde_json::to_string(&Usage::new(12.0, 0.5)).unwrap();
        assert_eq!(
            json,
            r#"{"prompt_tokens":12,"completion_tokens":0.5,"total_tokens":12.5}"#
        );
    }
}
