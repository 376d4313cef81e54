//! How extensions do, one row for each place that they run at.

use std::collections::BTreeMap;

use beamline_contract::admin::{ExtensionHealth, HealthFigures, TargetHealth};
use serde_json::value::RawValue;

use super::{table, text};
use crate::cli::Failure;

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
pub(in crate::cli) fn table(health: &BTreeMap<String, &RawValue>) -> Result<String, Failure> {
    if health.is_empty() {
        return Ok("no extensions; `beamline-router ext create` registers one".to_owned());
    }
    let mut table =
        table::with_header(&HEADER, &NUMBERS).sparing(&["P50", "P99", "REQUESTS", "INSTANCE"]);
    for (id, entry) in health {
        let health: ExtensionHealth = serde_json::from_str(entry.get()).map_err(|error| {
            Failure::Failed(format!("the health in the answer cannot be read: {error}."))
        })?;
        table.add_rows(rows(id, &health));
    }
    Ok(table::text(&table))
}

fn rows(id: &str, health: &ExtensionHealth) -> Vec<[String; 10]> {
    let in_flight = match health.places {
        Some(places) => format!("{}/{}", places.in_flight, places.limit),
        None => "-".to_owned(),
    };
    match health.targets.as_slice() {
        [only] => vec![row(id, names(only), &only.figures, &in_flight)],
        [] => vec![row(id, everywhere("-"), &health.figures, &in_flight)],
        several => {
            let mut rows = vec![row(id, everywhere("all"), &health.figures, &in_flight)];
            for one in several {
                rows.push(row(id, names(one), &one.figures, "-"));
            }
            rows
        }
    }
}

fn everywhere(word: &str) -> [String; 2] {
    [word.to_owned(), word.to_owned()]
}

fn names(target: &TargetHealth) -> [String; 2] {
    [&target.version, &target.instance]
        .map(|name| name.as_deref().map_or_else(|| "-".to_owned(), text::plain))
}

fn row(
    id: &str,
    [version, instance]: [String; 2],
    figures: &HealthFigures,
    in_flight: &str,
) -> [String; 10] {
    let success = figures.success_rate.map(text::percentage);
    [
        text::plain(id),
        version,
        instance,
        text::plain(&figures.status),
        success.unwrap_or_else(|| "-".to_owned()),
        figures.requests.to_string(),
        latency(figures.latency_p50_ms),
        latency(figures.latency_p95_ms),
        latency(figures.latency_p99_ms),
        in_flight.to_owned(),
    ]
}

/// In one unit, so that the columns can be compared.
fn latency(milliseconds: Option<f64>) -> String {
    milliseconds.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"))
}

#[cfg(test)]
mod tests {
    use beamline_contract::admin::HealthAnswer;

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
        let answer: HealthAnswer<&RawValue> = serde_json::from_str(ANSWER).expect("an answer");
        let expected = "\
ID     VERSION  INSTANCE  HEALTH     SUCCESS  REQUESTS     P50     P95      P99  IN-FLIGHT
clean  all      all       degraded     90.0%        20  2.0 ms  9.5 ms  10.0 ms       1/36
clean  v1       eu        healthy     100.0%        18  2.0 ms  3.0 ms   3.0 ms          -
clean  v2       -         unhealthy     0.0%         2       -       -        -          -
guard  v1       -         healthy     100.0%         3  1.0 ms  1.0 ms   1.0 ms      0/500
new    -        -         unknown          -         0       -       -        -          -";
        assert_eq!(table(&answer.health).expect("a table"), expected);
    }
}
