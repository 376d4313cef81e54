//! More requests than there are places for: who waits, who is served next, and who is told to come
//! back.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use beamline_actors::door::Door;
use beamline_actors::invokers::Invokers;
use beamline_actors::ports::Answer;
use beamline_actors::testing::{MemoryTransport, content};
use beamline_actors::tree::Root;
use beamline_domain::request::RequestKind;
use futures_util::FutureExt;
use serde_json::{Value, json};
use support::{one, plant, send};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep};

#[path = "support/tree.rs"]
mod support;

const PRE: &str = "beamline.ext.pre.clean.v1";
const PROVIDER: &str = "beamline.provider.model.v1";

struct Tree {
    bus: Arc<MemoryTransport>,
    /// What the model waits for before each of its answers.
    gate: Arc<Semaphore>,
    invokers: Invokers,
    door: Door,
    root: Root,
}

impl Tree {
    async fn start(max_in_flight: usize) -> Self {
        let records = [
            r#"{"id": "clean", "type": "pre", "timeout_ms": 10000}"#,
            r#"{"id": "model", "type": "provider", "timeout_ms": 10000}"#,
        ];
        let plain = r#"{"providers": [{"name": "model"}]}"#;
        let optional = r#"{"pre": [{"id": "clean"}], "providers": [{"name": "model"}]}"#;
        let required =
            r#"{"pre": [{"id": "clean", "mode": "required"}], "providers": [{"name": "model"}]}"#;
        let policies = [
            ("t", "default", plain),
            ("u", "default", plain),
            ("t", "optional", optional),
            ("t", "required", required),
        ];
        let content = content(&records, &policies);
        let bus = MemoryTransport::new();
        let gate = Arc::new(Semaphore::new(0));
        let waits = Arc::clone(&gate);
        bus.handles(PROVIDER, move |_| {
            let gate = Arc::clone(&waits);
            async move {
                gate.acquire().await.unwrap().forget();
                Ok(Answer {
                    body: r#"{"output": "an answer"}"#.into(),
                    ..Answer::default()
                })
            }
            .boxed()
        });
        let (_, _, invokers, door, root) = plant(content, bus.clone(), max_in_flight, 5).await;
        Self {
            bus,
            gate,
            invokers,
            door,
            root,
        }
    }

