//! The tree as a whole, in memory: one answer for each request, whatever dies.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use beamline_actors::door::Door;
use beamline_actors::invokers::Invokers;
use beamline_actors::ports::{Answer, Author, Change, TransportError};
use beamline_actors::registry::Registry;
use beamline_actors::testing::{MemoryStore, MemoryTransport, content};
use beamline_actors::tree::Root;
use beamline_contract::admin::TreeNode;
use beamline_domain::request::RequestKind;
use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::{Value, json};
use support::{one, plant, send};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

#[path = "support/tree.rs"]
mod support;

const PRE: &str = "beamline.ext.pre.clean.v1";
const VALIDATOR: &str = "beamline.ext.validate.guard.v1";
const PROVIDER: &str = "beamline.provider.model.v1";
const POST: &str = "beamline.ext.post.mask.v1";

struct Tree {
    store: Arc<MemoryStore>,
    bus: Arc<MemoryTransport>,
    registry: Registry,
    invokers: Invokers,
    door: Door,
    root: Root,
}

impl Tree {
    async fn start() -> Self {
        Self::with_limit(100).await
    }

    async fn with_limit(max_in_flight: usize) -> Self {
        let records = [
            r#"{"id": "clean", "type": "pre", "timeout_ms": 100}"#,
            r#"{"id": "guard", "type": "validator", "timeout_ms": 100, "retry": 1}"#,
            r#"{"id": "model", "type": "provider", "timeout_ms": 1000}"#,
            r#"{"id": "mask", "type": "post", "timeout_ms": 100}"#,
        ];
        let policy = r#"{"pre": [{"id": "clean"}], "validators": [{"id": "guard"}], "providers": [{"name": "model"}],
            "post": [{"id": "mask", "mode": "required"}]}"#;
        let content = content(&records, &[("t", "default", policy)]);
        let bus = MemoryTransport::new();
        bus.answers(PRE, r#"{"payload": {"payload": "cleaned"}}"#);
        bus.answers(VALIDATOR, r#"{"status": "ok"}"#);
        bus.answers(PROVIDER, r#"{"output": "an answer"}"#);
        bus.answers(POST, "{}");
        let (store, registry, invokers, door, root) =
            plant(content, bus.clone(), max_in_flight, 5).await;
        Self {
            store,
            bus,
            registry,
            invokers,
            door,
            root,
        }
    }

    /// Sends a request; its answers arrive on the channel.
    fn send(&self, extra: Value) -> mpsc::UnboundedReceiver<Value> {
        let mut request = json!({"version": "1", "tenant_id": "t", "request_id": "r", "message": {"payload": "raw"}});
        request
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        send(&self.door, RequestKind::Route, &request)
    }

    async fn ask(&self) -> Value {
        one(self.send(json!({}))).await
    }

    fn node(&self, name: &str) -> Value {
        let tree = serde_json::to_value(self.root.tree()).unwrap();
        let children = tree["children"].as_array().unwrap();
        children
            .iter()
            .find(|child| child["name"] == name)
            .unwrap()
            .clone()
    }
}

/// The names of a node and of all below it.
fn names(node: &TreeNode) -> Vec<String> {
    let below = node.children.iter().flat_map(names);
    std::iter::once(node.name.clone()).chain(below).collect()
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or("ok")
}

/// Retries until it holds.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(start_paused = true)]
async fn a_request_passes_through_every_stage() {
    let tree = Tree::start().await;
    let answer = tree.ask().await;
    assert_eq!(
        (code(&answer), &answer["response"]["output"]),
        ("ok", &json!("an answer"))
    );
    let sent: Value = serde_json::from_slice(&tree.bus.calls(PROVIDER)[0].body).unwrap();
    assert_eq!(sent["prompt"], "cleaned");
    eventually("the figures of the model", || {
        tree.invokers.find("model").unwrap().figures().requests == 1
    })
    .await;
    let invoker = tree.node("invokers")["children"][0].clone();
    assert_eq!(
        (&invoker["name"], &invoker["breaker"]["state"]),
        (&json!("invoker:clean"), &json!("closed"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_extension_costs_its_own_time_and_no_more() {
    let tree = Tree::start().await;
    tree.bus.hangs(VALIDATOR);
    let begun = Instant::now();
    let answer = tree.ask().await;
    assert_eq!(
        (code(&answer), &answer["error"]["details"]["error_type"]),
        ("validator_blocked", &json!("extension_timeout"))
    );
    assert_eq!(
        tree.bus.calls(VALIDATOR).len(),
        2,
        "retried once, as registered"
    );
    assert!(begun.elapsed() < Duration::from_millis(300));
    let report = &answer["extensions"][1];
    assert_eq!(
        (&report["status"], &report["attempts"]),
        (&json!("timeout"), &json!(2))
    );
}

#[tokio::test(start_paused = true)]
async fn the_requests_own_time_bounds_everything() {
    let tree = Tree::start().await;
    tree.bus.hangs(PROVIDER);
    let begun = Instant::now();
    let answer = one(tree.send(json!({"timeout_ms": 200}))).await;
    assert_eq!(code(&answer), "deadline_exceeded");
    assert!(
        begun.elapsed() <= Duration::from_millis(200),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        tree.invokers.find("model").unwrap().breaker().failures,
        0,
        "a short deadline is not the extension's fault"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_step_goes_on_from_the_last_finished_step_once() {
    let tree = Tree::start().await;
    let panics = Arc::new(AtomicUsize::new(1));
    let left = Arc::clone(&panics);
    tree.bus.handles(PROVIDER, move |_| {
        assert!(
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                .is_err(),
            "planned panic"
        );
        async {
            Ok(Answer {
                body: Bytes::from_static(br#"{"output": "late"}"#),
                ..Answer::default()
            })
        }
        .boxed()
    });
    let answer = tree.ask().await;
    assert_eq!(
        (code(&answer), &answer["response"]["output"]),
        ("ok", &json!("late"))
    );
    assert_eq!(
        tree.bus.calls(PRE).len(),
        1,
        "finished steps are not done again"
    );
    assert_eq!(tree.bus.calls(PROVIDER).len(), 2);

    panics.store(2, Ordering::SeqCst);
    assert_eq!(code(&tree.ask().await), "internal");
    assert_eq!(
        code(&tree.ask().await),
        "ok",
        "the next request is not touched"
    );
}

#[tokio::test(start_paused = true)]
async fn many_panicking_requests_harm_only_themselves() {
    let tree = Tree::start().await;
    tree.bus.handles(PROVIDER, |_| panic!("planned panic"));
    let poisoned: Vec<_> = (0..40).map(|_| tree.send(json!({}))).collect();
    for answers in poisoned {
        assert_eq!(code(&one(answers).await), "internal");
    }
    tree.bus.answers(PROVIDER, r#"{"output": 1}"#);
    assert_eq!(code(&tree.ask().await), "ok");
    assert_eq!(
        tree.node("pipelines")["restarts"],
        0,
        "the supervisor itself never fell"
    );
}

#[tokio::test(start_paused = true)]
async fn load_beyond_the_limit_is_refused_at_the_door() {
    let tree = Tree::with_limit(2).await;
    tree.bus.hangs(PROVIDER);
    let first = tree.send(json!({}));
    let second = tree.send(json!({}));
    let refused = tree.ask().await;
    assert_eq!(code(&refused), "overloaded");
    assert!(
        refused["error"]["details"]["retry_after_ms"]
            .as_u64()
            .unwrap()
            >= 50
    );
    assert_eq!(
        (code(&one(first).await), code(&one(second).await)),
        ("extension_timeout", "extension_timeout")
    );
    tree.bus.answers(PROVIDER, r#"{"output": 1}"#);
    eventually("the permits are home", || tree.door.in_flight() == 0).await;
    assert_eq!(code(&tree.ask().await), "ok");
}

#[tokio::test(start_paused = true)]
async fn an_extension_without_listeners_opens_its_breaker_and_recovers() {
    let tree = Tree::start().await;
    tree.bus.fails(PROVIDER, TransportError::NoResponders);
    for _ in 0..5 {
        assert_eq!(code(&tree.ask().await), "extension_unavailable");
    }
    let calls = tree.bus.calls(PROVIDER).len();
    let answer = tree.ask().await;
    assert_eq!(code(&answer), "extension_unavailable");
    assert!(
        answer["error"]["details"]["retry_after_ms"]
            .as_u64()
            .is_some_and(|ms| ms <= 6_250)
    );
    assert_eq!(
        tree.bus.calls(PROVIDER).len(),
        calls,
        "an open breaker sends nothing"
    );
    tree.bus.answers(PROVIDER, r#"{"output": 1}"#);
    // 5 s and its jitter.
    tokio::time::sleep(Duration::from_millis(6_250)).await;
    assert_eq!(code(&tree.ask().await), "ok");
}

#[tokio::test(start_paused = true)]
async fn a_bus_outage_opens_no_breaker() {
    let tree = Tree::start().await;
    tree.bus.set_away(true);
    for _ in 0..10 {
        assert_eq!(code(&tree.ask().await), "bus_unavailable");
    }
    tree.bus.set_away(false);
    assert_eq!(code(&tree.ask().await), "ok");
}

#[tokio::test(start_paused = true)]
async fn an_invoker_that_fails_comes_back_with_its_breaker() {
    let tree = Tree::start().await;
    tree.bus.fails(PROVIDER, TransportError::NoResponders);
    for _ in 0..5 {
        tree.ask().await;
    }
    let model = tree.invokers.find("model").unwrap();
    model
        .address
        .send(beamline_actors::invoker::InvokerMsg::Crash)
        .unwrap();
    let restarted = || {
        model.address.node().view().restarts == 1 && model.address.node().view().status == "running"
    };
    eventually("the invoker restarts", restarted).await;
    assert_eq!(model.breaker().failures, 5, "the breaker survives");
}

#[tokio::test(start_paused = true)]
async fn an_invoker_that_keeps_failing_takes_its_supervisor_down_but_not_the_root() {
    let mut tree = Tree::start().await;
    tree.ask().await;
    let guard = tree.invokers.find("guard").unwrap();
    let crash_until_invokers_restart = async {
        while tree.invokers.node().view().restarts == 0 {
            let _ = guard
                .address
                .send(beamline_actors::invoker::InvokerMsg::Crash);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(60), crash_until_invokers_restart)
        .await
        .expect("escalation");
    eventually("invokers are back", || {
        tree.invokers.node().view().status == "running"
    })
    .await;
    assert_eq!(code(&tree.ask().await), "ok");
    assert!(tree.root.ended().now_or_never().is_none(), "the root stays");
}

#[tokio::test(start_paused = true)]
async fn extensions_that_come_back_later_than_the_bus_are_not_blamed() {
    let tree = Tree::start().await;
    tree.bus.fails(PROVIDER, TransportError::NoResponders);
    tree.bus.set_unsettled(true);
    for _ in 0..20 {
        assert_eq!(
            tree.ask().await["error"]["details"]["error_type"],
            "no_responders"
        );
    }
    tree.bus.set_unsettled(false);
    for _ in 0..2 {
        assert_eq!(
            tree.ask().await["error"]["details"]["error_type"],
            "no_responders"
        );
    }
    assert_eq!(
        tree.ask().await["error"]["details"]["error_type"],
        "circuit_open",
        "the fifth attempt was the last"
    );
    assert!(
        tree.ask().await["error"]["message"]
            .as_str()
            .unwrap()
            .contains("circuit open")
    );
}

#[tokio::test(start_paused = true)]
async fn an_invoker_that_never_recovers_ends_nothing_else() {
    let mut tree = Tree::start().await;
    tree.ask().await;
    let guard = tree.invokers.find("guard").unwrap();
    for _ in 0..200_000 {
        let _ = guard
            .address
            .send(beamline_actors::invoker::InvokerMsg::Crash);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(tree.root.ended().now_or_never().is_none(), "the root stays");
    assert_eq!(code(&tree.ask().await), "ok", "calls need no actor");
}

#[tokio::test(start_paused = true)]
async fn invokers_that_all_fail_for_ever_end_nothing_else() {
    let mut tree = Tree::start().await;
    tree.ask().await;
    let all = ["clean", "guard", "model", "mask"].map(|id| tree.invokers.find(id).unwrap());
    for _ in 0..200_000 {
        for invoker in &all {
            let _ = invoker
                .address
                .send(beamline_actors::invoker::InvokerMsg::Crash);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(tree.root.ended().now_or_never().is_none(), "the root stays");
    assert_eq!(code(&tree.ask().await), "ok", "calls need no actor");
    let back = || {
        all.iter()
            .all(|invoker| invoker.address.node().view().status == "running")
    };
    eventually("all are back when their faults are over", back).await;
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_are_answered_when_their_supervisor_dies() {
    let tree = Tree::start().await;
    tree.bus.hangs(PROVIDER);
    let answers = tree.send(json!({}));
    eventually("the provider is called", || {
        tree.bus.calls(PROVIDER).len() == 1
    })
    .await;
    tree.door.crash();
    assert_eq!(code(&one(answers).await), "internal");
    tree.bus.answers(PROVIDER, r#"{"output": 1}"#);
    eventually("pipelines are back", || {
        tree.door.node().view().status == "running"
    })
    .await;
    assert_eq!(code(&tree.ask().await), "ok");
    assert_eq!(tree.door.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn too_many_restarts_end_the_router() {
    let mut tree = Tree::start().await;
    let crash_until_the_end = async {
        for _ in 0..1000 {
            tree.door.crash();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        gave_up = tree.root.ended() => assert!(gave_up),
        () = crash_until_the_end => panic!("the root never gave up"),
    }
}

#[tokio::test(start_paused = true)]
async fn every_part_that_is_killed_comes_back_and_is_counted() {
    let tree = Tree::start().await;
    let parts = [
        "registry",
        "invokers",
        "pipelines",
        "sessions",
        "watch",
        "registry_changes",
        "pings",
        "idle_targets",
    ];
    for name in parts {
        let node = tree.root.node().find(name).expect(name);
        node.kill();
        eventually(name, || {
            (node.view().restarts, &*node.view().status) == (1, "running")
        })
        .await;
        // Later than the window in which restarts of essential parts are too many.
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(code(&tree.ask().await), "ok", "{name}");
    }
    let shown: Vec<String> = names(&tree.root.tree());
    for name in parts {
        assert!(shown.iter().any(|known| known == name), "{name}: {shown:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_without_a_hint_is_served_after_the_next_poll() {
    let tree = Tree::start().await;
    tree.store
        .write_silently(Change::DeletePolicy {
            tenant_id: "t".into(),
            policy_id: "default".into(),
        })
        .unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(code(&tree.ask().await), "policy_not_found");
}

#[tokio::test(start_paused = true)]
async fn a_write_is_served_when_it_is_answered() {
    let tree = Tree::start().await;
    let gone = Change::DeleteExtension { id: "guard".into() };
    tree.ask().await;
    assert_eq!(
        tree.registry.write(gone, Author::default()).await.unwrap(),
        2
    );
    assert_eq!(tree.registry.snapshot().revision(), 2);
    assert_eq!(code(&tree.ask().await), "extension_not_found");
    eventually("its invoker ends", || tree.invokers.find("guard").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn with_the_store_away_the_snapshot_is_served_and_its_age_is_said() {
    let tree = Tree::start().await;
    tree.store.set_away(true);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(code(&tree.ask().await), "ok");
    assert!(tree.registry.freshness().stale_seconds >= 50);
    tree.store
        .write_silently(Change::DeletePolicy {
            tenant_id: "t".into(),
            policy_id: "default".into(),
        })
        .unwrap();
    tree.store.set_away(false);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(tree.registry.freshness().stale_seconds, 0);
    assert_eq!(code(&tree.ask().await), "policy_not_found");
}

#[tokio::test(start_paused = true)]
async fn the_tree_stops_in_reverse_order() {
    let tree = Tree::start().await;
    tree.ask().await;
    let nodes = [
        tree.registry.node().clone(),
        tree.invokers.node().clone(),
        tree.door.node().clone(),
    ];
    assert!(tree.root.stop(Duration::from_secs(10)).await);
    for node in nodes {
        assert_eq!(node.view().status, "stopped");
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_for_the_whole_request_opens_its_breaker() {
    let tree = Tree::start().await;
    tree.bus.hangs(PROVIDER);
    for _ in 0..5 {
        // More than half of the model's own second, less than all of it.
        let answer = one(tree.send(json!({"timeout_ms": 900}))).await;
        assert_eq!(code(&answer), "deadline_exceeded");
        let report = answer["extensions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|e| e["id"] == "model")
            .unwrap()
            .clone();
        assert_eq!(
            (&report["status"], &report["attempts"]),
            (&json!("timeout"), &json!(1)),
            "it ran, and that is said"
        );
    }
    assert_eq!(
        code(&tree.ask().await),
        "extension_unavailable",
        "the breaker is open"
    );
}

#[tokio::test(start_paused = true)]
async fn while_all_probes_are_out_others_go_elsewhere() {
    let tree = Tree::start().await;
    let second = r#"{"id": "second", "type": "provider"}"#;
    let second = beamline_domain::record::parse(second, "beamline").unwrap();
    tree.registry
        .write(Change::CreateExtension(second), Author::default())
        .await
        .unwrap();
    tree.bus
        .answers("beamline.provider.second.v1", r#"{"output": 2}"#);
    tree.bus.fails(PROVIDER, TransportError::NoResponders);
    for _ in 0..5 {
        tree.ask().await;
    }
    let both = content(
        &[],
        &[(
            "t",
            "both",
            r#"{"providers": [{"name": "model"}, {"name": "second"}]}"#,
        )],
    );
    tree.registry
        .write(
            Change::PutPolicy(both.policies[0].clone()),
            Author::default(),
        )
        .await
        .unwrap();
    // Longer than the longest open time, 5 s and a quarter.
    tokio::time::sleep(Duration::from_secs(7)).await;
    tree.bus.hangs(PROVIDER);
    let _probes: Vec<_> = (0..3).map(|_| tree.send(json!({}))).collect();
    eventually("three probes are out", || {
        tree.bus.calls(PROVIDER).len() == 8
    })
    .await;
    for _ in 0..50 {
        let answer = one(tree.send(json!({"policy_id": "both"}))).await;
        assert_eq!(
            (code(&answer), &answer["decision"]["provider_id"]),
            ("ok", &json!("second"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_meet_a_restart_of_the_pipelines_are_answered() {
    let tree = Tree::start().await;
    tree.ask().await;
    tree.door.crash();
    let mut outcomes = Vec::new();
    for _ in 0..200 {
        outcomes.push(tree.send(json!({})));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for answers in outcomes {
        let answer = one(answers).await;
        assert!(
            ["ok", "overloaded", "internal"].contains(&code(&answer)),
            "{answer}"
        );
    }
    assert_eq!(tree.door.in_flight(), 0);
    assert_eq!(code(&tree.ask().await), "ok");
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_the_breaker_keeps_back_does_not_hide_the_failure_before_it() {
    let tree = Tree::start().await;
    tree.bus.hangs(VALIDATOR);
    // Two attempts for each request: the third request's first attempt is the fifth failure.
    for _ in 0..2 {
        tree.ask().await;
    }
    let answer = tree.ask().await;
    assert_eq!(
        answer["error"]["details"]["error_type"],
        "extension_timeout"
    );
    assert_eq!(tree.bus.calls(VALIDATOR).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_keeps_to_a_short_deadline_is_not_blamed_for_it() {
    let tree = Tree::start().await;
    tree.bus.handles(PROVIDER, |call| {
        let just_before_the_end = call.timeout.mul_f64(0.9);
        async move {
            tokio::time::sleep(just_before_the_end).await;
            let body = r#"{"error": {"code": "deadline_exceeded", "message": "no time left"}}"#;
            Ok(Answer {
                body: body.into(),
                ..Answer::default()
            })
        }
        .boxed()
    });
    for _ in 0..10 {
        // A fifth of the model's own second.
        assert_eq!(
            code(&one(tree.send(json!({"timeout_ms": 200}))).await),
            "deadline_exceeded"
        );
    }
    assert_eq!(tree.invokers.find("model").unwrap().breaker().failures, 0);
    assert_eq!(
        code(&tree.ask().await),
        "extension_timeout",
        "with all its time, it was too slow"
    );
}

#[tokio::test(start_paused = true)]
async fn who_says_at_once_that_its_time_is_over_has_failed_and_ends_no_request() {
    let tree = Tree::start().await;
    // Optional, with much less time left than it may have.
    tree.bus.answers(
        PRE,
        r#"{"error": {"code": "deadline_exceeded", "message": "my upstream gave up"}}"#,
    );
    for _ in 0..5 {
        let answer = one(tree.send(json!({"timeout_ms": 90}))).await;
        assert_eq!(
            (code(&answer), &answer["degraded"][0]["reason"]),
            ("ok", &json!("extension_error")),
            "{answer}"
        );
    }
    assert_eq!(
        tree.node("invokers")["children"][0]["breaker"]["state"],
        "open",
        "and that counts"
    );
}
