//! The tables of the guide say what the code does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beamline_actors::ports::Answer;
use beamline_actors::testing::content;
use beamline_contract::answer::DecisionReason;
use beamline_contract::fields::Fields;
use beamline_contract::policy::Status;
use beamline_contract::record::Kind;
use beamline_domain::conditions::Facts;
use beamline_domain::policy::Policy;
use beamline_domain::policy::complexity::{self, ComplexityLimits};
use beamline_domain::policy::waves::waves;
use beamline_domain::request::answer;
use beamline_domain::request::failure::CallFailure;
use beamline_domain::request::fallback::{Fallbacks, Recovery};
use beamline_domain::request::plan::{Plan, PlanLimits};
use beamline_domain::request::reply;
use beamline_domain::request::run::{Next, Run};
use beamline_domain::request::{Request, RequestHeaders, RequestKind, RequestLimits};
use beamline_domain::snapshot::Snapshot;
use beamline_domain::target::retry_budget::Unlimited;
use beamline_domain::target::selection::{ChoiceContext, EndpointState};
use beamline_markdown::{Item, code, items, tables};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{GUIDE, blocks};

#[test]
fn the_words_for_failures_are_all_there() {
    let told: Vec<String> = tables(GUIDE, &["word", "failure"])
        .iter()
        .flat_map(|table| &table.rows)
        .map(|row| code(&row[0])[0].to_owned())
        .collect();
    assert_eq!(told, Status::WORDS.map(|(word, _)| word));
}

#[test]
fn each_failure_fits_the_words_that_the_table_has() {
    for row in tables(GUIDE, &["what happened", "fits"])
        .iter()
        .flat_map(|table| &table.rows)
    {
        let failure = failure(&row[0]);
        let fits = |word: &str| {
            let policy = json!({"providers": [{"name": "p"}], "fallbacks": [{"when": {"status": word}, "to": "q"}]});
            let moved = |plan: Plan, facts: &Facts<'_>| {
                let fallbacks = Fallbacks {
                    plan: &plan,
                    facts,
                    failed: None,
                    provider: None,
                    is_open: &|index| index == 1,
                    roll: 0.0,
                };
                fallbacks.recovery(failure.row().class)
            };
            planned(&policy.to_string(), &[], "t", "prod", "{}", moved)
                == Recovery::Switch {
                    to: 1,
                    rule: Some(0),
                }
        };
        let codes = (100..600).map(|code: u16| code.to_string());
        // In the table 429 is a word; whichever way it is written, it is one.
        // The last resort is for every failure, and so is in no row.
        let words = Status::WORDS
            .iter()
            .filter(|(_, status)| *status != Status::AllProvidersFailed);
        let words = words.map(|(word, _)| (*word).to_owned());
        let got: BTreeSet<String> = words.chain(codes).filter(|word| fits(word)).collect();
        let told: BTreeSet<String> = code(&row[1]).into_iter().map(str::to_owned).collect();
        assert_eq!(told, got, "{}", row[0]);
    }
}

/// The failure that the first cell of a row tells of.
fn failure(cell: &str) -> CallFailure {
    let answered = |body: &str, header: Option<u16>| {
        let service_error = header.map(|code| (Some(code), "failed".to_owned()));
        let answer = Answer {
            body: Bytes::copy_from_slice(body.as_bytes()),
            service_error,
            ..Answer::default()
        };
        reply::read(Kind::Provider, &answer).expect_err("a failure")
    };
    match (code(cell).as_slice(), cell) {
        ([body], _) if body.starts_with('{') => answered(body, None),
        ([header], _) if header.starts_with("Nats-Service-Error-Code: ") => answered(
            "",
            Some(header.rsplit(' ').next().unwrap().parse().unwrap()),
        ),
        (_, "no answer within `timeout_ms`") => CallFailure::Timeout,
        (_, "nobody listens") => CallFailure::NoResponders,
        (_, "breaker open") => CallFailure::CircuitOpen {
            retry_after: Duration::ZERO,
            opened_by: None,
        },
        (_, "an answer that is no JSON object") => answered("[]", None),
        _ => panic!("nobody knows how to make this happen: {cell}"),
    }
}

