//! Schemas of what a record says about breakers, which is written by hand, and of a record as
//! people write it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::{BreakerOverrides, BreakerSetting, Isolation, Kind};
use crate::fields::Fields;
use crate::limits::{
    MAX_IN_FLIGHT, MAX_ITEMS, MAX_PAYLOAD_BYTES, RECORD_RETRIES, RECORD_TIMEOUT_MS,
    TIMEOUT_PER_MIB_MS, WEIGHT,
};
use crate::schema::{Id, NewId, RuleCondition, Subject, Token};

/// The numbers of a breaker, under the names that `name_of` gives them.
pub(crate) fn breaker_schema(name_of: fn(BreakerSetting) -> &'static str) -> Schema {
    let mut properties = Map::new();
    for setting in BreakerSetting::ALL {
        properties.insert(name_of(setting).to_owned(), number(setting));
    }
    json_schema!({
        "description": "What breakers go by; what is left out stays as it is.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn number(setting: BreakerSetting) -> Value {
    let limits = setting.limits();
    let mut schema = json!({
        "description": meaning(setting),
        "type": ["integer", "null"],
        "minimum": limits.start(),
        "maximum": limits.end(),
    });
    if let (Some(schema), Some(default)) = (schema.as_object_mut(), setting.default_number()) {
        schema.insert("default".to_owned(), default.into());
    }
    schema
}

fn meaning(setting: BreakerSetting) -> &'static str {
    match setting {
        BreakerSetting::Window => {
            "The past that rates look back on, in whole seconds, in milliseconds."
        }
        BreakerSetting::MinimumCalls => "Fewer calls in the window say nothing about rates.",
        BreakerSetting::FailureRate => "Percent of failures in the window that opens it.",
        BreakerSetting::SlowCallDuration => {
            "A call that takes at least this long is slow, in milliseconds. Absent: 80 % of the timeout."
        }
        BreakerSetting::SlowCallRate => {
            "Percent of slow calls in the window that opens it; 100 is off. Absent: 100 for a provider, 80 for others."
        }
        BreakerSetting::ConsecutiveFailures => "Failures in a row that open it.",
        BreakerSetting::OpenBase => "The first open time, in milliseconds.",
        BreakerSetting::OpenFactor => "By how much each further open time is longer.",
        BreakerSetting::OpenCap => "The longest open time, in milliseconds.",
        BreakerSetting::Jitter => "Percent by which an open time is made shorter or longer.",
        BreakerSetting::ResetAfter => {
            "Closed for this long, the next open time is the first again, in milliseconds."
        }
        BreakerSetting::HalfOpenPermits => "Probes in flight at most.",
        BreakerSetting::HalfOpenSuccesses => {
            "Probes that must succeed, with no failure between, to close it."
        }
        BreakerSetting::HalfOpenMax => {
            "Half open for this long without a verdict, it opens again, in milliseconds. Absent: twice the timeout, at least 10 s."
        }
    }
}

/// Written as a map of the settings that are set.
impl JsonSchema for BreakerOverrides {
    fn schema_name() -> Cow<'static, str> {
        "BreakerOverrides".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = breaker_schema(BreakerSetting::name);
        let isolation = generator.subschema_for::<Option<Isolation>>();
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties.insert(Self::ISOLATION.to_owned(), isolation.into());
        }
        schema
    }
}

/// The registry record of an extension as somebody writes it. What it leaves out has a default.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, transform = with_rules_of_subjects)]
#[expect(
    dead_code,
    reason = "only its schema is needed: the reader takes a record apart by hand"
)]
pub(crate) struct WrittenExtension {
    /// Names the extension, in policies too.
    #[schemars(with = "NewId")]
    id: String,
    #[schemars(rename = "type")]
    kind: Kind,
    #[schemars(flatten)]
    parts: WrittenParts,
}

/// No subject follows from an id with colons, and only providers are faces of one.
fn with_rules_of_subjects(schema: &mut Schema) {
    let holds_one = json!({"properties": {"id": {"pattern": ":"}}});
    let has_subject = json!({
        "properties": {"type": {"const": "provider"}},
        "anyOf": [
            {"properties": {"subject": {"type": "string"}}, "required": ["subject"]},
            {"properties": {"subject_of": {"type": "string"}}, "required": ["subject_of"]},
        ],
    });
    let is_face =
        json!({"properties": {"subject_of": {"type": "string"}}, "required": ["subject_of"]});
    let is_provider = json!({"properties": {"type": {"const": "provider"}}});
    let rules = json!([
        {"if": holds_one, "then": has_subject},
        {"if": is_face, "then": is_provider},
    ]);
    schema.insert("allOf".into(), rules);
}

