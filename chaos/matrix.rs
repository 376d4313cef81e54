//! All scenarios one after the other, as `make chaos` plays them: progress while it runs, one table
//! in the end.

use serde_json::Value;

use crate::gaps;
use crate::outcome::{HEAD, Verdict};
use crate::pace::Pace;
use crate::scenario::Scenario;
use crate::{
    bus, cluster, database, extensions, leaving, pressure, processes, random, registry, resources,
};

fn all() -> impl Iterator<Item = &'static Scenario> {
    let parts = [
        extensions::SCENARIOS,
        bus::SCENARIOS,
        cluster::SCENARIOS,
        database::SCENARIOS,
        registry::SCENARIOS,
        processes::SCENARIOS,
        pressure::SCENARIOS,
        resources::SCENARIOS,
        random::SCENARIOS,
        leaving::SCENARIOS,
    ];
    parts.into_iter().flatten()
}

pub(crate) fn find(id: &str) -> &'static Scenario {
    all()
        .find(|scenario| scenario.id == id)
        .unwrap_or_else(|| panic!("no scenario {id}"))
}

/// Those that `CHAOS_ONLY` names, such as `C1,C9`; all without it.
fn chosen() -> Vec<&'static Scenario> {
    match std::env::var("CHAOS_ONLY") {
        Ok(only) if !only.is_empty() => only.split(',').map(|id| find(id.trim())).collect(),
        Ok(_) | Err(_) => all().collect(),
    }
}

/// Not with the other tests: it takes the whole machine for a long time.
#[ignore = "make chaos plays it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_matrix() {
    let pace = Pace::from_env();
    let scenarios = chosen();
    let mut played = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        println!(
            "[{}/{}] {} {} ...",
            number + 1,
            scenarios.len(),
            scenario.id,
            scenario.name
        );
        let outcome = scenario.play(pace).await;
        println!("{}\n", outcome.story(scenario.id, scenario.name));
        played.push((scenario, outcome));
    }
    println!("{HEAD}");
    for (scenario, outcome) in &played {
        println!("{}", outcome.line(scenario.id, scenario.name));
    }
    for (scenario, _) in &played {
        for reason in gaps::reasons(scenario.id) {
            println!("known gap of {}: {reason}", scenario.id);
        }
    }
    if let Ok(path) = std::env::var("CHAOS_JSON") {
        let rows: Vec<Value> = played
            .iter()
            .map(|(scenario, outcome)| outcome.json(scenario.id, scenario.name))
            .collect();
        std::fs::write(&path, Value::from(rows).to_string())
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let failed = played
        .iter()
        .filter(|(scenario, outcome)| outcome.verdict(scenario.id) == Verdict::Fail);
    let failed: Vec<&str> = failed.map(|(scenario, _)| scenario.id).collect();
    assert!(failed.is_empty(), "failed: {failed:?}");
}
