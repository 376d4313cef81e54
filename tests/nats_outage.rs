//! NATS goes away and comes back: the router says so, waits, and goes on by itself as if nothing
//! had been.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use beamline_extension::{Kind, RawAnswer, RawRequest};
use beamline_test_support::{
    Caller, Demo, Gateway, LIMIT, Nats, Peer, RouterProcess, Stub, TcpProxy, assert_served,
    eventually, free_port, request, request_with,
};
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

/// A caller that gives up; some of its requests meet no server.
const PATIENCE: Duration = Duration::from_secs(1);

async fn until_code(router: &RouterProcess, code: u16) -> Value {
    eventually(LIMIT, &format!("readyz answers {code}"), async || {
        router.readiness().await.filter(|said| said["code"] == code)
    })
    .await
}

/// Waits until requests are answered again.
async fn until_served(caller: &Caller) {
    eventually(LIMIT, "requests are served", async || {
        caller
            .try_route("probe", PATIENCE)
            .await
            .filter(|answer| answer["ok"] == true)
    })
    .await;
}

/// Every request reaches the provider once; twice would be a subscription too many.
async fn assert_served_once(caller: &Caller, demo: &Demo, round: &str) {
    for number in 0..10 {
        let id = format!("{round}-{number}");
        assert_served(&caller.route(&id).await, &id);
        assert_eq!(demo.calls(&id), 1, "{id}");
    }
}

async fn assert_no_breaker_open(caller: &Caller) {
    let answer = caller.admin("get_circuit_breaker_states", json!({})).await;
    let states = answer["states"].as_object().expect("states");
    assert!(!states.is_empty());
    assert!(
        states.values().all(|breaker| breaker["state"] == "closed"),
        "{answer}"
    );
}

/// Everything runs, and what was restarted says why.
async fn assert_tree_is_truthful(caller: &Caller) {
    fn look(node: &Value) {
        assert_eq!(node["status"], "running", "{node}");
        assert_eq!(node["restarts"] == 0, node["last_exit"].is_null(), "{node}");
        node["children"]
            .as_array()
            .expect("children")
            .iter()
            .for_each(look);
    }
    let answer = caller.admin("supervision_tree", json!({})).await;
    look(&answer["tree"]);
}

/// Requests at a steady pace.
#[derive(Clone, Default)]
struct Trickle {
    sent: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Trickle {
    /// Waits until so many more have been sent.
    async fn goes_on(&self, more: usize) {
        let until = self.sent.load(Ordering::Relaxed) + more;
        eventually(LIMIT, "the trickle flows", async || {
            (self.sent.load(Ordering::Relaxed) >= until).then_some(())
        })
        .await;
    }

    /// Flows until it is stopped; answers how many were served and how many were not.
    async fn flow(self, caller: Caller) -> (usize, usize) {
        let mut callers = tokio::task::JoinSet::new();
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            let caller = caller.clone();
            callers.spawn(async move {
                caller
                    .try_route(&format!("trickle-{number}"), PATIENCE)
                    .await
            });
            sleep(Duration::from_millis(20)).await;
        }
        let served = callers
            .join_all()
            .await
            .into_iter()
            .map(|answer| answer.is_some_and(|answer| answer["ok"] == true));
        let (served, lost): (Vec<bool>, Vec<bool>) = served.partition(|served| *served);
        (served.len(), lost.len())
    }
}

#[tokio::test]
async fn requests_work_again_after_the_server_was_killed() {
    let mut nats = Nats::start().await;
    // Slow enough to have more calls under way at any time than failures in a row open a breaker.
    let demo = Demo::serve_in(&nats, Duration::from_millis(300)).await;
    let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let caller = Caller::connect(&nats).await;
    let trickle = Trickle::default();
    let flowing = tokio::spawn(trickle.clone().flow(caller.clone()));
    eventually(LIMIT, "calls are under way", async || {
        (demo.in_flight() >= 8).then_some(())
    })
    .await;

    nats.kill();
    let said = until_code(&router, 503).await;
    assert_eq!(
        (&said["nats"], &said["registry"]),
        (&json!(false), &json!(true)),
        "{said}"
    );
    assert_eq!(
        router.get("/healthz").await.map(|(code, _)| code),
        Some(200),
        "the process itself is well"
    );
    trickle.goes_on(50).await;

    nats.restart().await;
    let said = until_code(&router, 200).await;
    assert_eq!(said["nats"], true, "{said}");
    until_served(&caller).await;
    trickle.goes_on(20).await;
    trickle.stop.store(true, Ordering::Relaxed);
    let (served, lost) = flowing.await.expect("no panic");
    println!("of the trickle {served} were served, {lost} were not");
    assert_no_breaker_open(&caller).await;
    assert_served_once(&caller, &demo, "after").await;
    assert_tree_is_truthful(&caller).await;
}

