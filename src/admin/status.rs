//! What can be seen of a running router: health, breakers, the supervision tree.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use beamline_actors::domain::run::milliseconds;
use serde_json::{Map, Value, json};

use super::Shared;

pub(super) fn health(shared: &Shared) -> Value {
    let line = |id: &str| {
        let figures = shared.surroundings.invokers.find(id).map(|invoker| *invoker.figures()).unwrap_or_default();
        json!({
            "status": figures.status(),
            "success_rate": figures.success_rate,
            "requests": figures.requests,
            "latency_p50_ms": figures.p50.map(milliseconds),
            "latency_p95_ms": figures.p95.map(milliseconds),
            "latency_p99_ms": figures.p99.map(milliseconds),
        })
    };
    json!({"ok": true, "health": by_extension(shared, line)})
}

pub(super) fn breakers(shared: &Shared) -> Value {
    let line = |id: &str| {
        let Some(invoker) = shared.surroundings.invokers.find(id) else {
            return json!({"state": "closed", "opened_at": null, "failure_count": 0, "error_rate": 0.0});
        };
        let (breaker, figures) = (invoker.breaker(), invoker.figures());
        json!({
            "state": breaker.state.as_str(),
            "opened_at": breaker.opened_at.map(wall_time),
            "failure_count": breaker.failures,
            "error_rate": figures.success_rate.map_or(0.0, |rate| 1.0 - rate),
        })
    };
    json!({"ok": true, "states": by_extension(shared, line)})
}

pub(super) fn tree(shared: &Shared) -> Value {
    let all = &shared.surroundings;
    let freshness = all.registry.freshness();
    let draining = all.draining.load(Ordering::Relaxed);
    json!({
        "ok": true,
        "router": {
            "instance_id": all.identity.instance_id,
            "version": env!("CARGO_PKG_VERSION"),
            "environment": all.identity.environment,
            "uptime_ms": u64::try_from(all.identity.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "status": if draining { "draining" } else { "running" },
            "revision": freshness.revision,
            "registry_source": freshness.source,
            "stale_seconds": freshness.stale_seconds,
        },
        "tree": shared.tree.get().map(|root| root.view()),
    })
}

fn by_extension(shared: &Shared, line: impl Fn(&str) -> Value) -> Map<String, Value> {
    let snapshot = shared.surroundings.registry.snapshot();
    snapshot.extensions().into_iter().map(|extension| (extension.id.clone(), line(&extension.id))).collect()
}

fn wall_time(at: Instant) -> String {
    let ago: Duration = Instant::now().saturating_duration_since(at);
    humantime::format_rfc3339_millis(SystemTime::now() - ago).to_string()
}
