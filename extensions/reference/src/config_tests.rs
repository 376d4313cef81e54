//! The schema that each extension publishes allows what its reader takes, and nothing else.

use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;
use schemars::Schema;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::mock_provider::Overrides;
use crate::{mask_pii, mask_pii_in, mock_provider, normalize_text, pii_guard};

/// An extension's schema, and whether it reads a config.
struct Side {
    name: &'static str,
    schema: Validator,
    reads: fn(&Value) -> bool,
    keys: &'static [&'static str],
}

const NORMALIZE: &[&str] = &[
    "trim",
    "collapse_whitespace",
    "lowercase",
    "strip_control",
    "unicode",
    "trimm",
];
const PII: &[&str] = &[
    "card", "email", "phone", "iban", "ssn", "patterns", "regions", "kinds",
];
const MASK: &[&str] = &[
    "card", "patterns", "regions", "style", "with", "restore", "width",
];
const MOCK: &[&str] = &[
    "latency_ms",
    "jitter_ms",
    "failure_rate",
    "failure",
    "output",
    "latency",
];

static SIDES: LazyLock<[Side; 5]> = LazyLock::new(|| {
    [
        Side::new(
            "normalize_text",
            &normalize_text::config_schema(),
            reads::<normalize_text::Config>,
            NORMALIZE,
        ),
        Side::new(
            "pii_guard",
            &pii_guard::config_schema(),
            reads::<pii_guard::Config>,
            PII,
        ),
        Side::new(
            "mask_pii_in",
            &mask_pii_in::config_schema(),
            reads::<mask_pii_in::Config>,
            PII,
        ),
        Side::new(
            "mask_pii",
            &mask_pii::config_schema(),
            reads::<mask_pii::Config>,
            MASK,
        ),
        Side::new(
            "mock_provider",
            &mock_provider::config_schema(),
            mock_reads,
            MOCK,
        ),
    ]
});

impl Side {
    fn new(
        name: &'static str,
        schema: &Schema,
        reads: fn(&Value) -> bool,
        keys: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            schema: jsonschema::validator_for(schema.as_value()).expect("a schema"),
            reads,
            keys,
        }
    }

    fn judge(&self, config: &Value) -> bool {
        let reads = (self.reads)(config);
        let allows = self.schema.is_valid(config);
        assert_eq!(
            allows, reads,
            "{}: the schema says {allows}, the reader {reads}: {config}",
            self.name
        );
        reads
    }
}

fn reads<T: DeserializeOwned>(config: &Value) -> bool {
    serde_json::from_str::<T>(&config.to_string()).is_ok()
}

fn mock_reads(parameters: &Value) -> bool {
    let mock = parameters.get("mock");
    mock.is_none_or(|mock| Overrides::read(&mock.to_string()).is_ok())
}

#[test]
fn known_configs_are_judged_alike() {
    let long = "ä".repeat(65);
    let table = [
        json!({}),
        json!({"trim": false, "lowercase": true, "unicode": "none"}),
        json!({"unicode": "nfd"}),
        json!({"trimm": true}),
        json!({"card": false, "patterns": ["email", "credit_card"], "regions": ["DE", "us", "001"]}),
        json!({"patterns": null, "regions": null}),
        json!({"patterns": ["mail"]}),
        json!({"regions": ["Germany"]}),
        json!({"regions": ["XX"]}),
        json!({"with": "<{kind}>", "style": "stars"}),
        json!({"restore": true, "with": ""}),
        json!({"with": long}),
        json!({"with": &long[2..]}),
        json!({"mock": {"latency_ms": 5.0, "failure_rate": 1, "failure": "timeout", "output": [1]}}),
        json!({"mock": {"latency_ms": 5.5}}),
        json!({"mock": {"failure_rate": 1.5}}),
        json!({"mock": {"latency": 5}}),
        json!({"mock": null}),
        json!({"mock": [1, 2, 0.5, "error", null]}),
        json!({"mock": {}, "model": 1}),
    ];
    let taken = SIDES.each_ref().map(|side| {
        let good = table.iter().filter(|config| side.judge(config)).count();
        (side.name, good)
    });
    let expected = [
        ("normalize_text", 2),
        ("pii_guard", 3),
        ("mask_pii_in", 3),
        ("mask_pii", 6),
        ("mock_provider", 15),
    ];
    assert_eq!(taken, expected);
}

fn value() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "nfc", "none", "nfd", "label", "partial", "stars", "Stars", "card", "email", "us_ssn",
        "mail", "DE", "de", "dE", "ZZ", "001", "02", "error", "timeout", "",
    ]);
    let leaf = prop_oneof![
        3 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        2 => prop::sample::select(vec![-1i64, 0, 1, 5, 64, 3_600_000, 3_600_001])
            .prop_map(Value::from),
        1 => prop::sample::select(vec![-0.0, 0.5, 1.0, 1.5, 1e300]).prop_map(Value::from),
        3 => word.prop_map(Value::from),
        1 => ".{60,68}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object_of(MOCK, inner),
        ]
    })
}

fn object_of(
    keys: &'static [&'static str],
    value: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Value> {
    let key = prop::sample::select(keys).prop_map(str::to_owned);
    prop::collection::btree_map(key, value, 0..4)
        .prop_map(|entries| entries.into_iter().collect::<Value>())
}

/// For the side with this position.
fn config() -> impl Strategy<Value = (usize, Value)> {
    (0..SIDES.len()).prop_flat_map(|at| {
        object_of(SIDES[at].keys, value()).prop_map(move |config| {
            let is_mock = SIDES[at].name == "mock_provider";
            (
                at,
                if is_mock {
                    json!({"mock": config})
                } else {
                    config
                },
            )
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn schema_and_reader_agree((at, config) in config()) {
        SIDES[at].judge(&config);
    }
}
