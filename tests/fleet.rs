//! What replicas tell each other about their breakers, and what is seen of all of them together.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use beamline_test_support::{
    BROKEN, Gateway, LIMIT, Nats, Peer, PostgresDatabase, RouterProcess, eventually, keys_of,
    program, request, until, within,
};
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sqlx::Executor;
use tokio::task::JoinHandle;

const SUBJECT: &str = "beamline.provider.model.v1";

/// Two replicas and a provider that works for one of them, until it works for nobody.
struct Fleet {
    gateway: Gateway,
    /// Played by the test.
    peer: Peer,
    model: Model,
    first: RouterProcess,
    second: RouterProcess,
    nats: Nats,
    _database: PostgresDatabase,
}

impl Fleet {
    async fn start(record: Value) -> Self {
        let nats = Nats::start().await;
        let database = PostgresDatabase::create().await;
        let url = database.url();
        let settings = [("nats.url", nats.url()), ("database.url", url.as_str())];
        let (first, second) = tokio::join!(
            RouterProcess::start(&settings),
            RouterProcess::start(&settings)
        );
        let gateway = Gateway::connect(&nats).await;
        gateway.register("provider", "model", record).await;
        let policy =
            json!({"tenant_id": "acme", "policy_id": "chat", "policy": {"providers": ["model"]}});
        let latest = gateway.admin("put_policy", &policy).await["revision"].clone();
        let model = Model::start(&gateway).await;
        let peer = Peer::of(&first, &nats, "peer").await;
        let fleet = Self {
            gateway,
            peer,
            model,
            first,
            second,
            nats,
            _database: database,
        };
        for router in [&fleet.first, &fleet.second] {
            eventually(LIMIT, "it knows the policy", async || {
                router
                    .readiness()
                    .await
                    .filter(|said| said["revision"] == latest)
            })
            .await;
        }
        let known = async || (keys_of(&fleet.second) == keys_of(&fleet.first)).then_some(());
        eventually(LIMIT, "both have the same key", known).await;
        fleet
    }

    async fn states(&self, fleet: bool) -> Value {
        self.gateway
            .admin("get_circuit_breaker_states", &json!({"fleet": fleet}))
            .await
    }

    async fn counted(&self) -> Value {
        self.states(true).await["states"]["model"]["fleet"].clone()
    }

    /// What the metrics of each say: 2 is open.
    async fn gauges(&self) -> [Option<u32>; 2] {
        [gauge(&self.first).await, gauge(&self.second).await]
    }
}

/// A provider that knows its callers by where they want their answers.
struct Model {
    /// Failures of each caller, the first one first.
    failures: Arc<Mutex<Vec<(String, usize)>>>,
    broken: Arc<AtomicBool>,
    serving: JoinHandle<()>,
}

impl Model {
    async fn start(gateway: &Gateway) -> Self {
        let client = gateway.client().clone();
        let mut calls = client
            .queue_subscribe(SUBJECT, "model".into())
            .await
            .expect("subscribed");
        client.flush().await.expect("flushed");
        let failures = Arc::new(Mutex::new(Vec::<(String, usize)>::new()));
        let broken = Arc::new(AtomicBool::new(false));
        let counts = Arc::clone(&failures);
        let all = Arc::clone(&broken);
        let serving = tokio::spawn(async move {
            while let Some(call) = calls.next().await {
                let reply = call.reply.expect("somebody wants to know");
                let caller = reply.rsplit_once('.').expect("an inbox").0;
                let works = {
                    let mut counts = counts.lock();
                    let known = counts.iter().position(|(known, _)| known == caller);
                    let index = known.unwrap_or_else(|| {
                        counts.push((caller.to_owned(), 0));
                        counts.len() - 1
                    });
                    let works = index > 0 && !all.load(Ordering::Relaxed);
                    counts[index].1 += usize::from(!works);
                    works
                };
                let answer = if works {
                    r#"{"output": "hello"}"#
                } else {
                    BROKEN
                };
                client
                    .publish(reply, answer.into())
                    .await
                    .expect("answered");
            }
        });
        Self {
            failures,
            broken,
            serving,
        }
    }