#[tokio::test]
async fn a_frozen_server_is_noticed() {
    let nats = Nats::start().await;
    let demo = Demo::serve(&nats).await;
    let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let caller = Caller::connect(&nats).await;
    assert_served(&caller.route("before").await, "before");
    // Calls under way when the server freezes must not count against their extension.
    demo.close();
    let mut under_way = tokio::task::JoinSet::new();
    for number in 0..10 {
        let caller = caller.clone();
        under_way.spawn(async move {
            caller
                .try_route(&format!("under-way-{number}"), LIMIT)
                .await
        });
    }
    eventually(LIMIT, "the provider has the calls", async || {
        (demo.in_flight() == 10).then_some(())
    })
    .await;

    nats.pause().await;
    let begun = Instant::now();
    let said = until_code(&router, 503).await;
    println!("a frozen server was noticed after {:?}", begun.elapsed());
    assert_eq!(said["nats"], false, "{said}");
    demo.open();

    nats.resume();
    until_code(&router, 200).await;
    until_served(&caller).await;
    assert_no_breaker_open(&caller).await;
    assert_served_once(&caller, &demo, "after").await;
    assert_tree_is_truthful(&caller).await;
}

#[tokio::test]
async fn ten_restarts_in_a_row_change_nothing() {
    let mut nats = Nats::start().await;
    let demo = Demo::serve(&nats).await;
    let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let caller = Caller::connect(&nats).await;
    for _ in 0..10 {
        nats.restart().await;
        until_served(&caller).await;
    }
    assert_eq!(until_code(&router, 200).await["nats"], true);
    assert_no_breaker_open(&caller).await;
    assert_served_once(&caller, &demo, "after").await;
    assert_tree_is_truthful(&caller).await;
}

/// A router whose way to NATS can be cut, while everybody else keeps theirs.
struct Island {
    gateway: Gateway,
    router: RouterProcess,
    proxy: TcpProxy,
    nats: Nats,
}

impl Island {
    async fn start() -> Self {
        let nats = Nats::start().await;
        let proxy = TcpProxy::start(nats.address()).await;
        let url = proxy.nats_url();
        let router = RouterProcess::start(&[("nats.url", &url)]).await;
        Self {
            gateway: Gateway::connect(&nats).await,
            router,
            proxy,
            nats,
        }
    }

    async fn extension(
        &self,
        kind: Kind,
        id: &str,
        answer: impl Fn(&RawRequest) -> Option<RawAnswer> + Send + Sync + 'static,
    ) -> Stub {
        self.gateway.register(kind.as_str(), id, json!({})).await;
        Stub::answering(&self.nats, kind, id, answer).await
    }
}

