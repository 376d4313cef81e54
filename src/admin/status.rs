//! What can be seen of a running router: health, the supervision tree.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use beamline_actors::call_limits::InUse;
use beamline_actors::invoker::Invoker;
use beamline_actors::targets::TargetState;
use beamline_contract::record::ExtensionRecord;
use beamline_contract::time::milliseconds;
use beamline_domain::record::{self, SubjectListener};
use beamline_domain::target::health::Figures;
use serde_json::{Map, Value, json};

use super::Shared;
use super::extensions::find;
use super::operations::check_length;
use super::refusal::Refusal;

/// Of one extension, or of all.
pub(super) fn health(shared: &Shared, id: Option<&str>) -> Result<Value, Refusal> {
    let line = |extension: &ExtensionRecord| {
        let invoker = shared.surroundings.invokers.find(&extension.id);
        let figures = invoker
            .as_ref()
            .map(|invoker| *invoker.figures())
            .unwrap_or_default();
        let mut line = figures_of(&figures);
        if let Some(alive) = invoker.as_ref().and_then(|invoker| invoker.alive()) {
            line.insert("alive".into(), json!(alive));
        }
        if let Some(in_use) = shared.surroundings.invokers.in_use(&extension.id) {
            let InUse {
                in_flight,
                waiting,
                limit,
                ceiling,
            } = in_use;
            line.extend(fields(
                json!({"in_flight": in_flight, "waiting": waiting, "limit": limit, "ceiling": ceiling}),
            ));
        }
        let targets = targets_of(extension, invoker.as_deref(), |target| {
            figures_of(&target.figures())
        });
        if !targets.is_empty() {
            line.insert("targets".into(), targets.into());
        }
        line
    };
    Ok(json!({"ok": true, "health": by_extension(shared, id, line)?}))
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
            "pressure": all.pipelines.pressure().as_str(),
            "lag_ms": milliseconds(Duration::from_secs_f64(all.metrics.lag.get().max(0.0))),
            "memory_used": all.metrics.memory_used.get(),
        },
        "tree": shared.tree.get().map(|root| root.view()),
    })
}

fn figures_of(figures: &Figures) -> Line {
    let line = json!({
        "status": figures.status(),
        "success_rate": figures.success_rate,
        "requests": figures.requests,
        "latency_p50_ms": figures.p50.map(milliseconds),
        "latency_p95_ms": figures.p95.map(milliseconds),
        "latency_p99_ms": figures.p99.map(milliseconds),
    });
    fields(line)
}

pub(super) type Line = Map<String, Value>;

pub(super) fn fields(line: Value) -> Line {
    if let Value::Object(fields) = line {
        fields
    } else {
        Line::new()
    }
}

/// Adds `targets`, a line for each subject that was called, when the extension has more than one of them.
pub(super) fn add_targets(
    line: &mut Line,
    extension: &ExtensionRecord,
    invoker: Option<&Invoker>,
    show: impl Fn(&TargetState) -> Line,
) {
    let targets = targets_of(extension, invoker, show);
    if targets.len() > 1 {
        line.insert("targets".into(), targets.into());
    }
}

/// A line for each subject that was called, with its version and instance.
fn targets_of(
    extension: &ExtensionRecord,
    invoker: Option<&Invoker>,
    show: impl Fn(&TargetState) -> Line,
) -> Vec<Value> {
    let line = |target: Arc<TargetState>| {
        let mut line = fields(match record::listener(extension, &target.subject) {
            Some(SubjectListener {
                version,
                instance: Some(instance),
            }) => json!({"version": version, "instance": instance}),
            Some(SubjectListener {
                version,
                instance: None,
            }) => json!({"version": version}),
            None => json!({}),
        });
        line.insert("subject".into(), json!(&*target.subject));
        line.extend(show(&target));
        Value::Object(line)
    };
    invoker
        .map(Invoker::targets)
        .unwrap_or_default()
        .into_iter()
        .map(line)
        .collect()
}

/// One line, or that of every extension.
pub(super) fn by_extension(
    shared: &Shared,
    id: Option<&str>,
    line: impl Fn(&ExtensionRecord) -> Line,
) -> Result<Line, Refusal> {
    let snapshot = shared.surroundings.registry.snapshot();
    let line =
        |extension: &Arc<ExtensionRecord>| (extension.id.clone(), Value::Object(line(extension)));
    if let Some(id) = id {
        return Ok(Line::from_iter([line(find(&snapshot, id)?)]));
    }
    check_length(shared, snapshot.extension_count())?;
    Ok(snapshot.extensions().iter().map(line).collect())
}

pub(super) fn wall_time(at: Instant) -> String {
    let ago: Duration = Instant::now().saturating_duration_since(at);
    humantime::format_rfc3339_millis(SystemTime::now() - ago).to_string()
}
