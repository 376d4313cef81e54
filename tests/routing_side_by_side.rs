//! What runs side by side, what waits for what, and that the order of answers changes no outcome.
//! Extensions here wait for each other, so that the order is the test's and no clock's.

use beamline_extension::{Kind, RawAnswer};
use beamline_test_support::{Routing, Stub, lines, report, request};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Something that happens once and that anybody can wait for.
#[derive(Clone, Debug)]
struct Signal(watch::Sender<bool>);

impl Signal {
    fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    fn give(&self) {
        self.0.send_replace(true);
    }

    async fn given(&self) {
        let mut heard = self.0.subscribe();
        drop(heard.wait_for(|given| *given).await);
    }

    fn is_given(&self) -> bool {
        *self.0.borrow()
    }
}

/// Says that it was called, waits for something, answers, and says that it has.
struct Part {
    called: Signal,
    waits_for: Option<Signal>,
    answered: Signal,
}

impl Part {
    fn new() -> Self {
        Self {
            called: Signal::new(),
            waits_for: None,
            answered: Signal::new(),
        }
    }

    fn after(signal: &Signal) -> Self {
        Self {
            waits_for: Some(signal.clone()),
            ..Self::new()
        }
    }

    async fn play(&self, routing: &Routing, kind: Kind, id: &str, answer: &str) -> Stub {
        routing.gateway.register(kind.as_str(), id, json!({})).await;
        let called = self.called.clone();
        let waits_for = self.waits_for.clone();
        let answered = self.answered.clone();
        let answer = answer.to_owned();
        Stub::waiting(&routing.nats, kind, id, move |_| {
            called.give();
            let waits_for = waits_for.clone();
            let answered = answered.clone();
            let answer = answer.clone();
            async move {
                if let Some(signal) = waits_for {
                    signal.given().await;
                }
                answered.give();
                Some(RawAnswer::from(answer))
            }
        })
        .await
    }
}

const OK: &str = r#"{"status": "ok"}"#;

fn rejecting(reason: &str) -> String {
    json!({"status": "reject", "reason": reason}).to_string()
}

#[tokio::test]
async fn validators_run_at_the_same_time() {
    let routing = Routing::start(&[]).await;
    let _model = routing.provider("model").await;
    // Each answers only when both were called.
    let mut parts = [Part::new(), Part::new(), Part::new()];
    let called: Vec<Signal> = parts.iter().map(|part| part.called.clone()).collect();
    let mut stubs = Vec::new();
    for (index, part) in parts.iter_mut().enumerate() {
        part.waits_for = Some(called[(index + 1) % 3].clone());
        stubs.push(
            part.play(&routing, Kind::Validator, &format!("v{index}"), OK)
                .await,
        );
    }
    let policy =
        json!({"validators": [{"id": "v0"}, {"id": "v1"}, {"id": "v2"}], "providers": ["model"]});
    routing.gateway.policy("chat", &policy).await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(
        lines(&answer["extensions"], &["id", "status"]),
        ["v0 success", "v1 success", "v2 success", "model success"]
    );
}