async fn until_called(stub: &Stub, calls: usize) {
    eventually(LIMIT, "it is called", async || {
        (stub.calls() == calls).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_in_flight_outlives_a_short_outage() {
    let mut island = Island::start().await;
    // The first call is under way when the connection is lost.
    let is_first = |call: &RawRequest| {
        call.headers
            .get("Router-Attempt")
            .is_some_and(|attempt| attempt.as_str() == "1")
    };
    let edit = island
        .extension(Kind::Pre, "edit", move |call| {
            (!is_first(call)).then(|| "{}".into())
        })
        .await;
    let model = island
        .extension(Kind::Provider, "model", |_| {
            Some(r#"{"output": "fine"}"#.into())
        })
        .await;
    let policy = json!({"pre": [{"id": "edit", "mode": "required"}], "providers": ["model"]});
    island.gateway.policy("outage", &policy).await;
    let gateway = island.gateway.clone();
    let asked = tokio::spawn(async move { gateway.route(&request("outage")).await });
    until_called(&edit, 1).await;

    island.proxy.cut().await;
    island.proxy.restore();
    let answer = asked.await.expect("an answer");
    assert_eq!(
        (&answer["ok"], &answer["response"]["output"]),
        (&json!(true), &json!("fine")),
        "{answer}"
    );
    assert_eq!(
        (edit.attempts(), model.calls()),
        (vec!["1".to_owned(), "2".to_owned()], 1)
    );
    assert_eq!(answer["extensions"][0]["attempts"], 2, "{answer}");
    let states = island
        .gateway
        .admin("get_circuit_breaker_states", &json!({}))
        .await;
    assert_eq!(states["states"]["edit"]["failure_count"], 0, "{states}");
}

#[tokio::test]
async fn an_answer_waits_for_the_connection_until_its_deadline_and_no_longer() {
    let mut island = Island::start().await;
    // What a provider may have done is not asked for again, so both requests end with the
    // connection.
    let model = island.extension(Kind::Provider, "model", |_| None).await;
    island
        .gateway
        .policy("outage", &json!({"providers": ["model"]}))
        .await;
    let client = island.gateway.client().clone();
    let inbox = client.new_inbox();
    let mut late = client
        .subscribe(inbox.clone())
        .await
        .expect("a subscription");
    let hurried = request_with("outage", json!({"timeout_ms": 2_000})).to_string();
    client
        .publish_with_reply("beamline.router.v1.route", inbox, hurried.into())
        .await
        .expect("it is sent");
    let gateway = island.gateway.clone();
    let patient = tokio::spawn(async move { gateway.route(&request("outage")).await });
    until_called(&model, 2).await;

    island.proxy.cut().await;
    let unsent = async || {
        island
            .router
            .get("/metrics")
            .await
            .is_some_and(|(_, all)| all.contains("answers_unsent_total 1"))
    };
    eventually(LIMIT, "an answer finds no connection", async || {
        unsent().await.then_some(())
    })
    .await;
    island.proxy.restore();
    let answer = patient.await.expect("an answer");
    assert_eq!(answer["error"]["code"], "bus_unavailable", "{answer}");
    // Whatever was sent before this answer has come before it.
    assert_eq!(
        island.gateway.route(&request("none")).await["error"]["code"],
        "policy_not_found"
    );
    assert!(
        late.next().now_or_never().is_none(),
        "nobody waits for it any more"
    );
    assert_eq!(model.calls(), 2);
}

#[tokio::test]
async fn nothing_of_a_router_stays_on_a_lame_duck() {
    let route = free_port();
    let cluster = format!("cluster {{ name: test, listen: \"127.0.0.1:{route}\" }}");
    let nats = Nats::start_in_cluster(&cluster).await;
    let cluster = format!(
        "cluster {{ name: test, listen: \"127.0.0.1:-1\", routes: [\"nats://127.0.0.1:{route}\"] }}"
    );
    // It turns nobody out for as long as this takes.
    let patience = "lame_duck_grace_period: \"90s\", lame_duck_duration: \"100s\"";
    let duck =
        Nats::start_in_cluster(&format!("{cluster}\nhttp: \"127.0.0.1:-1\"\n{patience}")).await;
    let router = RouterProcess::start(&[("nats.url", duck.url())]).await;
    let on_the_duck = async || {
        let names = duck.clients().await.expect("the server tells");
        names
            .iter()
            .filter(|name| name.starts_with("beamline-router"))
            .count()
    };
    // Of gateways, of the administration, and those for calls.
    assert_eq!(on_the_duck().await, 6);

    duck.lame_duck();
    eventually(LIMIT, "nothing holds the old connection", async || {
        (on_the_duck().await == 0).then_some(())
    })
    .await;
    // The other replicas are heard over the new one, once.
    let peer = Peer::of(&router, &nats, "peer").await;
    let mut answers = peer.ask("").await;
    timeout(LIMIT, answers.next())
        .await
        .expect("in time")
        .expect("an answer");
    assert!(
        timeout(PATIENCE, answers.next()).await.is_err(),
        "a second answer"
    );
    assert_eq!(router.readiness().await.expect("an answer")["code"], 200);
}
