//! What a request pays for the registry: a lookup among 10,000 extensions.
//!
//! The promise is less than a microsecond for a lookup. Figures count as ratios within one run: the
//! first group is the plain map that the lookup is measured against.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use beamline_actors::invoker::Invoker;
use beamline_actors::testing::content;
use beamline_contract::record::{BreakerOverrides, Kind};
use beamline_domain::snapshot::Snapshot;
use beamline_domain::target::breaker::{Mode, Outcome, Settings};
use criterion::{Criterion, criterion_group, criterion_main};

const EXTENSIONS: usize = 10_000;
const POLICY: &str = r#"{"pre": [{"id": "pre_1"}, {"id": "pre_2"}], "validators": [{"id": "val_1"}, {"id": "val_2"}],
    "providers": [{"name": "model_1", "weight": 70}, {"name": "model_2", "weight": 30}], "post": [{"id": "post_1"}]}"#;

fn snapshot() -> Snapshot {
    let named = [
        ("pre_1", "pre"),
        ("pre_2", "pre"),
        ("val_1", "validator"),
        ("val_2", "validator"),
        ("model_1", "provider"),
        ("model_2", "provider"),
        ("post_1", "post"),
    ];
    let record = |id: &str, kind: &str| {
        format!(r#"{{"id": "{id}", "type": "{kind}", "config": {{"a": 1}}}}"#)
    };
    let mut records: Vec<String> = named.iter().map(|(id, kind)| record(id, kind)).collect();
    records.extend((records.len()..EXTENSIONS).map(|n| record(&format!("extension_{n}"), "pre")));
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    Snapshot::new(content(&records, &[("acme", "default", POLICY)]))
}

fn lookups(criterion: &mut Criterion) {
    let ids: Vec<String> = (7..EXTENSIONS).map(|n| format!("extension_{n}")).collect();
    let plain: HashMap<&str, usize> = ids
        .iter()
        .enumerate()
        .map(|(n, id)| (id.as_str(), n))
        .collect();
    let shared = ArcSwap::from_pointee(snapshot());
    let mut group = criterion.benchmark_group("registry of 10,000 extensions");
    let mut at = ids.iter().cycle();
    group.bench_function("partner: plain map", |b| {
        b.iter(|| plain.get(black_box(at.next().map_or("", String::as_str))))
    });
    let mut at = ids.iter().cycle();
    group.bench_function("extension lookup", |b| {
        b.iter(|| {
            shared
                .load()
                .extension(black_box(at.next().map_or("", String::as_str)))
                .map(Arc::clone)
        })
    });
    group.bench_function("policy lookup", |b| {
        b.iter(|| {
            shared
                .load()
                .policy(black_box("acme"), black_box("default"))
                .map(Arc::clone)
        })
    });
    group.finish();
}

fn breaker(criterion: &mut Criterion) {
    let invoker = Invoker::new("model");
    let subjects: Vec<Arc<str>> = (0..10)
        .map(|n| format!("beamline.provider.model.eu_{n}").into())
        .collect();
    let took = Duration::from_millis(1);
    let settings = Settings::new(
        Kind::Provider,
        Duration::from_secs(20),
        &BreakerOverrides::default(),
    );
    for subject in &subjects {
        let permit = invoker.target(subject).permit(Mode::Normal, &settings);
        let _ = permit.map(|permit| permit.finish(Outcome::Success, took));
    }
    let mut at = subjects.iter().cycle();
    criterion.bench_function("breaker: permit and outcome", |b| {
        b.iter(|| {
            let Some(subject) = at.next() else { return };
            if let Ok(permit) = invoker
                .target(black_box(subject))
                .permit(Mode::Normal, black_box(&settings))
            {
                permit.finish(black_box(Outcome::Success), took);
            }
        });
    });
    let mut at = subjects.iter().cycle();
    criterion.bench_function("breaker: endpoint_state of a known target", |b| {
        b.iter(|| {
            invoker.endpoint_state(
                black_box(at.next().map_or("", |subject| subject)),
                Mode::Normal,
            )
        })
    });
}

criterion_group!(benches, lookups, breaker);
criterion_main!(benches);
