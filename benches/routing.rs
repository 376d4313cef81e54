//! What choosing costs: the plan of a request, and the choice of its provider.
//!
//! The promises: less than 2 us for a choice among ten providers, less than 20 us for a plan of ten
//! extensions with versions and instances. The partner in each group is the same work without what
//! the promise is about.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench may panic: it measures nothing then"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use beamline_actors::testing::content;
use beamline_contract::fields::Fields;
use beamline_domain::conditions::Facts;
use beamline_domain::request::plan::{Plan, PlanLimits};
use beamline_domain::request::run::{Next, Run};
use beamline_domain::request::{Request, RequestHeaders, RequestKind, RequestLimits};
use beamline_domain::snapshot::Snapshot;
use beamline_domain::target::retry_budget::Unlimited;
use beamline_domain::target::selection::{ChoiceContext, EndpointState, weighted};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};

const BODY: &[u8] =
    br#"{"version": "1", "tenant_id": "acme", "request_id": "r-1", "message": {"payload": "hello"},
    "context": {"user_id": "u-7", "lang": "en", "tier": "gold"}}"#;

/// Ten extensions, three of each kind but one provider more; `rich` with three versions and three
/// instances each.
fn ten_extensions(rich: bool) -> Snapshot {
    let kinds = ["pre", "validator", "post", "provider"];
    let record = |n: usize| {
        let kind = kinds[n % 4];
        let id = format!("{}_{n}", kinds[n % 4]);
        let mut record = json!({"id": id, "type": kind, "config": {"a": 1, "b": [1, 2]}});
        if rich {
            let version = |v: usize, rules: Value| json!({"version": format!("v{v}"), "routing_rules": rules, "config": {"v": v}});
            record["versions"] = json!([
                version(2, json!({"tenant": ["other", "another"], "tier": "gold"})),
                version(3, json!({"tier": "silver", "environment": "prod"})),
                version(4, json!({"percent": 10})),
            ]);
            let instance = |i: usize| json!({"instance_id": format!("i{i}"), "subject": format!("beamline.ext.{kind}.{id}.i{i}"), "weight": 30});
            record["instances"] = json!([instance(1), instance(2), instance(3)]);
        }
        record.to_string()
    };
    let records: Vec<String> = (0..10).map(record).collect();
    let ids = |kind: usize| {
        (0..10)
            .filter(|n| n % 4 == kind)
            .map(|n| json!({"id": format!("{}_{n}", kinds[kind])}))
            .collect::<Vec<_>>()
    };
    let providers: Vec<Value> = (0..10)
        .filter(|n| n % 4 == 3)
        .map(|n| json!({"name": format!("provider_{n}")}))
        .collect();
    let policy =
        json!({"pre": ids(0), "validators": ids(1), "post": ids(2), "providers": providers})
            .to_string();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    Snapshot::new(content(&records, &[("acme", "default", &policy)]))
}

fn ten_providers() -> Snapshot {
    let records: Vec<String> = (0..10)
        .map(|n| json!({"id": format!("model_{n}"), "type": "provider"}).to_string())
        .collect();
    let providers: Vec<Value> = (0..10)
        .map(|n| json!({"name": format!("model_{n}"), "weight": n + 1}))
        .collect();
    let policy = json!({"providers": providers}).to_string();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    Snapshot::new(content(&records, &[("acme", "default", &policy)]))
}

fn request() -> Request {
    let limits = RequestLimits {
        default_timeout: Duration::from_secs(1),
        max_timeout: Duration::from_secs(1),
        allowed_tenants: None,
    };
    Request::parse(BODY, &RequestHeaders::default(), &limits, || 1).expect("a request")
}

fn plan(snapshot: &Snapshot, context: &Fields) -> Plan {
    let facts = Facts {
        tenant_id: "acme",
        policy_id: "default",
        environment: "prod",
        message_type: "chat",
        context,
    };
    let limits = PlanLimits {
        subject_prefix: "beamline".into(),
        max_extensions: 32,
    };
    Plan::new(&facts, snapshot, &limits, &mut choice(&mut || 0.5)).expect("a plan")
}

fn choice(roll: &mut dyn FnMut() -> f64) -> ChoiceContext<'_> {
    ChoiceContext {
        endpoint_state: &|_, _| EndpointState::default(),
        roll,
        left: Duration::from_secs(1),
    }
}

fn plans(criterion: &mut Criterion) {
    let plain = ten_extensions(false);
    let rich = ten_extensions(true);
    let request = request();
    let mut group = criterion.benchmark_group("plan of ten extensions");
    group.bench_function("partner: one version, one instance", |b| {
        b.iter(|| plan(black_box(&plain), &request.context))
    });
    group.bench_function("three versions and three instances each", |b| {
        b.iter(|| plan(black_box(&rich), &request.context))
    });
    group.finish();
}

fn choices(criterion: &mut Criterion) {
    let request = request();
    let plan = Arc::new(plan(&ten_providers(), &request.context));
    let mut run = Run::new(RequestKind::Decide, request, plan, "prod".into(), 6);
    while !matches!(run.next_step(), Next::Choose) {}
    let weights: Vec<f64> = (1..=10).map(f64::from).collect();
    let mut group = criterion.benchmark_group("choice among ten providers");
    group.bench_function("partner: the roll of the dice alone", |b| {
        b.iter(|| weighted(black_box(&weights), 0.5))
    });
    group.bench_function("exclusions, choice and decision", |b| {
        b.iter_batched_ref(
            || run.clone(),
            |run| run.choose(&mut choice(&mut || black_box(0.5)), &Unlimited),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, plans, choices);
criterion_main!(benches);
