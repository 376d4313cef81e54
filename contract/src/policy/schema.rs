//! Schemas of the parts of a policy that are written by hand, and what is about several fields at
//! once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::{CircuitBreaker, OLDER_BREAKER_KEYS, Status};
use crate::limits::{MAX_CONDITIONS, MAX_ITEMS, RECORD_TIMEOUT_MS};
use crate::record::{BreakerSetting, breaker_schema};
use crate::schema::{Condition, Id};

/// Somebody must answer: a list of providers, a map of weights, or a step that selects one.
pub(super) fn names_a_provider(schema: &mut Schema) {
    let selects =
        json!({"properties": {"action": {"const": "select_provider"}}, "required": ["action"]});
    schema.insert(
        "anyOf".into(),
        json!([
            {"required": ["providers"], "properties": {"providers": {"minItems": 1}}},
            {"required": ["weights"], "properties": {"weights": {"type": "object"}}},
            {"required": ["steps"], "properties": {"steps": {"contains": selects, "type": "array"}}},
        ]),
    );
    // Neither a default nor absent: one of the three is there.
    if let Some(providers) = schema.pointer_mut("/properties/providers") {
        let providers = providers.as_object_mut();
        providers.map(|providers| providers.remove("default"));
    }
}

/// A rule without another provider that does not retry either says nothing.
pub(super) fn does_something(schema: &mut Schema) {
    schema.insert(
        "anyOf".into(),
        json!([
            {"required": ["to"], "properties": {"to": {"type": "string"}}},
            {"required": ["retry"], "properties": {"retry": {"type": "integer", "minimum": 1}}},
        ]),
    );
}

pub(super) fn default_weight() -> f64 {
    1.0
}

pub(super) fn default_step_weight() -> Option<f64> {
    Some(default_weight())
}

/// Ids, each once.
#[derive(JsonSchema)]
#[schemars(transparent, inline)]
#[expect(dead_code, reason = "only its schema is needed")]
pub(super) struct Ids(#[schemars(length(max = MAX_ITEMS), extend("uniqueItems" = true))] Vec<Id>);

/// Weights by the names of providers.
pub(super) struct Weights;

impl JsonSchema for Weights {
    fn schema_name() -> Cow<'static, str> {
        "Weights".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": generator.subschema_for::<Id>(),
            "additionalProperties": {
                "description": "Used in proportion to the sum of all; 0 takes no traffic.",
                "type": "number",
                "minimum": 0,
            },
            "minProperties": 1,
            "maxProperties": MAX_ITEMS,
        })
    }
}

/// Which failures of which requests a rule is for; absent means any. Keys other than `status` are
/// compared with the request: `message_type`, `tenant`, `policy`, `environment`, or any context
/// key.
#[derive(JsonSchema)]
#[schemars(extend("maxProperties" = MAX_CONDITIONS + 1))]
#[expect(
    dead_code,
    reason = "only its schema is needed; the fields are read one by one"
)]
pub(super) struct When {
    /// One of these failures.
    status: Option<Statuses>,
    /// Of one of these providers; absent: of any.
    provider: Option<Names>,
    #[schemars(flatten)]
    conditions: BTreeMap<String, Condition>,
}

/// Milliseconds that an entry gives.
#[derive(JsonSchema)]
#[schemars(transparent, inline)]
#[expect(dead_code, reason = "only its schema is needed")]
pub(super) struct EntryTimeout(
    #[schemars(range(min = *RECORD_TIMEOUT_MS.start(), max = *RECORD_TIMEOUT_MS.end()))] u64,
);

/// Which requests an entry is for: keys compared with the request as in a rule, or one operator of
/// JsonLogic over `{"var": "context.user.tier"}`.
pub(super) struct EntryWhen;

impl JsonSchema for EntryWhen {
    fn schema_name() -> Cow<'static, str> {
        "EntryWhen".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Keys that must equal the request's, or JsonLogic: ==, !=, <, <=, >, >=, in, and, or, !.",
            "type": "object",
            "anyOf": [
                {"minProperties": 1, "maxProperties": 1, "propertyNames": {"enum": ["==", "!=", "<", "<=", ">", ">=", "in", "and", "or", "!", "!!", "var"]}},
                {"maxProperties": MAX_CONDITIONS, "additionalProperties": generator.subschema_for::<Condition>()},
            ],
        })
    }
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "only its schema is needed")]
enum Names {
    One(Id),
    /// One of them.
    Several(#[schemars(length(min = 1, max = MAX_ITEMS))] Vec<Id>),
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "only its schema is needed")]
enum Statuses {
    One(Status),
    /// One of them.
    Several(#[schemars(length(min = 1, max = MAX_ITEMS))] Vec<Status>),
}

/// Written as a word; a code also as a number.
impl JsonSchema for Status {
    fn schema_name() -> Cow<'static, str> {
        "Status".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A class of failures, or a code from 100 to 999.",
            "anyOf": [
                {"enum": Self::WORDS.map(|(word, _)| word)},
                {"type": "string", "pattern": "^[1-9][0-9][0-9]$"},
                {"type": "integer", "minimum": 100, "maximum": 999},
            ],
        })
    }
}

/// Written as a map of the numbers that are set.
impl JsonSchema for CircuitBreaker {
    fn schema_name() -> Cow<'static, str> {
        "CircuitBreaker".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = breaker_schema(BreakerSetting::policy_name);
        if let Some(properties) = schema
            .pointer_mut("/properties")
            .and_then(|p| p.as_object_mut())
        {
            let meaning = "Of older documents: `false` opens nothing for this policy's calls.";
            let enabled = json!({"description": meaning, "type": ["boolean", "null"]});
            properties.insert("enabled".to_owned(), enabled);
            for (key, setting, factor) in OLDER_BREAKER_KEYS {
                let name = setting.policy_name();
                let meaning = format!("Of older documents: `{name}`, divided by {factor}.");
                let older = json!({"description": meaning, "type": ["number", "null"], "exclusiveMinimum": 0});
                properties.insert(key.to_owned(), older);
            }
        }
        schema
    }
}