    fn send(&self, more: Value) -> mpsc::UnboundedReceiver<Value> {
        let mut request = json!({"version": "1", "tenant_id": "t", "request_id": "r", "message": {"payload": "raw"}});
        request
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        send(&self.door, RequestKind::Route, &request)
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

    async fn calls(&self, subject: &str, count: usize) {
        eventually("the calls", || self.bus.calls(subject).len() == count).await;
    }
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or("ok")
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_starts_when_a_place_comes_free() {
    let tree = Tree::start(1).await;
    let first = tree.send(json!({}));
    tree.calls(PROVIDER, 1).await;
    let second = tree.send(json!({}));
    let node = tree.node("pipelines");
    assert_eq!(
        [&node["in_flight"], &node["limit"], &node["waiting"]],
        [&json!(1), &json!(1), &json!(1)]
    );
    assert_eq!(tree.door.in_flight(), 2, "a drain waits for both");
    tree.gate.add_permits(2);
    assert_eq!(
        [code(&one(first).await), code(&one(second).await)],
        ["ok", "ok"]
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_in_vain_is_told_so_after_a_tenth_of_a_second_or_of_its_time() {
    let tree = Tree::start(2).await;
    let _held = [tree.send(json!({})), tree.send(json!({}))];
    for (timeout_ms, longest) in [(5_000, 100), (300, 30)] {
        let begun = Instant::now();
        let mut answers = tree.send(json!({"timeout_ms": timeout_ms}));
        let answer = answers.recv().await.unwrap();
        assert_eq!(code(&answer), "overloaded");
        assert!(
            answer["error"]["details"]["retry_after_ms"]
                .as_u64()
                .unwrap()
                >= 50
        );
        let waited = begun.elapsed().as_millis();
        assert!((longest..=longest + 2).contains(&waited), "{waited} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_floods_does_not_keep_another_out() {
    let tree = Tree::start(2).await;
    let _flood: Vec<_> = (0..20).map(|_| tree.send(json!({}))).collect();
    let other = tree.send(json!({"tenant_id": "u"}));
    tree.calls(PROVIDER, 2).await;
    tree.gate.add_permits(1);
    tree.calls(PROVIDER, 3).await;
    assert_eq!(
        &*tree.bus.calls(PROVIDER)[2].tenant_id,
        "u",
        "the next place is the other's"
    );
    tree.gate.add_permits(10);
    assert_eq!(code(&one(other).await), "ok");
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_answered_when_their_supervisor_dies_and_when_everything_is_cut() {
    let tree = Tree::start(1).await;
    let first = tree.send(json!({}));
    tree.calls(PROVIDER, 1).await;
    let second = tree.send(json!({}));
    tree.door.crash();
    assert_eq!(
        [code(&one(first).await), code(&one(second).await)],
        ["internal", "overloaded"]
    );
    eventually("the pipelines are back", || {
        tree.node("pipelines")["status"] == "running"
    })
    .await;
    let third = tree.send(json!({}));
    tree.calls(PROVIDER, 2).await;
    let fourth = tree.send(json!({}));
    assert_eq!(tree.door.cut(), 2);
    assert_eq!(
        [code(&one(third).await), code(&one(fourth).await)],
        ["shutting_down", "shutting_down"]
    );
    assert_eq!(tree.door.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_hangs_cannot_hold_every_request() {
    let tree = Tree::start(100).await;
    tree.invokers.limit_calls(2);
    tree.bus.hangs(PRE);
    tree.gate.add_permits(100);
    let _hanging = [
        tree.send(json!({"policy_id": "required"})),
        tree.send(json!({"policy_id": "required"})),
    ];
    tree.calls(PRE, 2).await;

    let required = tree.send(json!({"policy_id": "required"}));
    let optional = one(tree.send(json!({"policy_id": "optional"}))).await;
    assert_eq!(
        (code(&optional), &optional["degraded"][0]["reason"]),
        ("ok", &json!("overloaded"))
    );
    let required = one(required).await;
    assert_eq!(
        (
            code(&required),
            &required["error"]["details"]["extension_id"]
        ),
        ("overloaded", &json!("clean"))
    );
    assert!(
        required["error"]["details"]["retry_after_ms"]
            .as_u64()
            .unwrap()
            >= 50
    );
    assert_eq!(
        code(&one(tree.send(json!({}))).await),
        "ok",
        "who does not need it does not notice"
    );

    assert_eq!(
        tree.bus.calls(PRE).len(),
        2,
        "nothing was sent beyond the limit"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_place_says_nothing_about_the_extension_and_waits_for_the_next() {
    let tree = Tree::start(100).await;
    tree.invokers.limit_calls(1);
    let first = tree.send(json!({}));
    tree.calls(PROVIDER, 1).await;
    let second = tree.send(json!({}));
    let invoker = || tree.node("invokers")["children"][0].clone();
    eventually("the second waits", || invoker()["waiting"] == 1).await;
    assert_eq!(
        [&invoker()["in_flight"], &invoker()["limit"]],
        [&json!(1), &json!(1)]
    );
    tree.gate.add_permits(1);
    assert_eq!(code(&one(first).await), "ok");
    tree.calls(PROVIDER, 2).await;
    let third = one(tree.send(json!({}))).await;
    assert_eq!(code(&third), "overloaded");
    let breaker = tree.invokers.find("model").unwrap().breaker();
    assert_eq!((breaker.state.as_str(), breaker.failures), ("closed", 0));
    tree.gate.add_permits(1);
    assert_eq!(code(&one(second).await), "ok");
}
