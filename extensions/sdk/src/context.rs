//! What a handler knows about the call besides its message: whose it is, which trace it belongs to,
//! how long it has.

use std::time::{Duration, Instant};

use beamline_contract::escape::OneLine;
use beamline_contract::notes::Notes;
use beamline_contract::trace::TraceParent;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::failure::{Failure, describe};
use crate::fields::Fields;

#[derive(Clone, Debug)]
pub struct CallContext {
    pub extension_id: String,
    pub tenant_id: String,
    pub request_id: String,
    /// From the header `trace_id`, else the body, else `traceparent`; empty when the caller sent
    /// none.
    pub trace_id: String,
    /// The caller's span, to continue its trace.
    pub traceparent: Option<TraceParent>,
    /// The header `tracestate` as the caller of the router sent it, for whoever continues its
    /// trace.
    pub tracestate: Option<String>,
    /// The header `baggage` in the same way. Anybody can write anything into it.
    pub baggage: Option<String>,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// When the handler is cancelled.
    pub deadline: Instant,
    /// The request's context so far: what the caller sent and earlier extensions added.
    pub metadata: Fields,
    /// What the extension that this one's `notes_of` names has kept with the request.
    pub notes: Option<Notes>,
    pub(crate) config: Option<Box<RawValue>>,
}

impl CallContext {
    /// The configuration of this call: the registry's, overlaid by the policy's. Absent means `{}`.
    ///
    /// # Errors
    /// `invalid_config`, naming the key when one key alone is to blame.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let json = match self.config.as_deref().map(RawValue::get) {
            None | Some("null") => "{}",
            Some(json) => json,
        };
        // A struct would take a list of its fields' values as well.
        if !json.trim_start().starts_with('{') {
            return Err(Failure::invalid_config("config: expected an object"));
        }
        serde_json::from_str(json).map_err(|error| invalid_config::<T>(json, &error))
    }

    /// The notes as a type of the handler's own; `None` where there are none.
    ///
    /// # Errors
    /// `invalid_notes` when they have another form; the text never repeats them.
    pub fn notes_as<T: DeserializeOwned>(&self) -> Result<Option<T>, Failure> {
        let Some(notes) = &self.notes else {
            return Ok(None);
        };
        // What the error says may repeat a key.
        let notes = serde_json::from_str(notes.json().get())
            .map_err(|_| Failure::new("invalid_notes", "the notes have another form"))?;
        Ok(Some(notes))
    }

    /// How much of the call's time is left.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// The key to blame is the one without which the rest would be valid; serde itself only knows the
/// column.
fn invalid_config<T: DeserializeOwned>(json: &str, error: &serde_json::Error) -> Failure {
    let Ok(fields) = serde_json::from_str::<Map<String, Value>>(json) else {
        return Failure::invalid_config(format!("config: {}", describe(error)));
    };
    let key = fields
        .keys()
        .take(32)
        .find(|key| is_valid_without::<T>(&fields, key));
    match key {
        Some(key) => {
            Failure::invalid_config(format!("config.{}: {}", OneLine(key), describe(error)))
        }
        None => Failure::invalid_config(format!("config: {}", describe(error))),
    }
}

fn is_valid_without<T: DeserializeOwned>(fields: &Map<String, Value>, key: &str) -> bool {
    let mut rest = fields.clone();
    rest.remove(key);
    serde_json::from_value::<T>(rest.into()).is_ok()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(default)]
        trim: bool,
    }

    fn context(config: Option<&str>) -> CallContext {
        CallContext {
            extension_id: "x".to_owned(),
            tenant_id: String::new(),
            request_id: String::new(),
            trace_id: String::new(),
            traceparent: None,
            tracestate: None,
            baggage: None,
            attempt: 1,
            deadline: Instant::now(),
            metadata: Fields::default(),
            notes: None,
            config: config.map(|json| RawValue::from_string(json.to_owned()).unwrap()),
        }
    }

    #[test]
    fn an_absent_config_is_the_default() {
        for config in [None, Some("null"), Some("{}")] {
            assert!(!context(config).config::<Config>().unwrap().trim);
        }
        assert!(
            context(Some(r#"{"trim":true}"#))
                .config::<Config>()
                .unwrap()
                .trim
        );
    }

    #[test]
    fn a_bad_config_names_what_is_wrong() {
        for (config, part) in [
            (
                r#"{"trim":"yes"}"#,
                "config.trim: wrong type or value, expected a boolean",
            ),
            (
                r#"{"trim":true,"trm":1}"#,
                "config.trm: unknown field `trm`",
            ),
            ("[]", "config: expected an object"),
        ] {
            let failure = context(Some(config)).config::<Config>().unwrap_err();
            assert_eq!(failure.code, "invalid_config");
            assert!(failure.message.starts_with(part), "{}", failure.message);
        }
    }
}
