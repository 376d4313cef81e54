//! The database goes away and comes back: traffic does not notice, administration says so, and
//! nothing is missed.

use std::time::Duration;

use beamline_test_support::{
    Caller, Demo, LIMIT, Nats, PostgresDatabase, RouterProcess, TcpProxy, Weather, assert_served,
    eventually,
};
use serde_json::{Value, json};
use sqlx::migrate::Migrate;
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Within this a refusal must have come: somebody waits for it.
const REFUSED_WITHIN: Duration = Duration::from_secs(12);
/// Writes that may be at work or wait.
const PLACES: usize = 200;

/// A change as the store makes it, but without a word to anybody: a row, and the revision.
async fn change_silently(database: &mut PgConnection, version: &str) -> i64 {
    let mut tx = database.begin().await.expect("a transaction");
    let revision = sqlx::query_scalar(
        "UPDATE registry_revision SET revision = revision + 1 RETURNING revision",
    );
    let revision = revision.fetch_one(&mut *tx).await.expect("a revision");
    let document = demo_policy(version).to_string();
    let change = "UPDATE policies SET document = $1::json WHERE tenant_id = 'demo' AND policy_id = 'default'";
    sqlx::query(change)
        .bind(document)
        .execute(&mut *tx)
        .await
        .expect("a change");
    tx.commit().await.expect("committed");
    revision
}

fn demo_policy(version: &str) -> Value {
    json!({
        "version": version, "policy_id": "default",
        "pre": [{"id": "normalize_text", "mode": "required"}],
        "validators": [{"id": "pii_guard", "on_fail": "block"}],
        "providers": [{"name": "mock_provider", "weight": 100}],
        "post": [{"id": "mask_pii", "mode": "required"}],
    })
}

async fn put_policy(caller: &Caller, version: &str) -> Value {
    let body = json!({"tenant_id": "demo", "policy_id": "default", "policy": demo_policy(version)});
    let begun = Instant::now();
    let answer = timeout(REFUSED_WITHIN, caller.admin("put_policy", body))
        .await
        .expect("an answer in time");
    println!("put_policy answered after {:?}", begun.elapsed());
    answer
}

/// The write is refused with a type, and nothing has changed.
async fn assert_write_refused(caller: &Caller, router: &RouterProcess) {
    let before = router.readiness().await.expect("an answer");
    let refused = put_policy(caller, "refused").await;
    assert_eq!(refused["ok"], false, "{refused}");
    assert_eq!(refused["error"]["code"], "store_unavailable", "{refused}");
    assert!(
        refused["error"]["message"]
            .as_str()
            .is_some_and(|m| m.contains("Nothing was changed")),
        "{refused}"
    );
    let after = router.readiness().await.expect("an answer");
    assert_eq!(before["revision"], after["revision"]);
    assert_ne!(policy_version(caller).await, "refused");
}

async fn policy_version(caller: &Caller) -> String {
    let answer = caller.route("version").await;
    assert_served(&answer, "version");
    answer["decision"]["policy_version"]
        .as_str()
        .expect("a version")
        .to_owned()
}

async fn assert_all_served(caller: &Caller, count: usize) {
    for number in 0..count {
        let id = format!("r-{number}");
        assert_served(&caller.route(&id).await, &id);
    }
}

/// Waits until requests are served by this version of the policy.
async fn until_version(caller: &Caller, version: &str) {
    eventually(LIMIT, &format!("version {version} is served"), async || {
        (policy_version(caller).await == version).then_some(())
    })
    .await;
}

/// Waits until the router says that it is ready and has not been able to ask the store for some
/// seconds.
async fn until_stale(router: &RouterProcess, seconds: u64) -> Value {
    eventually(LIMIT, "the router says how stale it is", async || {
        let said = router.readiness().await?;
        assert_eq!(
            said["code"], 200,
            "an old snapshot is better than none: {said}"
        );
        said["stale_seconds"]
            .as_u64()
            .filter(|stale| *stale >= seconds)
            .map(|_| said)
    })
    .await
}

async fn until_fresh(router: &RouterProcess, revision: i64) {
    eventually(
        LIMIT,
        "the router agrees with the store again",
        async || {
            let said = router.readiness().await?;
            let fresh = said["revision"] == revision
                && said["stale_seconds"] == 0
                && said["registry_source"] == "store";
            fresh.then_some(())
        },
    )
    .await;
}