#[test]
fn the_waits_are_those_of_the_backoff() {
    for row in tables(GUIDE, &["strategy", "1"])
        .iter()
        .flat_map(|table| &table.rows)
    {
        let strategy = code(&row[0])[0];
        let backoff =
            json!({"strategy": strategy, "base_ms": 100, "max_ms": 1000, "jitter": false});
        let policy = json!({"providers": ["p"], "fallbacks": [{"retry": 5, "backoff": backoff}]});
        let policy = Policy::parse(&policy.to_string()).unwrap();
        let wait = |number| {
            policy.fallbacks[0]
                .backoff
                .wait(number, 1.0)
                .as_millis()
                .to_string()
        };
        assert_eq!(
            row[1..],
            (1..=5).map(wait).collect::<Vec<_>>(),
            "{strategy}"
        );
    }
}

#[test]
fn each_reason_has_its_priority() {
    let told: Vec<(String, String)> = tables(GUIDE, &["reason", "priority"])
        .iter()
        .flat_map(|table| &table.rows)
        .map(|row| (code(&row[0])[0].to_owned(), row[1].clone()))
        .collect();
    let known = DecisionReason::WORDS.iter();
    let all: Vec<(String, String)> = known
        .map(|(word, reason)| ((*word).to_owned(), reason.priority().to_string()))
        .collect();
    assert_eq!(told, all);
}

#[test]
fn each_request_gets_the_version_that_the_table_has() {
    let mut extension = None;
    let mut checked = 0;
    for item in items(GUIDE) {
        match item {
            Item::Block(block) if block.marks == ["json", "extension"] => {
                extension = Some(block.text)
            }
            Item::Table(table)
                if table.header == ["tenant", "environment", "context", "version"] =>
            {
                let record = extension.clone().expect("an extension before the table");
                for row in &table.rows {
                    let [tenant, environment, context, version] =
                        [0, 1, 2, 3].map(|index| code(&row[index])[0]);
                    let policy = r#"{"validators": [{"id": "pii_guard"}], "providers": ["p"]}"#;
                    let chosen =
                        |plan: Plan, _: &Facts<'_>| plan.validators[0].target.version.to_string();
                    let got = planned(policy, &[&record], tenant, environment, context, chosen);
                    assert_eq!(got, version, "line {}: {row:?}", table.line);
                    checked += 1;
                }
            }
            Item::Block(_) | Item::Table(_) | Item::Section => {}
        }
    }
    assert!(checked >= 6, "the table of versions is gone");
}

