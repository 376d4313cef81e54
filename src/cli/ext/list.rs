//! `ext list`: the registry, health and breakers of all extensions, joined in one table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use super::Kind;
use crate::cli::client::{Answer, Client};
use crate::cli::{Console, Failure, table, text};

/// The registry is the answer; health and breakers are extra, and their absence is only worth a warning.
pub(super) async fn run(
    client: &Client,
    kind: Option<Kind>,
    console: Console,
) -> Result<(), Failure> {
    let filter = kind.map_or_else(|| json!({}), |kind| json!({"type": kind.as_str()}));
    let nothing = json!({});
    let (extensions, health, states) = tokio::join!(
        client.admin("list_extensions", &filter),
        client.admin("get_extension_health", &nothing),
        client.admin("get_circuit_breaker_states", &nothing),
    );
    let mut joined: Joined = extensions?.read()?;
    joined.keep(kind);
    joined.health = extra(
        health,
        |extra: HealthAnswer| extra.health,
        "health",
        console,
    );
    joined.states = extra(
        states,
        |extra: StatesAnswer| extra.states,
        "breaker states",
        console,
    );

    let document =
        serde_json::to_string(&joined).map_err(|error| Failure::Failed(error.to_string()))?;
    console.answer(&document, || joined.text())
}

fn extra<T: serde::de::DeserializeOwned>(
    answer: Result<Answer, Failure>,
    field: impl FnOnce(T) -> ById,
    name: &str,
    console: Console,
) -> ById {
    answer
        .and_then(|answer| answer.read())
        .map(field)
        .unwrap_or_else(|failure| {
            console.warn(&format!(
                "without {name}: {}",
                failure.sentence().trim_start_matches("error: ")
            ));
            ById::new()
        })
}

type ById = BTreeMap<String, Box<RawValue>>;

#[derive(Debug, Deserialize)]
struct HealthAnswer {
    health: ById,
}

#[derive(Debug, Deserialize)]
struct StatesAnswer {
    states: ById,
}

/// Three answers in one; records and states stay as the router wrote them.
#[derive(Debug, Serialize, Deserialize)]
struct Joined {
    ok: bool,
    revision: u64,
    extensions: Vec<Box<RawValue>>,
    #[serde(default)]
    health: ById,
    #[serde(default)]
    states: ById,
}

#[derive(Debug, Deserialize)]
struct Record {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    version: Option<String>,
    enabled: Option<bool>,
    subject: Option<String>,
    timeout_ms: Option<u64>,
    retry: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Health {
    status: String,
}

#[derive(Debug, Deserialize)]
struct State {
    state: String,
}

impl Joined {
    /// A router that does not know the filter answers everything.
    fn keep(&mut self, kind: Option<Kind>) {
        if let Some(kind) = kind {
            self.extensions.retain(|extension| {
                serde_json::from_str::<Record>(extension.get())
                    .is_ok_and(|record| record.kind == kind.as_str())
            });
        }
    }

    fn text(&self) -> Result<String, Failure> {
        if self.extensions.is_empty() {
            return Ok("no extensions; `beamline-router ext create` registers one".to_owned());
        }
        let header = [
            "ID", "TYPE", "VERSION", "ENABLED", "SUBJECT", "TIMEOUT", "RETRY", "HEALTH", "BREAKER",
        ];
        let mut table = table::with_header(&header, &["TIMEOUT", "RETRY"]);
        for extension in &self.extensions {
            let record: Record = serde_json::from_str(extension.get()).map_err(|error| {
                Failure::Failed(format!(
                    "an extension in the answer cannot be read: {error}. See --output json."
                ))
            })?;
            table.add_row(self.row(&record));
        }
        Ok(table::text(&table))
    }

    fn row(&self, record: &Record) -> [String; 9] {
        let or_dash = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), text::plain);
        let health: Option<Health> = entry(&self.health, &record.id);
        let state: Option<State> = entry(&self.states, &record.id);
        [
            text::plain(&record.id),
            text::plain(&record.kind),
            or_dash(record.version.as_deref()),
            or_dash(
                record
                    .enabled
                    .map(|enabled| if enabled { "yes" } else { "no" }),
            ),
            or_dash(record.subject.as_deref()),
            or_dash(
                record
                    .timeout_ms
                    .map(|timeout| format!("{timeout} ms"))
                    .as_deref(),
            ),
            or_dash(record.retry.map(|retry| retry.to_string()).as_deref()),
            or_dash(health.map(|health| health.status).as_deref()),
            or_dash(state.map(|state| state.state).as_deref()),
        ]
    }
}

fn entry<T: serde::de::DeserializeOwned>(entries: &ById, id: &str) -> Option<T> {
    entries
        .get(id)
        .and_then(|entry| serde_json::from_str(entry.get()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"ok":true,"revision":12,"extensions":[
        {"id":"normalize_text","type":"pre","subject":"beamline.ext.pre.normalize_text.v1","timeout_ms":80,"retry":1,
         "enabled":true,"version":"v1","config":{"limit":1.50},"metadata":{}},
        {"id":"agent","type":"provider","subject":null,"timeout_ms":5000,"retry":0,"enabled":false,"version":"v2"}],
        "health":{"normalize_text":{"status":"degraded","success_rate":0.9,"requests":10}},
        "states":{"normalize_text":{"state":"half_open","failure_count":3},"gone":{"state":"closed"}}}"#;

    fn joined() -> Joined {
        serde_json::from_str(ANSWER).expect("an answer")
    }

    #[test]
    fn registry_health_and_breakers_share_a_table() {
        let expected = "\
ID              TYPE      VERSION  ENABLED  SUBJECT                             TIMEOUT  RETRY  HEALTH    BREAKER
normalize_text  pre       v1       yes      beamline.ext.pre.normalize_text.v1    80 ms      1  degraded  half_open
agent           provider  v2       no       -                                   5000 ms      0  -         -";
        assert_eq!(joined().text().expect("a table"), expected);
    }

    #[test]
    fn a_filter_holds_even_when_the_router_ignores_it() {
        let mut joined = joined();
        joined.keep(Some(Kind::Provider));
        assert_eq!(joined.extensions.len(), 1);
        joined.keep(Some(Kind::Post));
        assert_eq!(
            joined.text().expect("a text"),
            "no extensions; `beamline-router ext create` registers one"
        );
    }

    #[test]
    fn records_stay_as_the_router_wrote_them() {
        let document = serde_json::to_string(&joined()).expect("JSON");
        assert!(
            document.contains(r#""config":{"limit":1.50}"#),
            "{document}"
        );
    }
}
