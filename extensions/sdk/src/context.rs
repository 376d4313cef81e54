//! What a handler knows about the call besides its message: whose it is, which trace it belongs to, how long it has.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::failure::{Failure, describe};
use crate::fields::Fields;

#[derive(Clone, Debug)]
pub struct CallContext {
    pub extension_id: String,
    pub tenant_id: String,
    pub request_id: String,
    /// From the header `trace_id`, else the body, else `traceparent`; empty when the caller sent none.
    pub trace_id: String,
    /// The caller's span, to continue its trace.
    pub traceparent: Option<TraceParent>,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// When the handler is cancelled.
    pub deadline: Instant,
    /// The request's context so far: what the caller sent and earlier extensions added.
    pub metadata: Fields,
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

    /// How much of the call's time is left.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// The key to blame is the one without which the rest would be valid; serde itself only knows the column.
fn invalid_config<T: DeserializeOwned>(json: &str, error: &serde_json::Error) -> Failure {
    let Ok(fields) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json)
    else {
        return Failure::invalid_config(format!("config: {}", describe(error)));
    };
    let is_culprit = |key: &&String| {
        let mut rest = fields.clone();
        rest.remove(*key);
        serde_json::from_value::<T>(rest.into()).is_ok()
    };
    match fields.keys().take(32).find(is_culprit) {
        Some(key) => Failure::invalid_config(format!(
            "config.{}: {}",
            key.escape_debug(),
            describe(error)
        )),
        None => Failure::invalid_config(format!("config: {}", describe(error))),
    }
}

/// A W3C `traceparent` header that is valid; others are ignored, as the recommendation asks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TraceParent {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub parent_id: String,
    pub sampled: bool,
}

impl TraceParent {
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let version = parts.next().filter(|v| is_hex(v, 2) && *v != "ff")?;
        let trace_id = parts
            .next()
            .filter(|id| is_hex(id, 32) && id.bytes().any(|b| b != b'0'))?;
        let parent_id = parts
            .next()
            .filter(|id| is_hex(id, 16) && id.bytes().any(|b| b != b'0'))?;
        let flags = parts.next().filter(|f| is_hex(f, 2))?;
        if version == "00" && parts.next().is_some() {
            return None;
        }
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(Self {
            trace_id: trace_id.to_owned(),
            parent_id: parent_id.to_owned(),
            sampled,
        })
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parsed = TraceParent::parse(valid).unwrap();
        assert_eq!(parsed.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(parsed.sampled);
        for invalid in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "00-4bf92f3577b34da6a3ce929d0e0e47-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(invalid), None, "{invalid}");
        }
    }

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
            attempt: 1,
            deadline: Instant::now(),
            metadata: Fields::default(),
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
