//! Two routers on one NATS and one database are one service: they share the work and the registry,
//! and one may go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use beamline_test_support::{
    Caller, Demo, LIMIT, Nats, PostgresDatabase, RouterProcess, assert_served, eventually, load_id,
};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

const REQUESTS: usize = 600;
const AT_ONCE: usize = 32;
/// Long enough to have requests in flight whenever a router goes.
const LATENCY: Duration = Duration::from_millis(10);

/// Two routers and what they stand on.
struct Service {
    first: RouterProcess,
    second: RouterProcess,
    caller: Caller,
    demo: Demo,
    database: PostgresDatabase,
    _nats: Nats,
}

impl Service {
    async fn start() -> Self {
        let nats = Nats::start().await;
        let database = PostgresDatabase::create().await;
        let url = database.url();
        let settings = [("nats.url", nats.url()), ("database.url", url.as_str())];
        // Both find an empty database.
        let (first, second) = tokio::join!(
            RouterProcess::start(&settings),
            RouterProcess::start(&settings)
        );
        let demo = Demo::serve_in(&nats, LATENCY).await;
        let caller = Caller::connect(&nats).await;
        Self {
            first,
            second,
            caller,
            demo,
            database,
            _nats: nats,
        }
    }

    /// Load for both, under way when this returns.
    async fn under_load(&self, limit: Duration) -> JoinHandle<BTreeMap<usize, Vec<Value>>> {
        let answered = Arc::new(AtomicUsize::new(0));
        let caller = self.caller.clone();
        let count = Arc::clone(&answered);
        let load = tokio::spawn(async move { caller.load(REQUESTS, AT_ONCE, limit, count).await });
        let flows = || answered.load(Ordering::Relaxed) >= REQUESTS / 4;
        eventually(LIMIT, "the load flows", async || flows().then_some(())).await;
        load
    }

    async fn assert_goes_on(&self) {
        for number in 0..50 {
            let id = format!("after-{number}");
            assert_served(&self.caller.route(&id).await, &id);
        }
    }
}

async fn received(router: &RouterProcess) -> u64 {
    let (_, metrics) = router.get("/metrics").await.expect("an answer");
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("router_requests_received_total "));
    line.and_then(|count| count.parse().ok()).expect("a count")
}

async fn until_revision(router: &RouterProcess, revision: &Value) {
    eventually(LIMIT, "the revision is served", async || {
        router
            .readiness()
            .await
            .filter(|said| said["revision"] == *revision)
    })
    .await;
}

#[tokio::test]
async fn a_change_on_one_is_served_by_the_other() {
    let service = Service::start().await;
    for round in 1..=5 {
        let policy = json!({"version": format!("{round}.5"), "providers": [{"name": "mock_provider", "weight": 100}]});
        let body = json!({"tenant_id": "demo", "policy_id": "default", "policy": policy});
        let written = service.caller.admin("put_policy", body).await;
        assert_eq!(written["ok"], true, "{written}");
        let begun = Instant::now();
        let revision = &written["revision"];
        tokio::join!(
            until_revision(&service.first, revision),
            until_revision(&service.second, revision)
        );
        println!(
            "both served revision {revision} {:?} after the answer to the write",
            begun.elapsed()
        );
        for number in 0..20 {
            let answer = service.caller.route(&format!("r-{round}-{number}")).await;
            assert_eq!(
                answer["decision"]["policy_version"],
                format!("{round}.5"),
                "{answer}"
            );
        }
    }
}

#[tokio::test]
async fn both_get_a_share_of_the_requests() {
    let service = Service::start().await;
    let answers = service
        .caller
        .load(REQUESTS, AT_ONCE, LIMIT, Arc::default())
        .await;
    assert_each_answered_once(&service, &answers);
    let first = received(&service.first).await;
    let second = received(&service.second).await;
    println!("the first got {first}, the second {second}");
    assert_eq!(first + second, REQUESTS as u64);
    assert!(first > 0 && second > 0);
}

#[tokio::test]
async fn a_router_that_is_told_to_end_under_load_loses_nothing() {
    let mut service = Service::start().await;
    let load = service.under_load(LIMIT).await;
    service.first.sigterm();
    let ended = service.first.wait_exit(LIMIT).await;
    assert_eq!(ended.code(), Some(0), "{}", service.first.log());
    let answers = load.await.expect("no panic");
    assert_each_answered_once(&service, &answers);
    service.assert_goes_on().await;
}

#[tokio::test]
async fn restarts_one_after_the_other_lose_no_administration_request() {
    let mut service = Service::start().await;
    // Writes are under way whenever a router goes.
    service.database.slow_commits(0.5).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let enough = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for number in 0..18 {
        let caller = service.caller.clone();
        let answered = Arc::clone(&answered);
        let enough = Arc::clone(&enough);
        let policy =
            json!({"version": "1.0", "providers": [{"name": "mock_provider", "weight": 100}]});
        let (operation, body) = match number {
            0..2 => (
                "put_policy",
                json!({"tenant_id": "acme", "policy_id": format!("p{number}"), "policy": policy}),
            ),
            2..10 => ("list_policies", json!({})),
            _ => ("supervision_tree", json!({})),
        };
        callers.spawn(async move {
            while !enough.load(Ordering::Relaxed) {
                let answer = caller.admin(operation, body.clone()).await;
                assert_eq!(answer["ok"], true, "{operation}: {answer}");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let flows = async |count| {
        let wanted = answered.load(Ordering::Relaxed) + count;
        let flowing = || answered.load(Ordering::Relaxed) >= wanted;
        eventually(LIMIT, "requests are answered", async || {
            flowing().then_some(())
        })
        .await;
    };
    for _ in 0..2 {
        for router in [&mut service.first, &mut service.second] {
            flows(200).await;
            service.database.until_committing().await;
            router.sigterm();
            assert_eq!(
                router.wait_exit(LIMIT).await.code(),
                Some(0),
                "{}",
                router.log()
            );
            router.respawn();
            router.until_ready().await;
        }
    }
    flows(200).await;
    enough.store(true, Ordering::Relaxed);
    // An answer that never came is a panic.
    callers.join_all().await;
}

#[tokio::test]
async fn a_killed_router_takes_only_what_it_had_in_flight() {
    let mut service = Service::start().await;
    // A caller that has no answer by then has none.
    let load = service.under_load(Duration::from_secs(10)).await;
    service.first.kill();
    let answers = load.await.expect("no panic");
    let (answered, lost): (Vec<_>, Vec<_>) =
        answers.iter().partition(|(_, answers)| !answers.is_empty());
    println!(
        "{} of {REQUESTS} requests went with the killed router",
        lost.len()
    );
    assert!(lost.len() <= AT_ONCE, "{lost:?}");
    for (number, answers) in answered {
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_served(&answers[0], &load_id(*number));
    }
    service.assert_goes_on().await;
}

fn assert_each_answered_once(service: &Service, answers: &BTreeMap<usize, Vec<Value>>) {
    assert_eq!(answers.len(), REQUESTS);
    for (number, answers) in answers {
        let id = load_id(*number);
        assert_eq!(answers.len(), 1, "{id}: {answers:?}");
        assert_served(&answers[0], &id);
        assert_eq!(service.demo.calls(&id), 1, "{id}");
    }
}