/// The parts of a record that change. A part is not looked into: a changed `config` is a whole one.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is needed")]
pub(crate) struct WrittenPatch {
    /// Which extension; it cannot be changed.
    #[schemars(with = "Id")]
    id: String,
    #[schemars(rename = "type")]
    kind: Option<Kind>,
    #[schemars(flatten)]
    parts: WrittenParts,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is needed")]
struct WrittenParts {
    /// Where it listens; absent means the subject that follows from type, id and version.
    #[schemars(with = "Option<Subject>")]
    subject: Option<String>,
    /// A provider whose program this one is another face of: the same subject, with a config,
    /// limits and breakers of its own.
    #[schemars(with = "Option<Id>")]
    subject_of: Option<String>,
    /// The extension whose notes it gets. Both must be faces of one program.
    #[schemars(with = "Option<Id>")]
    notes_of: Option<String>,
    /// Milliseconds that one attempt may take. Absent: 1000, and 20000 for a provider.
    #[schemars(range(min = *RECORD_TIMEOUT_MS.start(), max = *RECORD_TIMEOUT_MS.end()))]
    timeout_ms: Option<u64>,
    /// Attempts after the first. Absent: 0.
    #[schemars(range(min = *RECORD_RETRIES.start(), max = *RECORD_RETRIES.end()))]
    retry: Option<u32>,
    /// Absent: true.
    enabled: Option<bool>,
    /// Absent: `v1`.
    #[schemars(with = "Option<Token>")]
    version: Option<String>,
    /// Sent along with every call.
    config: Option<Fields>,
    /// Yours; the router reads `external` of a provider.
    metadata: Option<Fields>,
    /// Other versions, chosen by their routing rules.
    #[schemars(length(max = MAX_ITEMS))]
    versions: Option<Vec<WrittenVersion>>,
    /// Several places where the same version runs.
    #[schemars(length(max = MAX_ITEMS))]
    instances: Option<Vec<WrittenInstance>>,
    /// Calls of it that may run at a time; absent means what the router grants.
    #[schemars(range(min = *MAX_IN_FLIGHT.start(), max = *MAX_IN_FLIGHT.end()))]
    max_in_flight: Option<u32>,
    /// Bytes that a call of it may have; what is larger is `invalid_request`. Absent means what
    /// NATS carries.
    #[schemars(range(min = *MAX_PAYLOAD_BYTES.start(), max = *MAX_PAYLOAD_BYTES.end()))]
    max_payload_bytes: Option<u64>,
    /// Milliseconds that one attempt may take besides `timeout_ms`, for each MiB of the call.
    #[schemars(range(min = *TIMEOUT_PER_MIB_MS.start(), max = *TIMEOUT_PER_MIB_MS.end()))]
    timeout_per_mib_ms: Option<u64>,
    /// What its breakers go by, where that is not the router's own.
    breaker: Option<BreakerOverrides>,
    /// As reads answer it; it is not read.
    revision: Option<u64>,
}

/// Another version of an extension; what it leaves out it takes from the extension.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is needed")]
struct WrittenVersion {
    /// Its name, once among the versions.
    #[schemars(with = "Token")]
    version: String,
    /// Where it listens; absent means the subject that follows from type, id and version.
    #[schemars(with = "Option<Subject>")]
    subject: Option<String>,
    /// Milliseconds that one attempt may take.
    #[schemars(range(min = *RECORD_TIMEOUT_MS.start(), max = *RECORD_TIMEOUT_MS.end()))]
    timeout_ms: Option<u64>,
    /// Attempts after the first.
    #[schemars(range(min = *RECORD_RETRIES.start(), max = *RECORD_RETRIES.end()))]
    retry: Option<u32>,
    /// Sent along with every call.
    config: Option<Fields>,
    /// Which requests it takes.
    routing_rules: Option<WrittenRoutingRules>,
    /// Absent: true.
    enabled: Option<bool>,
}

/// Which requests a version takes: all conditions must hold. Keys other than these two are compared
/// with the request.
#[derive(JsonSchema)]
#[schemars(extend("dependentRequired" = {"percent_by": ["percent"]}))]
#[expect(dead_code, reason = "only its schema is needed")]
struct WrittenRoutingRules {
    /// The part of all sessions or tenants that it takes; hundredths count.
    #[schemars(with = "f64", range(min = 0, max = 100), default = "all")]
    percent: f64,
    /// The key whose value says who is in that part. Absent: the session, and without one the
    /// tenant.
    percent_by: Option<String>,
    #[schemars(flatten)]
    conditions: BTreeMap<String, RuleCondition>,
}

fn all() -> f64 {
    100.0
}

/// One of several places where the same extension runs.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is needed")]
struct WrittenInstance {
    /// Its name, once among the instances.
    #[schemars(with = "Token")]
    instance_id: String,
    /// Where it listens.
    #[schemars(with = "Subject")]
    subject: String,
    /// 0 takes no traffic. Absent: 100.
    #[schemars(range(min = *WEIGHT.start(), max = *WEIGHT.end()))]
    weight: Option<u32>,
    /// Absent: true.
    enabled: Option<bool>,
}
