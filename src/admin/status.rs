//! What can be seen of a running router: health, the supervision tree.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use beamline_actors::domain::extension::Extension;
use beamline_actors::domain::health::Figures;
use beamline_actors::domain::run::milliseconds;
use beamline_actors::invoker::{Invoker, TargetState};
use beamline_actors::invokers::InUse;
use serde_json::{Map, Value, json};

use super::Shared;

pub(super) fn health(shared: &Shared) -> Value {
    let line = |extension: &Extension| {
        let invoker = shared.surroundings.invokers.find(&extension.id);
        let figures = invoker.as_ref().map(|invoker| *invoker.figures()).unwrap_or_default();
        let mut line = figures_of(&figures);
        if let Some(alive) = invoker.as_ref().and_then(|invoker| invoker.alive()) {
            line.insert("alive".into(), json!(alive));
        }
        if let Some(in_use) = shared.surroundings.invokers.in_use(&extension.id) {
            let InUse { in_flight, waiting, limit, ceiling } = in_use;
            line.extend(fields(
                json!({"in_flight": in_flight, "waiting": waiting, "limit": limit, "ceiling": ceiling}),
            ));
        }
        add_targets(&mut line, shared, extension, invoker.as_deref(), |target| figures_of(&target.figures()));
        line
    };
    json!({"ok": true, "health": by_extension(shared, line)})
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
    if let Value::Object(fields) = line { fields } else { Line::new() }
}

/// Adds `targets`, a line for each subject that was called, when the extension has more than one of them.
pub(super) fn add_targets(
    line: &mut Line,
    shared: &Shared,
    extension: &Extension,
    invoker: Option<&Invoker>,
    show: impl Fn(&TargetState) -> Line,
) {
    let targets = invoker.map(Invoker::targets).unwrap_or_default();
    if targets.len() < 2 {
        return;
    }
    let names = names_of(extension, &shared.surroundings.prefix);
    let lines = targets.iter().map(|target| {
        let mut line = names.get(&*target.subject).cloned().unwrap_or_default();
        line.insert("subject".into(), json!(&*target.subject));
        line.extend(show(target));
        Value::Object(line)
    });
    line.insert("targets".into(), lines.collect());
}

/// Version and instance of each subject of an extension, as the fields of a line.
fn names_of(extension: &Extension, prefix: &str) -> HashMap<String, Line> {
    let own = &extension.version;
    let mut names = HashMap::new();
    let mut name = |subject: String, line: Value| {
        names.entry(subject).or_insert_with(|| fields(line));
    };
    for instance in &extension.instances {
        name(instance.subject.clone(), json!({"version": own, "instance": instance.instance_id}));
    }
    name(extension.effective_subject(prefix), json!({"version": own}));
    for version in &extension.versions {
        let derived = || extension.kind.subject(prefix, &extension.id, &version.version);
        name(version.subject.clone().unwrap_or_else(derived), json!({"version": version.version}));
    }
    names
}

pub(super) fn by_extension(shared: &Shared, line: impl Fn(&Extension) -> Line) -> Line {
    let snapshot = shared.surroundings.registry.snapshot();
    let line = |extension: &Arc<Extension>| (extension.id.clone(), Value::Object(line(extension)));
    snapshot.extensions().into_iter().map(line).collect()
}

pub(super) fn wall_time(at: Instant) -> String {
    let ago: Duration = Instant::now().saturating_duration_since(at);
    humantime::format_rfc3339_millis(SystemTime::now() - ago).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_of_an_extension_has_its_version_and_instance() {
        let record = r#"{"id": "clean", "type": "pre", "version": "v2", "instances": [
            {"instance_id": "eu", "subject": "p.ext.pre.clean.eu"}], "versions": [
            {"version": "v3"}, {"version": "v4", "subject": "p.ext.pre.clean.next"}]}"#;
        let names = names_of(&Extension::parse(record, "p").unwrap(), "p");
        let name = |subject: &str| Value::Object(names.get(subject).cloned().unwrap());
        assert_eq!(name("p.ext.pre.clean.eu"), json!({"version": "v2", "instance": "eu"}));
        assert_eq!(name("p.ext.pre.clean.v2"), json!({"version": "v2"}));
        assert_eq!(name("p.ext.pre.clean.v3"), json!({"version": "v3"}));
        assert_eq!(name("p.ext.pre.clean.next"), json!({"version": "v4"}));
        assert_eq!(names.len(), 4);
    }
}