#[test]
fn the_waves_are_those_of_the_policy() {
    let mut policy = None;
    let mut checked = 0;
    for block in blocks() {
        if block.marks == ["json", "policy"] {
            policy = Some(Policy::parse(&block.text).unwrap());
        } else if block.marks == ["text", "waves"] {
            let pre = &policy.as_ref().unwrap().pre;
            let ids = |wave: &Vec<usize>| {
                wave.iter()
                    .map(|index| pre[*index].id.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let waves = waves(pre).unwrap();
            let got: String = waves
                .iter()
                .map(ids)
                .enumerate()
                .map(|(index, ids)| format!("{}: {ids}\n", index + 1))
                .collect();
            assert_eq!(block.text, got, "line {}", block.line);
            checked += 1;
        }
    }
    assert!(checked > 0, "the waves are gone");
}

#[test]
fn the_scores_follow_the_formula() {
    let limits = ComplexityLimits {
        total: 4,
        per_kind: 2,
        assumed_latency: Duration::from_millis(30),
        latency: Duration::from_millis(150),
    };
    for row in tables(GUIDE, &["pre", "validators"])
        .iter()
        .flat_map(|table| &table.rows)
    {
        let stage = |index: usize, kind: &str| -> Vec<Value> {
            (0..row[index].parse().unwrap())
                .map(|n: u32| json!({"id": format!("{kind}{n}")}))
                .collect()
        };
        let policy = json!({"pre": stage(0, "a"), "validators": stage(1, "b"), "post": stage(2, "c"), "providers": ["p"]});
        let complexity = complexity::assess(
            &Policy::parse(&policy.to_string()).unwrap(),
            &limits,
            &|_| None,
        );
        let got = (
            complexity.complexity_score.to_string(),
            &*complexity.complexity_level,
        );
        assert_eq!((row[3].clone(), code(&row[4])[0]), got, "{row:?}");
    }
}

#[test]
fn each_level_of_explanation_has_the_fields_that_the_table_has() {
    let mut so_far = BTreeSet::new();
    for row in tables(GUIDE, &["level", "has"])
        .iter()
        .flat_map(|table| &table.rows)
    {
        so_far.extend(code(&row[1]).into_iter().map(str::to_owned));
        let context = json!({"detail_level": code(&row[0])[0]}).to_string();
        let got = planned(
            r#"{"providers": ["p"]}"#,
            &[],
            "t",
            "prod",
            &context,
            |plan, facts| {
                let explanation = decided(plan, facts)["decision"]["explanation"].clone();
                explanation
                    .as_object()
                    .unwrap()
                    .keys()
                    .cloned()
                    .collect::<BTreeSet<_>>()
            },
        );
        assert_eq!(so_far, got, "{row:?}");
    }
}

/// The answer of `decide`.
fn decided(plan: Plan, facts: &Facts<'_>) -> Value {
    let context: Value = serde_json::from_str(&facts.context.to_json()).unwrap();
    let body = json!({"version": "1", "tenant_id": "t", "request_id": "r", "message": {"payload": 1}, "context": context});
    let time = Duration::from_secs(1);
    let limits = RequestLimits {
        default_timeout: time,
        max_timeout: time,
        allowed_tenants: None,
    };
    let request = Request::parse(
        body.to_string().as_bytes(),
        &RequestHeaders::default(),
        &limits,
        || 1,
    )
    .unwrap();
    let mut run = Run::new(
        RequestKind::Decide,
        request,
        Arc::new(plan),
        "prod".into(),
        6,
    );
    while let Next::Choose = run.next_step() {
        let mut choice = ChoiceContext {
            endpoint_state: &|_, _| EndpointState::default(),
            roll: &mut || 0.0,
            left: time,
        };
        run.choose(&mut choice, &Unlimited);
    }
    serde_json::from_slice(&answer::of_run(&run, SystemTime::UNIX_EPOCH)).unwrap()
}

/// What comes of a plan of this policy, with these records and plain ones for everything else.
fn planned<T>(
    policy: &str,
    records: &[&str],
    tenant: &str,
    environment: &str,
    context: &str,
    take: impl FnOnce(Plan, &Facts<'_>) -> T,
) -> T {
    let policy = Arc::new(Policy::parse(policy).unwrap());
    let is_given = |id: &str| {
        records
            .iter()
            .any(|record| record.contains(&format!("\"id\": \"{id}\"")))
    };
    let plain: Vec<String> = policy
        .references()
        .filter(|(id, ..)| !is_given(id))
        .map(|(id, kind, _)| json!({"id": id, "type": kind.as_str()}).to_string())
        .collect();
    let all: Vec<&str> = records
        .iter()
        .copied()
        .chain(plain.iter().map(String::as_str))
        .collect();
    let snapshot = Snapshot::new(content(&all, &[]));
    let context = Fields::parse(context).unwrap();
    let facts = Facts {
        tenant_id: tenant,
        policy_id: "default",
        environment,
        message_type: "chat",
        context: &context,
    };
    let limits = PlanLimits {
        subject_prefix: "beamline".into(),
        max_extensions: 32,
    };
    let mut choice = ChoiceContext {
        endpoint_state: &|_, _| EndpointState::default(),
        roll: &mut || 0.0,
        left: Duration::from_secs(1),
    };
    take(
        Plan::of_policy(policy, &facts, &snapshot, &limits, &mut choice).unwrap(),
        &facts,
    )
}