#[tokio::test]
async fn a_wave_starts_when_what_it_depends_on_is_done() {
    let routing = Routing::start(&[]).await;
    let _model = routing.provider("model").await;
    let mut a = Part::new();
    let mut b = Part::new();
    (a.waits_for, b.waits_for) = (Some(b.called.clone()), Some(a.called.clone()));
    let _a = a
        .play(&routing, Kind::Pre, "a", r#"{"metadata": {"a": 1}}"#)
        .await;
    let _b = b
        .play(&routing, Kind::Pre, "b", r#"{"metadata": {"b": 2}}"#)
        .await;
    let after_a = a.answered.clone();
    let after_b = b.answered.clone();
    routing.gateway.register("pre", "c", json!({})).await;
    let c = Stub::answering(&routing.nats, Kind::Pre, "c", move |_| {
        let both = after_a.is_given() && after_b.is_given();
        Some(
            json!({"metadata": {"both_were_done": both}})
                .to_string()
                .into(),
        )
    })
    .await;
    let d = routing.extension(Kind::Pre, "d", json!({}), "{}").await;
    let policy = json!({"providers": ["model"], "pre": [
        {"id": "a", "depends_on": []}, {"id": "b", "depends_on": []},
        {"id": "c", "depends_on": ["a", "b"]}, {"id": "d"}]});
    routing.gateway.policy("chat", &policy).await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(answer["ok"], true, "{answer}");
    let seen_by_c = &c.last_body()["metadata"];
    assert_eq!((&seen_by_c["a"], &seen_by_c["b"]), (&json!(1), &json!(2)));
    assert_eq!(d.last_body()["metadata"]["both_were_done"], true);
}

/// Two pre-processors that both replace the payload and the same key; `first` answers last when
/// told so.
async fn merged(first_is_last: bool) -> (Value, Value) {
    let routing = Routing::start(&[]).await;
    let model = routing.provider("model").await;
    let mut first = Part::new();
    let mut second = Part::new();
    if first_is_last {
        first = Part::after(&second.answered);
    } else {
        second = Part::after(&first.answered);
    }
    let edit = |who: &str| {
        json!({"payload": {"payload": who}, "metadata": {"who": who, who: true}}).to_string()
    };
    let _first = first
        .play(&routing, Kind::Pre, "first", &edit("first"))
        .await;
    let _second = second
        .play(&routing, Kind::Pre, "second", &edit("second"))
        .await;
    let policy = json!({"providers": ["model"], "pre": [
        {"id": "first", "depends_on": []}, {"id": "second", "depends_on": []}]});
    routing.gateway.policy("chat", &policy).await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(answer["ok"], true, "{answer}");
    (
        answer["message"]["payload"].clone(),
        model.last_body()["context"].clone(),
    )
}

#[tokio::test]
async fn results_are_merged_in_the_order_of_the_policy_whoever_answers_first() {
    for first_is_last in [false, true] {
        let (payload, context) = merged(first_is_last).await;
        assert_eq!(payload, "second", "first is last: {first_is_last}");
        assert_eq!(
            (&context["who"], &context["first"], &context["second"]),
            (&json!("second"), &json!(true), &json!(true))
        );
    }
}

#[tokio::test]
async fn a_blocking_rejection_cuts_off_what_comes_after_it() {
    let routing = Routing::start(&[]).await;
    let model = routing.provider("model").await;
    let never = Signal::new();
    let silent = Part::new();
    let silent = Part {
        waits_for: Some(never),
        ..silent
    };
    let quick = Part::after(&silent.called);
    let _quick = quick
        .play(
            &routing,
            Kind::Validator,
            "quick",
            &rejecting("pii_detected"),
        )
        .await;
    let waiting = silent.play(&routing, Kind::Validator, "silent", OK).await;
    let policy = json!({"validators": [{"id": "quick"}, {"id": "silent"}], "providers": ["model"]});
    routing.gateway.policy("chat", &policy).await;
    let answer = routing.gateway.route(&request("chat")).await;
    let error = &answer["error"];
    assert_eq!(
        (&error["code"], &error["details"]["extension_id"]),
        (&json!("validator_blocked"), &json!("quick"))
    );
    assert_eq!(
        (
            report(&answer, "silent")["status"].as_str(),
            waiting.calls(),
            model.calls()
        ),
        (Some("skipped"), 1, 0),
        "neither its answer nor its time-out was waited for: {answer}"
    );
}

#[tokio::test]
async fn an_earlier_rejection_wins_even_if_it_comes_later() {
    let routing = Routing::start(&[]).await;
    let _model = routing.provider("model").await;
    let hasty = Part::new();
    let slow = Part::after(&hasty.answered);
    let _warning = Part::new()
        .play(&routing, Kind::Validator, "warning", &rejecting("odd"))
        .await;
    let _slow = slow
        .play(
            &routing,
            Kind::Validator,
            "slow",
            &rejecting("first_in_the_policy"),
        )
        .await;
    let _hasty = hasty
        .play(
            &routing,
            Kind::Validator,
            "hasty",
            &rejecting("first_in_time"),
        )
        .await;
    let policy = json!({"providers": ["model"], "validators": [
        {"id": "warning", "on_fail": "warn"}, {"id": "slow"}, {"id": "hasty"}]});
    routing.gateway.policy("chat", &policy).await;
    let answer = routing.gateway.route(&request("chat")).await;
    let details = &answer["error"]["details"];
    assert_eq!(
        (&details["extension_id"], &details["reason"]),
        (&json!("slow"), &json!("first_in_the_policy")),
        "{answer}"
    );
    assert_eq!(report(&answer, "warning")["status"], "warned");
    assert_eq!(
        answer["degraded"],
        json!([{"id": "warning", "reason": "odd"}])
    );
}

/// Two validators that want a retry, of which the budget has one; `first` fails last when told so.
async fn short_of_retries(first_is_last: bool) -> Value {
    let routing = Routing::start(&[("router.max_extra_attempts", "1")]).await;
    let _model = routing.provider("model").await;
    let failed = [Signal::new(), Signal::new()];
    let mut stubs = Vec::new();
    for (index, id) in ["first", "second"].into_iter().enumerate() {
        routing
            .gateway
            .register("validator", id, json!({"retry": 1}))
            .await;
        let waits = first_is_last == (index == 0);
        let own = failed[index].clone();
        let other = failed[1 - index].clone();
        let stub = Stub::waiting(&routing.nats, Kind::Validator, id, move |call| {
            let own = own.clone();
            let other = other.clone();
            async move {
                if call
                    .headers
                    .get("Router-Attempt")
                    .is_some_and(|attempt| attempt.as_str() != "1")
                {
                    return Some(RawAnswer::from(OK));
                }
                if waits {
                    other.given().await;
                }
                own.give();
                Some(RawAnswer::from(
                    r#"{"error": {"code": 503, "message": "busy", "retryable": true}}"#,
                ))
            }
        });
        stubs.push(stub.await);
    }
    let policy = json!({"validators": [{"id": "first"}, {"id": "second"}], "providers": ["model"]});
    routing.gateway.policy("chat", &policy).await;
    routing.gateway.route(&request("chat")).await
}

#[tokio::test]
async fn the_last_retry_goes_to_the_earlier_whoever_fails_first() {
    for first_is_last in [false, true] {
        let answer = short_of_retries(first_is_last).await;
        assert_eq!(
            answer["error"]["details"]["extension_id"], "second",
            "first is last: {first_is_last}: {answer}"
        );
        let reports = lines(&answer["extensions"], &["id", "status", "attempts"]);
        assert_eq!(
            reports,
            ["first success 2", "second error 1", "model skipped 0"]
        );
    }
}