#[tokio::test]
async fn requests_do_not_notice_that_the_database_is_away() {
    let nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    let mut proxy = TcpProxy::start(&database.address()).await;
    let url = database.url_through(proxy.address().port());
    let settings = [
        ("nats.url", nats.url()),
        ("database.url", url.as_str()),
        ("database.poll_interval", "500ms"),
    ];
    let router = RouterProcess::start(&settings).await;
    let _demo = Demo::serve(&nats).await;
    let caller = Caller::connect(&nats).await;
    assert_eq!(policy_version(&caller).await, "1.0");

    proxy.cut().await;
    let said = until_stale(&router, 2).await;
    assert_eq!(said["registry_source"], "store", "{said}");
    assert_all_served(&caller, 30).await;
    assert_write_refused(&caller, &router).await;
    assert_all_served(&caller, 10).await;

    let revision = change_silently(&mut database.connect().await, "meanwhile").await;
    assert_eq!(policy_version(&caller).await, "1.0");
    proxy.restore();
    until_version(&caller, "meanwhile").await;
    until_fresh(&router, revision).await;
    let written = put_policy(&caller, "again").await;
    assert_eq!(
        written["revision"],
        revision + 1,
        "the refused write left nothing behind: {written}"
    );
    assert_eq!(policy_version(&caller).await, "again");
    assert_eq!(
        router.get("/healthz").await.map(|(code, _)| code),
        Some(200)
    );
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_not_called_a_refusal() {
    let nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    let url = database.url();
    let _router =
        RouterProcess::start(&[("nats.url", nats.url()), ("database.url", url.as_str())]).await;
    let _demo = Demo::serve(&nats).await;
    let caller = Caller::connect(&nats).await;
    assert_eq!(policy_version(&caller).await, "1.0");
    database.slow_commits(6.0).await;

    let answer = put_policy(&caller, "perhaps").await;
    assert_eq!(answer["error"]["code"], "store_unavailable", "{answer}");
    assert_eq!(answer["error"]["details"]["outcome"], "unknown", "{answer}");
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("not known") && !message.contains("Nothing was changed"),
        "{message}"
    );
    until_version(&caller, "perhaps").await;
}

#[tokio::test]
async fn a_change_that_the_listener_missed_is_found_when_it_listens_again() {
    let nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    // No poll comes to the rescue.
    let url = database.url();
    let settings = [
        ("nats.url", nats.url()),
        ("database.url", url.as_str()),
        ("database.poll_interval", "1h"),
    ];
    let _router = RouterProcess::start(&settings).await;
    let _demo = Demo::serve(&nats).await;
    let caller = Caller::connect(&nats).await;
    let mut meddler = database.connect().await;
    let listening = "SELECT pid FROM pg_stat_activity WHERE application_name = 'beamline-router listener' \
                     AND datname = current_database() AND query LIKE 'LISTEN%' AND state = 'idle'";
    eventually(LIMIT, "the router listens", async || {
        let pid: Option<i32> = sqlx::query_scalar(listening)
            .fetch_optional(&mut meddler)
            .await
            .expect("an answer");
        pid
    })
    .await;
    assert_eq!(policy_version(&caller).await, "1.0");

    change_silently(&mut meddler, "unheard").await;
    assert_eq!(
        policy_version(&caller).await,
        "1.0",
        "nobody has told the router"
    );
    let lost = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                WHERE application_name = 'beamline-router listener' AND datname = current_database()";
    let lost: i64 = sqlx::query_scalar(lost)
        .fetch_one(&mut meddler)
        .await
        .expect("an answer");
    assert_eq!(lost, 1);
    until_version(&caller, "unheard").await;
}

#[tokio::test]
async fn a_router_starts_from_disk_while_the_database_is_away() {
    let nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    let mut proxy = TcpProxy::start(&database.address()).await;
    let url = database.url_through(proxy.address().port());
    let settings = [
        ("nats.url", nats.url()),
        ("database.url", url.as_str()),
        ("database.poll_interval", "500ms"),
    ];
    let mut router = RouterProcess::start(&settings).await;
    let _demo = Demo::serve(&nats).await;
    let caller = Caller::connect(&nats).await;
    assert_eq!(policy_version(&caller).await, "1.0");

    proxy.cut().await;
    router.kill();
    router.respawn();
    router.until_ready().await;
    let said = until_stale(&router, 2).await;
    assert_eq!(said["registry_source"], "disk", "{said}");
    assert_all_served(&caller, 10).await;
    assert_write_refused(&caller, &router).await;

    let revision = change_silently(&mut database.connect().await, "meanwhile").await;
    proxy.restore();
    until_version(&caller, "meanwhile").await;
    until_fresh(&router, revision).await;

    // What it has learned since is on disk too.
    proxy.cut().await;
    router.kill();
    router.respawn();
    router.until_ready().await;
    assert_eq!(policy_version(&caller).await, "meanwhile");
}

/// All answers to `count` writes, as they come.
fn many_writes(caller: &Caller, count: usize) -> JoinSet<Value> {
    let body = json!({"tenant_id": "demo", "policy_id": "default", "policy": demo_policy("many")});
    let mut writes = JoinSet::new();
    for _ in 0..count {
        let caller = caller.clone();
        let body = body.clone();
        writes.spawn(async move { caller.admin("put_policy", body).await });
    }
    writes
}

