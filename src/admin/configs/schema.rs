//! The JSON Schema that an extension publishes of its config. Anybody may have written it: it is
//! used within limits, or not at all.

use beamline_contract::discovery::MAX_CONFIG_SCHEMA;
use beamline_domain::document::shorten;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::bounds;
use super::sentence::{self, Slip};

/// Bytes of the automaton that one pattern becomes, and of what it remembers at work.
const AUTOMATON: usize = 256 * 1024;
/// Whoever made more slips mends these first.
const MOST_SLIPS: usize = 20;

/// A schema that can be used.
#[derive(Debug)]
pub(super) struct ConfigSchema {
    schema: Value,
    validator: Validator,
}

impl ConfigSchema {
    /// The error is the end of a sentence about the schema.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.len() > MAX_CONFIG_SCHEMA {
            let size = text.len();
            return Err(format!(
                "has {size} bytes; at most {MAX_CONFIG_SCHEMA} are read"
            ));
        }
        let schema: Value =
            serde_json::from_str(text).map_err(|error| format!("is not valid JSON: {error}"))?;
        bounds::check(&schema)?;
        // No engine that goes back on its steps, nothing from files or the network.
        let patterns = PatternOptions::regex()
            .size_limit(AUTOMATON)
            .dfa_size_limit(AUTOMATON);
        let options = jsonschema::options()
            .offline()
            .should_validate_formats(false)
            .with_pattern_options(patterns);
        let validator = options
            .build(&schema)
            .map_err(|error| format!("is no JSON Schema: {}", shorten(&error.to_string())))?;
        Ok(Self { schema, validator })
    }

    /// What is wrong with a config, and how many of `most` steps are left.
    pub(super) fn slips(&self, config: &Value, most: usize) -> Result<(Vec<Slip>, usize), String> {
        let left = bounds::steps_left(&self.schema, config, most)?;
        let mut slips = Vec::new();
        for error in self.validator.iter_errors(config).take(MOST_SLIPS) {
            slips.extend(sentence::slips_of(&error, &self.schema)?);
        }
        slips.truncate(MOST_SLIPS);
        Ok((slips, left))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MOST: usize = 100_000;

    fn said(schema: &Value, config: &Value) -> Vec<String> {
        let schema = ConfigSchema::read(&schema.to_string()).unwrap();
        let (slips, _) = schema.slips(config, MOST).unwrap();
        let line = |slip: Slip| format!("{}: {}", slip.pointer, slip.message);
        slips.into_iter().map(line).collect()
    }

    #[test]
    fn each_mistake_is_told_with_what_is_allowed() {
        let schema = json!({
            "type": "object",
            "properties": {
                "lowercase": {"type": "boolean"},
                "unicode": {"enum": ["nfc", "none"]},
                "style": {"oneOf": [{"const": "label"}, {"const": "stars"}]},
                "limit": {"type": "integer", "minimum": 0, "maximum": 10},
                "with": {"type": ["string", "null"], "maxLength": 3},
                "regions": {"type": "array", "items": {"pattern": "^[A-Z]{2}$", "description": "a country"}},
                "code": {"pattern": "^[a-z]+$"},
                "inner": {"anyOf": [{"$ref": "#/$defs/inner"}, {"type": "null"}]},
                "a/b": {"const": 1},
            },
            "required": ["unicode"],
            "additionalProperties": false,
            "$defs": {"inner": {"type": "object", "properties": {"depth": {"type": "number"}}, "additionalProperties": false}},
        });
        let config = json!({
            "lowercas": 1, "colour": 2, "lowercase": "yes", "style": "blur", "limit": 11, "with": "long",
            "regions": ["DE", "Germany"], "code": "A", "inner": {"dept": 1, "depth": "x"}, "a/b": 2,
        });
        let mut got = said(&schema, &config);
        got.sort();
        let mut expected = [
            "/lowercas: is not a known key; did you mean lowercase?",
            "/colour: is not a known key; known are a/b, code, inner, limit, lowercase, regions, style, unicode, with",
            "/lowercase: must be true or false, is a string",
            "/style: must be one of label, stars, is \"blur\"",
            "/limit: must be 10 or less, is 11",
            "/with: must have at most 3 characters, is \"long\"",
            "/regions/1: must be \"a country\", is \"Germany\"",
            "/code: must match ^[a-z]+$, is \"A\"",
            "/inner/dept: is not a known key; did you mean depth?",
            "/inner/depth: must be a number, is a string",
            "/a~1b: must be 1, is 2",
            "/unicode: is required",
        ];
        expected.sort_unstable();
        assert_eq!(got, expected);
    }

    #[test]
    fn what_is_allowed_by_one_of_several_is_told_together() {
        let schema = json!({"properties": {
            "failure": {"anyOf": [{"enum": ["error", "timeout"]}, {"type": "null"}]},
            "shape": {"oneOf": [{"type": "object", "required": ["a"]}, {"type": "object", "required": ["b"]}]},
        }});
        let got = said(&schema, &json!({"failure": "fire", "shape": {}}));
        let expected = [
            "/failure: must be one of error, timeout, null, is \"fire\"",
            "/shape: fits none of the 2 forms that are allowed",
        ];
        assert_eq!(got, expected);
        assert_eq!(said(&json!(false), &json!({"a": 1})), [": is not allowed"]);
    }

    #[test]
    fn a_schema_of_every_draft_from_the_sixth_on_is_read() {
        for draft in [
            "http://json-schema.org/draft-06/schema#",
            "http://json-schema.org/draft-07/schema#",
            "https://json-schema.org/draft/2019-09/schema",
            "https://json-schema.org/draft/2020-12/schema",
        ] {
            let schema = json!({"$schema": draft, "properties": {"a": {"type": "string"}}});
            assert_eq!(said(&schema, &json!({"a": 1})).len(), 1, "{draft}");
        }
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let too_long = format!("\"{}\"", "x".repeat(MAX_CONFIG_SCHEMA));
        for (text, why) in [
            ("{", "is not valid JSON: "),
            (too_long.as_str(), "has 65538 bytes; "),
            (r#"{"type": "strnig"}"#, "is no JSON Schema: "),
            ("[]", "is no JSON Schema: "),
            (r#"{"pattern": "(a"}"#, "is no JSON Schema: "),
            (
                r#"{"pattern": "((a{1000}){1000}){1000}"}"#,
                "is no JSON Schema: ",
            ),
            (r#"{"pattern": "(?=a)b"}"#, "is no JSON Schema: "),
            (r#"{"$ref": "https://example.com/x"}"#, "refers to "),
            (r##"{"$ref": "#/$defs/none"}"##, "is no JSON Schema: "),
            (
                r#"{"$schema": "https://example.com/own"}"#,
                "is no JSON Schema: ",
            ),
        ] {
            let refused = ConfigSchema::read(text).unwrap_err();
            assert!(refused.starts_with(why), "{text:.80}: {refused}");
        }
    }

    #[test]
    fn a_pattern_that_others_would_hang_on_takes_no_time() {
        let schema = json!({"properties": {"a": {"pattern": "^(a+)+$"}}});
        let config = json!({"a": format!("{}!", "a".repeat(50_000))});
        assert_eq!(said(&schema, &config).len(), 1);
    }

    /// On a stack of the size that threads for blocking work have.
    #[test]
    fn the_deepest_schema_that_is_read_fits_the_stack() {
        let nested = |inner: Value| (0..28).fold(inner, |inner, _| json!({"not": inner}));
        let mut definitions = serde_json::Map::new();
        for n in 0..60 {
            let next = json!({"$ref": format!("#/$defs/{}", n + 1)});
            definitions.insert(n.to_string(), nested(next));
        }
        definitions.insert("60".to_owned(), json!({"type": "string"}));
        let schema = json!({"$ref": "#/$defs/0", "$defs": definitions});
        let work = move || {
            let schema = ConfigSchema::read(&schema.to_string()).unwrap();
            schema.slips(&json!({"a": 1}), MOST).map(drop)
        };
        let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
        let stopped = thread.spawn(work).unwrap().join().unwrap();
        assert!(stopped.unwrap_err().starts_with("comes back to itself"));
    }
}
