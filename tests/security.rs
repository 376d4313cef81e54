//! Attacks from the bus: each test is named after what it tries. docs/security.md lists them.

use beamline_test_support::RouterProcess;

mod administration;
mod answers;
mod audit;
mod bad_messages;
mod fleet;
mod keys;
mod nats_setup;
mod own_machine;
mod probes;
mod quotas;
mod reply_subjects;
mod signatures;
mod tenants;
mod tenants_by_subject;

/// The value of a metric, with its labels as they are written; 0 while it does not exist.
async fn metric(router: &RouterProcess, name: &str) -> f64 {
    let (_, metrics) = router.get("/metrics").await.expect("metrics");
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    value.map_or(0.0, |value| value.trim().parse().expect("a number"))
}
