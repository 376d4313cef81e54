//! `ext health`: how each extension, version and instance has done lately, as the replica that answers sees it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use crate::cli::client::Client;
use crate::cli::{Console, Failure, table, text};

pub(super) async fn run(
    client: &Client,
    id: Option<&str>,
    console: Console,
) -> Result<(), Failure> {
    let body = id.map_or_else(|| json!({}), |id| json!({"id": id}));
    let mut answer: Answer = client.admin("get_extension_health", &body).await?.read()?;
    if let Some(id) = id {
        // A router of an earlier version tells of all.
        answer.health.retain(|known, _| known == id);
    }
    let document =
        serde_json::to_string(&answer).map_err(|error| Failure::Failed(error.to_string()))?;
    console.answer(&document, || as_table(&answer.health))
}

/// Entries stay as the router wrote them.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    ok: bool,
    health: BTreeMap<String, Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
struct Health {
    #[serde(flatten)]
    figures: Figures,
    in_flight: Option<u64>,
    limit: Option<u64>,
    #[serde(default)]
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    version: Option<String>,
    instance: Option<String>,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Debug, Deserialize)]
struct Figures {
    status: String,
    success_rate: Option<f64>,
    #[serde(default)]
    requests: u64,
    latency_p50_ms: Option<f64>,
    latency_p95_ms: Option<f64>,
    latency_p99_ms: Option<f64>,
}

const HEADER: [&str; 10] = [
    "ID",
    "VERSION",
    "INSTANCE",
    "HEALTH",
    "SUCCESS",
    "REQUESTS",
    "P50",
    "P95",
    "P99",
    "IN-FLIGHT",
];
const NUMBERS: [&str; 6] = ["SUCCESS", "REQUESTS", "P50", "P95", "P99", "IN-FLIGHT"];

/// An extension at one place is one row; one at several has a row for all of them first.
fn as_table(health: &BTreeMap<String, Box<RawValue>>) -> Result<String, Failure> {
    if health.is_empty() {
        return Ok("no extensions; `beamline-router ext create` registers one".to_owned());
    }
    let mut table = table::with_header(&HEADER, &NUMBERS);
    for (id, entry) in health {
        let health: Health = serde_json::from_str(entry.get()).map_err(|error| {
            Failure::Failed(format!("the health in the answer cannot be read: {error}."))
        })?;
        let in_flight = match (health.in_flight, health.limit) {
            (Some(calls), Some(limit)) => format!("{calls}/{limit}"),
            _ => "-".to_owned(),
        };
        match health.targets.as_slice() {
            [only] => {
                table.add_row(row(id, names(only), &only.figures, &in_flight));
            }
            [] => {
                table.add_row(row(
                    id,
                    ["-".to_owned(), "-".to_owned()],
                    &health.figures,
                    &in_flight,
                ));
            }
            several => {
                table.add_row(row(
                    id,
                    ["all".to_owned(), "all".to_owned()],
                    &health.figures,
                    &in_flight,
                ));
                table.add_rows(
                    several
                        .iter()
                        .map(|one| row(id, names(one), &one.figures, "-")),
                );
            }
        }
    }
    Ok(table::text(&table))
}

fn names(target: &Target) -> [String; 2] {
    [&target.version, &target.instance]
        .map(|name| name.as_deref().map_or_else(|| "-".to_owned(), text::plain))
}

fn row(
    id: &str,
    [version, instance]: [String; 2],
    figures: &Figures,
    in_flight: &str,
) -> [String; 10] {
    let ms =
        |latency: Option<f64>| latency.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
    [
        text::plain(id),
        version,
        instance,
        text::plain(&figures.status),
        figures
            .success_rate
            .map_or_else(|| "-".to_owned(), |rate| format!("{:.1}%", rate * 100.0)),
        figures.requests.to_string(),
        ms(figures.latency_p50_ms),
        ms(figures.latency_p95_ms),
        ms(figures.latency_p99_ms),
        in_flight.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"ok":true,"health":{
        "clean":{"status":"degraded","success_rate":0.9,"requests":20,"latency_p50_ms":2.04,"latency_p95_ms":9.5,
          "latency_p99_ms":10.0,"in_flight":1,"waiting":0,"limit":36,"ceiling":40,"targets":[
          {"version":"v1","instance":"eu","subject":"b.ext.pre.clean.eu","status":"healthy","success_rate":1.0,
           "requests":18,"latency_p50_ms":2.0,"latency_p95_ms":3.0,"latency_p99_ms":3.0},
          {"version":"v2","subject":"b.ext.pre.clean.v2","status":"unhealthy","success_rate":0.0,"requests":2,
           "latency_p50_ms":null,"latency_p95_ms":null,"latency_p99_ms":null}]},
        "guard":{"status":"healthy","success_rate":1.0,"requests":3,"latency_p50_ms":1.0,"latency_p95_ms":1.0,
          "latency_p99_ms":1.0,"in_flight":0,"limit":500,"targets":[{"version":"v1","subject":"b.ext.validate.guard.v1",
          "status":"healthy","success_rate":1.0,"requests":3,"latency_p50_ms":1.0,"latency_p95_ms":1.0,"latency_p99_ms":1.0}]},
        "new":{"status":"unknown","success_rate":null,"requests":0}}}"#;

    #[test]
    fn each_version_and_instance_has_a_row() {
        let answer: Answer = serde_json::from_str(ANSWER).expect("an answer");
        let expected = "\
ID     VERSION  INSTANCE  HEALTH     SUCCESS  REQUESTS     P50     P95      P99  IN-FLIGHT
clean  all      all       degraded     90.0%        20  2.0 ms  9.5 ms  10.0 ms       1/36
clean  v1       eu        healthy     100.0%        18  2.0 ms  3.0 ms   3.0 ms          -
clean  v2       -         unhealthy     0.0%         2       -       -        -          -
guard  v1       -         healthy     100.0%         3  1.0 ms  1.0 ms   1.0 ms      0/500
new    -        -         unknown          -         0       -       -        -          -";
        assert_eq!(as_table(&answer.health).expect("a table"), expected);
    }
}