#[tokio::test]
async fn what_needs_no_database_does_not_wait_for_one_that_hangs() {
    let nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    let proxy = TcpProxy::start(&database.address()).await;
    let url = database.url_through(proxy.address().port());
    let settings = [
        ("nats.url", nats.url()),
        ("database.url", url.as_str()),
        // Longer than all writes need to arrive on a busy machine.
        ("database.acquire_timeout", "4s"),
    ];
    let router = RouterProcess::start(&settings).await;
    let caller = Caller::connect(&nats).await;
    proxy.weather(Weather {
        hole_from_server: true,
        ..Weather::default()
    });

    let mut writes = many_writes(&caller, PLACES + 30);
    for _ in 0..30 {
        let refused = writes
            .join_next()
            .await
            .expect("an answer")
            .expect("no panic");
        assert_eq!(
            refused["error"]["code"], "overloaded",
            "more than may wait: {refused}"
        );
        assert!(
            refused["error"]["details"]["retry_after_ms"].is_u64(),
            "{refused}"
        );
        assert_eq!(
            refused["error"]["details"]["outcome"],
            Value::Null,
            "{refused}"
        );
    }
    for operation in [
        "supervision_tree",
        "get_circuit_breaker_states",
        "list_policies",
    ] {
        let read = caller.admin(operation, json!({})).await;
        assert_eq!(read["ok"], true, "{read}");
    }
    assert!(
        writes.try_join_next().is_none(),
        "all writes that have a place still wait: {}",
        router.log()
    );
    let answers = timeout(REFUSED_WITHIN, writes.join_all()).await;
    for answer in answers.expect("no write waits for the database to come back") {
        let code = answer["error"]["code"].as_str().unwrap_or_default();
        assert!(
            ["store_unavailable", "overloaded"].contains(&code),
            "{answer}"
        );
    }
}

/// As while another process migrates: the connection is good, and nothing comes of it for a long
/// time.
#[tokio::test]
async fn a_router_with_a_copy_does_not_wait_for_a_lock_and_goes_on_trying() {
    let nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    let url = database.url();
    let settings = [
        ("nats.url", nats.url()),
        ("database.url", url.as_str()),
        ("database.poll_interval", "1h"),
    ];
    let mut router = RouterProcess::start(&settings).await;
    let _demo = Demo::serve(&nats).await;
    let caller = Caller::connect(&nats).await;
    assert_eq!(policy_version(&caller).await, "1.0");
    router.kill();

    // A schema that this version has to bring up to date before it can read it.
    let mut meddler = database.connect().await;
    let hidden = "ALTER TABLE policies RENAME TO hidden_policies; DROP TABLE extension_target_health; \
                  ALTER TABLE extension_health DROP COLUMN requests, DROP COLUMN latency_p95_ms, DROP COLUMN latency_p99_ms; \
                  DELETE FROM _sqlx_migrations WHERE version = 6";
    sqlx::raw_sql(hidden)
        .execute(&mut meddler)
        .await
        .expect("an older schema");
    let mut holder = database.connect().await;
    holder.lock().await.expect("the lock of who migrates");
    router.respawn();
    router.until_ready().await;
    let said = router.readiness().await.expect("an answer");
    assert_eq!(
        said["registry_source"], "disk",
        "the lock is still held: {said}"
    );
    assert_all_served(&caller, 10).await;

    sqlx::raw_sql("ALTER TABLE hidden_policies RENAME TO policies")
        .execute(&mut meddler)
        .await
        .expect("as it was");
    let revision = change_silently(&mut meddler, "meanwhile").await;
    holder.unlock().await.expect("the lock is free");
    until_version(&caller, "meanwhile").await;
    until_fresh(&router, revision).await;
    let applied = "SELECT count(*) FROM _sqlx_migrations WHERE version = 6 AND success";
    // Whoever told the registry to look need not be the one that migrates.
    eventually(LIMIT, "the migration", async || {
        let counted: i64 = sqlx::query_scalar(applied)
            .fetch_one(&mut meddler)
            .await
            .expect("an answer");
        (counted == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_locked_sqlite_file_refuses_writes_only() {
    let nats = Nats::start().await;
    let directory = TempDir::new().expect("a directory");
    let url = format!(
        "sqlite://{}",
        directory.path().join("registry.db").display()
    );
    let router = RouterProcess::start(&[("nats.url", nats.url()), ("database.url", &url)]).await;
    let _demo = Demo::serve(&nats).await;
    let caller = Caller::connect(&nats).await;

    let mut holder = SqliteConnection::connect(&url).await.expect("the file");
    holder.execute("BEGIN IMMEDIATE").await.expect("the lock");
    assert_all_served(&caller, 10).await;
    assert_write_refused(&caller, &router).await;
    let reloaded = caller.admin("reload", json!({})).await;
    assert_eq!(reloaded["ok"], true, "reading goes on: {reloaded}");
    let said = router.readiness().await.expect("an answer");
    assert_eq!(
        (&said["code"], &said["stale_seconds"]),
        (&json!(200), &json!(0)),
        "{said}"
    );

    holder.execute("ROLLBACK").await.expect("the lock is free");
    let written = put_policy(&caller, "again").await;
    assert_eq!(written["ok"], true, "{written}");
    assert_eq!(policy_version(&caller).await, "again");
}