    fn failures(&self) -> Vec<usize> {
        self.failures
            .lock()
            .iter()
            .map(|(_, failures)| *failures)
            .collect()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn gauge(router: &RouterProcess) -> Option<u32> {
    let (_, metrics) = router.get("/metrics").await?;
    let name = "extension_breaker_state{extension_id=\"model\"} ";
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.parse().ok())
}

/// Opens after five failures, and stays open for the whole test.
fn slow_to_recover() -> Value {
    json!({"breaker": {"open_base_ms": 60_000, "jitter": 0}})
}

#[tokio::test]
async fn when_one_has_opened_two_failures_are_enough_for_the_other_and_the_fleet_is_counted() {
    let fleet = Fleet::start(slow_to_recover()).await;
    let mut hints = fleet
        .peer
        .client()
        .subscribe(Peer::HINTS)
        .await
        .expect("subscribed");
    let counted = fleet.counted().await;
    assert_eq!(counted, json!({"replicas": 2, "open": 0, "half_open": 0}));

    eventually(LIMIT, "one of them opens", async || {
        fleet.gateway.route(&request("chat")).await;
        fleet.gauges().await.contains(&Some(2)).then_some(())
    })
    .await;
    let hint = hints.next().await.expect("a hint");
    let hint: Value = serde_json::from_slice(&hint.payload).expect("JSON");
    assert_eq!(
        (&hint["extension_id"], &hint["subject"], &hint["state"]),
        (&json!("model"), &json!(SUBJECT), &json!("open"))
    );
    assert_eq!(hint["generation"], 1);
    let left = hint["open_for_ms"].as_u64().expect("a duration");
    assert!((1..=60_000).contains(&left), "{hint}");
    let counted = fleet.counted().await;
    assert_eq!(
        (&counted["open"], &counted["replicas"]),
        (&json!(1), &json!(2)),
        "{counted}"
    );
    assert_eq!(counted["targets"][SUBJECT]["open"], 1, "{counted}");

    eventually(LIMIT, "the other one has heard of it", async || {
        fleet.gateway.route(&request("chat")).await;
        fleet.states(false).await["states"]["model"]["suspect_until"]
            .as_str()
            .map(drop)
    })
    .await;
    assert_eq!(fleet.model.failures()[0], 5);
    fleet.model.broken.store(true, Ordering::Relaxed);
    eventually(LIMIT, "both are open", async || {
        fleet.gateway.route(&request("chat")).await;
        (fleet.gauges().await == [Some(2), Some(2)]).then_some(())
    })
    .await;
    assert_eq!(fleet.model.failures(), [5, 2]);
    let states = fleet.states(true).await;
    assert_eq!(
        states["states"]["model"]["reason_code"], "consecutive_failures",
        "{states}"
    );
    assert_eq!(states["replicas"].as_array().expect("replicas").len(), 2);

    let run = |arguments: &[&str]| {
        let mut command = Command::new(program("beamline-router"));
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BEAMLINE"))
        {
            command.env_remove(name);
        }
        let url = [
            "--nats-url",
            fleet.nats.url(),
            "--timeout",
            "10s",
            "breaker",
        ];
        let output = command
            .args(url)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let listed = run(&["list", "--fleet"]);
    let row = listed
        .lines()
        .find(|line| line.starts_with("model"))
        .expect("a row");
    assert!(row.contains("open on 2 of 2"), "{listed}");
    let shown: Value =
        serde_json::from_str(&run(&["show", "model", "--fleet", "--output", "json"]))
            .expect("JSON");
    assert_eq!(shown["fleet"]["open"], 2, "{shown}");

    let reset = run(&["reset", "model"]);
    assert!(
        reset.starts_with("breaker of 'model' closed on 2 of 2 replicas, at revision "),
        "{reset}"
    );
    assert_eq!(fleet.gauges().await, [Some(0), Some(0)]);
}

#[tokio::test]
async fn hints_open_nothing_and_odd_ones_harm_nothing() {
    let fleet = Fleet::start(slow_to_recover()).await;
    for n in 0..2_000 {
        let subject = format!("beamline.provider.e{n}.v1");
        let hint = fleet.peer.open(&format!("e{n}"), &subject, 1_000);
        fleet.peer.hint(&hint).await;
    }
    for odd in [
        "",
        "{",
        "[]",
        "null",
        "\"open\"",
        r#"{"replica_id": 7}"#,
        "\u{0}",
        &"[".repeat(100_000),
    ] {
        fleet.peer.hint(odd).await;
    }
    for state in ["open", "melted"] {
        let hint = json!({"replica_id": "peer", "extension_id": "a\r\nb", "subject": SUBJECT, "state": state,
            "generation": u64::MAX, "open_for_ms": u64::MAX});
        fleet.peer.hint(&hint.to_string()).await;
    }
    let mut nonsense = fleet.peer.ask("{]").await;

    // Read after all of them, because it came after them on the same connection.
    let mut answers = fleet.peer.ask("{}").await;
    for _ in 0..2 {
        let answer = within("both answer", answers.next())
            .await
            .expect("an answer");
        let said: Value = serde_json::from_slice(&answer.payload).expect("JSON");
        assert_eq!(said["breakers"], json!([]), "{said}");
    }
    assert!(nonsense.next().now_or_never().is_none(), "no answer to it");

    eventually(LIMIT, "they have read it", async || {
        let hint = fleet.peer.open("model", SUBJECT, 600_000);
        fleet.peer.hint(&hint).await;
        fleet.gateway.route(&request("chat")).await;
        fleet.states(false).await["states"]["model"]["suspect_until"]
            .as_str()
            .map(drop)
    })
    .await;
    let counted = fleet.counted().await;
    assert_eq!(counted["replicas"], 2, "{counted}");
    let listed = fleet.states(false).await;
    assert_eq!(listed["states"]["e1"], Value::Null);
    for router in [&fleet.first, &fleet.second] {
        assert!(!router.log().contains("panicked"), "{}", router.log());
    }
}

/// What a replica says that has no key, and may make none.
#[tokio::test]
async fn without_a_key_nothing_is_said_and_the_log_says_why_once() {
    let nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    let url = database.url();
    let settings = [("nats.url", nats.url()), ("database.url", url.as_str())];
    let mut first = RouterProcess::start(&settings).await;
    first.sigterm();
    assert!(first.wait_exit(LIMIT).await.success());
    let mut connection = database.connect().await;
    let drop = "DROP TABLE fleet_keys";
    connection.execute(drop).await.expect("no table");

    let router = RouterProcess::start(&settings).await;
    let gateway = Gateway::connect(&nats).await;
    let said = "replicas cannot sign what they tell each other";
    until("it is said", || router.log().contains(said)).await;
    let mut heard = gateway
        .client()
        .subscribe("beamline.router.v1.control.*")
        .await
        .expect("subscribed");
    for _ in 0..3 {
        // Each change has it try again.
        let states = json!({"fleet": true});
        let states = gateway.admin("get_circuit_breaker_states", &states).await;
        assert_eq!(
            states["replicas"].as_array().expect("replicas").len(),
            1,
            "{states}"
        );
        gateway
            .policy("chat", &json!({"providers": ["mock_provider"]}))
            .await;
    }
    assert!(heard.next().now_or_never().is_none(), "nothing is said");
    assert_eq!(router.log().matches(said).count(), 1, "{}", router.log());
    assert!(router.log().contains("beamline-router migrate"));

    let create = include_str!("../migrations/postgres/0013_fleet_keys.sql");
    sqlx::raw_sql(create)
        .execute(&mut connection)
        .await
        .expect("a table");
    gateway
        .policy("chat", &json!({"providers": ["mock_provider"]}))
        .await;
    let has_key = async || (!keys_of(&router).is_empty()).then_some(());
    eventually(LIMIT, "it has a key", has_key).await;
}
