//! How a router gets to its database: a password that is replaced, few rights, a pooler in between.

use std::fs;
use std::time::Duration;

use beamline_test_support::{
    Caller, Demo, LIMIT, Nats, PgBouncer, PostgresDatabase, PostgresServer, RouterProcess,
    assert_served, eventually,
};
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use tempfile::TempDir;

async fn execute(database: &mut PgConnection, sql: &str) {
    let done = database.execute(AssertSqlSafe(sql)).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Whether a change of the registry is made.
async fn changes(caller: &Caller, id: &str) -> bool {
    let body = json!({"id": id, "type": "pre"});
    caller.admin("create_extension", body).await["ok"] == true
}

#[tokio::test]
async fn a_password_that_is_replaced_in_its_file_is_used() {
    let nats = Nats::start().await;
    let server = PostgresServer::start().await;
    let mut meddler = server.connect().await;
    execute(
        &mut meddler,
        "CREATE ROLE router LOGIN SUPERUSER PASSWORD 'one'",
    )
    .await;
    server.ask_for_passwords().await;
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("url");
    let address = |password: &str| {
        let url = server
            .url()
            .replace("postgres@", &format!("router:{password}@"));
        fs::write(&file, format!("{url}\n")).expect("the address");
    };
    address("one");
    let file = file.display().to_string();
    let settings = [("nats.url", nats.url()), ("database.url_file", &file)];
    let router = RouterProcess::start(&settings).await;
    let caller = Caller::connect(&nats).await;
    assert!(changes(&caller, "before").await, "{}", router.log());

    execute(&mut meddler, "ALTER ROLE router PASSWORD 'two'").await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'router'";
    execute(&mut meddler, end).await;
    let refused = async || (!changes(&caller, "between").await).then_some(());
    eventually(LIMIT, "the old password is refused", refused).await;
    let said = router.readiness().await.expect("an answer");
    assert_eq!(said["code"], 200, "the snapshot serves: {said}");

    address("two");
    let served = async || changes(&caller, "after").await.then_some(());
    eventually(LIMIT, "the new one is used", served).await;
    let listens = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE '%listener'";
    eventually(LIMIT, "also to hear of changes", async || {
        let mut looker = server.connect().await;
        looker.fetch_optional(listens).await.expect("rows")
    })
    .await;
    for password in ["one", "two"] {
        assert!(
            !router.log().contains(&format!("router:{password}")),
            "{}",
            router.log()
        );
    }
}

#[tokio::test]
async fn a_database_that_refuses_at_start_says_what_helps() {
    let nats = Nats::start().await;
    let server = PostgresServer::start().await;
    let mut meddler = server.connect().await;
    execute(&mut meddler, "CREATE ROLE router LOGIN PASSWORD 'right'").await;
    server.ask_for_passwords().await;
    let url = server.url().replace("postgres@", "router:wrong@");
    let settings = [
        ("nats.url", nats.url()),
        ("database.url", &url),
        ("database.startup_timeout", "1s"),
    ];
    let mut router = RouterProcess::spawn(&settings);
    assert_eq!(router.wait_exit(LIMIT).await.code(), Some(5));
    let log = router.log();
    for said in [
        "refuses",
        "password authentication failed",
        "correct user and password",
    ] {
        assert!(log.contains(said), "{said} is not in {log}");
    }
    assert!(
        !log.contains("does not answer") && !log.contains("wrong"),
        "{log}"
    );
}

/// With a user that may only read, and on a server that may only be read.
#[tokio::test]
async fn a_replica_starts_on_a_database_where_it_may_make_no_tables() {
    let nats = Nats::start().await;
    let demo = Demo::serve(&nats).await;
    let database = PostgresDatabase::create().await;
    let mut first =
        RouterProcess::start(&[("nats.url", nats.url()), ("database.url", &database.url())]).await;
    first.sigterm();
    assert!(first.wait_exit(LIMIT).await.success());
    let mark = if database.url().contains('?') {
        '&'
    } else {
        '?'
    };
    for options in [
        "-c%20role%3Dpg_read_all_data",
        "-c%20default_transaction_read_only%3Don",
    ] {
        let url = format!("{}{mark}options={options}", database.url());
        let settings = [("nats.url", nats.url()), ("database.url", &url)];
        let router = RouterProcess::start(&settings).await;
        let caller = Caller::connect(&nats).await;
        assert_served(&caller.route("r-1").await, "r-1");
        assert!(!changes(&caller, "x").await, "{options}: {}", router.log());
    }
    drop(demo);
}

#[tokio::test]
async fn a_pooler_in_session_mode_may_stand_in_between() {
    let nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    let Some(mut bouncer) = PgBouncer::start(&database.address()).await else {
        return;
    };
    let demo = Demo::serve(&nats).await;
    let url = database.url_through(bouncer.port());
    let settings = [
        ("nats.url", nats.url()),
        ("database.url", &url),
        ("database.poll_interval", "1h"),
    ];
    let router = RouterProcess::start(&settings).await;
    let caller = Caller::connect(&nats).await;
    assert_served(&caller.route("r-1").await, "r-1");
    assert!(changes(&caller, "before").await, "{}", router.log());

    bouncer.restart().await;
    let served = async || changes(&caller, "after").await.then_some(());
    eventually(LIMIT, "changes are made again", served).await;
    // What others change is heard of at once, not at the next look.
    let mut meddler = database.connect().await;
    let announce =
        "WITH next AS (UPDATE registry_revision SET revision = revision + 1 RETURNING revision)
                    SELECT pg_notify('beamline_registry', revision::text) FROM next";
    eventually(
        Duration::from_secs(30),
        "a change is heard of",
        async || {
            let before = router.readiness().await?["revision"].as_u64()?;
            meddler.execute(announce).await.expect("a change");
            tokio::time::sleep(Duration::from_millis(700)).await;
            let after = router.readiness().await?["revision"].as_u64()?;
            (after > before).then_some(())
        },
    )
    .await;
    drop(demo);
}
