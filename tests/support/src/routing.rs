//! A router with extensions of the test's own, for tests of what a policy makes of a message; and
//! what its answers say.

use beamline_extension::Kind;
use serde_json::{Value, json};

use super::{Gateway, Nats, RouterProcess, Stub};

/// A service that is out of order, and one that works.
pub const BROKEN: &str = r#"{"error": {"code": 503, "message": "out of order"}}"#;

#[derive(Debug)]
pub struct Routing {
    pub gateway: Gateway,
    pub router: RouterProcess,
    pub nats: Nats,
}

impl Routing {
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let nats = Nats::start().await;
        let settings: Vec<_> = settings
            .iter()
            .copied()
            .chain([("nats.url", nats.url())])
            .collect();
        let router = RouterProcess::start(&settings).await;
        Self {
            gateway: Gateway::connect(&nats).await,
            router,
            nats,
        }
    }

    /// Registers an extension and serves it with one answer.
    pub async fn extension(&self, kind: Kind, id: &str, record: Value, answer: &str) -> Stub {
        self.gateway.register(kind.as_str(), id, record).await;
        Stub::saying(&self.nats, kind, id, answer).await
    }

    /// A provider whose output is its name.
    pub async fn provider(&self, id: &str) -> Stub {
        self.extension(
            Kind::Provider,
            id,
            json!({}),
            &json!({"output": id}).to_string(),
        )
        .await
    }

    /// A provider that answers 503.
    pub async fn broken(&self, id: &str) -> Stub {
        self.extension(Kind::Provider, id, json!({}), BROKEN).await
    }

    /// An answer of an operation that must succeed.
    pub async fn admin(&self, operation: &str, body: Value) -> Value {
        let answer = self.gateway.admin(operation, &body).await;
        assert_eq!(answer["ok"], true, "{operation} {body}: {answer}");
        answer
    }
}

/// Some keys of each object in a list, as one text a line.
pub fn lines(list: &Value, keys: &[&str]) -> Vec<String> {
    let word = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let line = |object: &Value| {
        keys.iter()
            .map(|key| word(&object[*key]))
            .collect::<Vec<_>>()
            .join(" ")
    };
    list.as_array().expect("a list").iter().map(line).collect()
}

/// The line of `extensions` about one of them.
pub fn report<'a>(answer: &'a Value, id: &str) -> &'a Value {
    let reports = answer["extensions"]
        .as_array()
        .unwrap_or_else(|| panic!("no list of extensions: {answer}"));
    reports
        .iter()
        .find(|report| report["id"] == id)
        .unwrap_or_else(|| panic!("{id} is not listed: {answer}"))
}

/// The sentences of an explanation, one a line.
pub fn steps(answer: &Value) -> String {
    let steps = &answer["decision"]["explanation"]["steps"];
    let steps = steps
        .as_array()
        .unwrap_or_else(|| panic!("no steps: {answer}"));
    steps
        .iter()
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join("\n")
}
