//! Databases that are away, silent or frozen, connections that come back, and addresses that cannot
//! work.

use std::sync::Arc;
use std::time::Duration;

use beamline_actors::ports::{Change, Store, StoreError};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::time::timeout;

use super::database::TestDatabase;
use super::fixtures::{LIMIT, author, config, extension, find, opened, outsider, seeded};
use super::proxy::Proxy;
use crate::config::DatabaseConfig;
use crate::store::{OpenError, migrate, migration_status, open};

/// Nobody listens on the port: it was free a moment ago.
#[tokio::test]
async fn a_database_that_is_away_is_unavailable_and_says_so_in_time() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut config = config(&format!("postgres://postgres@127.0.0.1:{port}/nobody"));
    config.acquire_timeout = Duration::from_millis(200);
    let store = opened(&config).await;
    let write = store.write(Change::CreateExtension(extension("a")), author());
    let outcomes = timeout(LIMIT, async {
        tokio::join!(store.revision(), store.load(), write)
    })
    .await
    .unwrap();
    assert!(
        matches!(outcomes.0, Err(StoreError::Unavailable(_))),
        "{:?}",
        outcomes.0
    );
    assert!(
        matches!(outcomes.1, Err(StoreError::Unavailable(_))),
        "{:?}",
        outcomes.1
    );
    assert!(
        matches!(outcomes.2, Err(StoreError::Unavailable(_))),
        "{:?}",
        outcomes.2
    );
    assert!(matches!(
        migrate(&config).await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(
        migration_status(&config).await,
        Err(StoreError::Unavailable(_))
    ));
    timeout(LIMIT, store.close()).await.unwrap();
}

/// As a frozen server does: the connection is accepted and nothing is said.
#[tokio::test]
async fn a_database_that_says_nothing_is_unavailable_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut config = config(&format!("postgres://postgres@127.0.0.1:{port}/nobody"));
    config.acquire_timeout = Duration::from_millis(200);
    let store = opened(&config).await;
    let error = timeout(LIMIT, store.load()).await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(matches!(
        timeout(LIMIT, migrate(&config)).await.unwrap(),
        Err(StoreError::Unavailable(_))
    ));
}

/// Operations end in time while nothing comes through, also those whose connection was good, and
/// the pool is not worn out by them.
#[tokio::test]
async fn a_frozen_database_is_used_again_when_it_thaws() {
    let database = TestDatabase::postgres().await;
    migrate(&config(database.url())).await.unwrap();
    let options: sqlx::postgres::PgConnectOptions = database.url().parse().unwrap();
    let server = tokio::net::lookup_host((options.get_host(), options.get_port()))
        .await
        .unwrap()
        .next()
        .unwrap();
    let proxy = Proxy::before(server).await;
    let behind = database.url().replace(
        &format!("{}:{}", options.get_host(), options.get_port()),
        &proxy.address().to_string(),
    );
    let short = DatabaseConfig {
        acquire_timeout: Duration::from_secs(1),
        max_connections: 2,
        ..config(&behind)
    };
    let store = opened(&short).await;
    let loads = || async {
        while store.load().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, loads())
        .await
        .expect("the proxy lets everything through");

    proxy.freeze(true);
    for number in 0..4 {
        let write = store.write(
            Change::CreateExtension(extension(&format!("e{number}"))),
            author(),
        );
        let error = timeout(LIMIT, write).await.unwrap().unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    }
    proxy.freeze(false);
    timeout(LIMIT, loads()).await.expect("the store comes back");
}

/// Something that every write does takes its time, or fails: at once, or only when it is committed.
async fn spoil_writes(database: &TestDatabase, deed: &str, only_at_commit: bool) {
    let (kind, when) = if only_at_commit {
        ("CONSTRAINT TRIGGER", "DEFERRABLE INITIALLY DEFERRED")
    } else {
        ("TRIGGER", "")
    };
    let sql = format!(
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {deed}; RETURN NULL; END $$; \
         CREATE {kind} spoil AFTER INSERT ON extension_audit_log {when} FOR EACH ROW EXECUTE FUNCTION spoil()"
    );
    let mut connection = sqlx::PgConnection::connect(database.url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
}

/// A store with little patience: three seconds once it has a connection.
async fn impatient(database: &TestDatabase) -> Arc<dyn Store> {
    migrate(&config(database.url())).await.unwrap();
    opened(&DatabaseConfig {
        acquire_timeout: Duration::from_millis(500),
        ..config(database.url())
    })
    .await
}

async fn write_fails(store: &Arc<dyn Store>) -> StoreError {
    let writing = store.write(Change::CreateExtension(extension("a")), author());
    timeout(LIMIT, writing).await.unwrap().unwrap_err()
}

#[tokio::test]
async fn whoever_gives_up_on_a_commit_does_not_know_what_it_did() {
    let database = TestDatabase::postgres().await;
    let store = impatient(&database).await;
    let before = store.revision().await.unwrap();
    spoil_writes(&database, "PERFORM pg_sleep(5)", true).await;
    let error = write_fails(&store).await;
    assert!(matches!(error, StoreError::Unknown(_)), "{error}");
    assert_eq!(store.revision().await.unwrap(), before, "not yet");
    let made = async {
        while store.revision().await.unwrap() == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, made)
        .await
        .expect("the commit goes on by itself");
    assert!(find(&store.load().await.unwrap(), "a").is_some());
}

#[tokio::test]
async fn a_connection_that_breaks_in_a_commit_leaves_open_what_it_did() {
    let database = TestDatabase::postgres().await;
    let store = seeded(&database).await;
    spoil_writes(&database, "PERFORM pg_sleep(5)", true).await;
    let breaking = async {
        let mut outsider = outsider(&database).await;
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND query = 'COMMIT' AND state = 'active'";
        while outsider.fetch_optional(sql).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (error, ()) = timeout(LIMIT, async { tokio::join!(write_fails(&store), breaking) })
        .await
        .unwrap();
    assert!(matches!(error, StoreError::Unknown(_)), "{error}");
}

#[tokio::test]
async fn a_commit_that_the_database_refuses_changes_nothing() {
    let database = TestDatabase::postgres().await;
    let store = seeded(&database).await;
    let before = store.revision().await.unwrap();
    spoil_writes(&database, "RAISE EXCEPTION 'not today'", true).await;
    let error = write_fails(&store).await;
    assert!(
        matches!(&error, StoreError::Denied(reason) if reason.contains("not today")),
        "{error}"
    );
    assert_eq!(store.revision().await.unwrap(), before);
}

/// The server says so itself, and does nothing more for somebody who has gone.
#[tokio::test]
async fn a_statement_ends_before_the_patience_of_who_asked_for_it() {
    let database = TestDatabase::postgres().await;
    let store = impatient(&database).await;
    let before = store.revision().await.unwrap();
    spoil_writes(&database, "PERFORM pg_sleep(60)", false).await;
    let error = write_fails(&store).await;
    let ended = |reason: &str| reason.contains("statement timeout");
    assert!(
        matches!(&error, StoreError::Unavailable(reason) if ended(reason)),
        "{error}"
    );
    assert_eq!(store.revision().await.unwrap(), before);
}

/// The connection that listens is lost: the next hint comes without any write.
#[tokio::test]
async fn a_restored_connection_is_a_hint() {
    let database = TestDatabase::postgres().await;
    let store = seeded(&database).await;
    let mut hints = store.hints();
    timeout(LIMIT, hints.wait_for(|counter| *counter > 0))
        .await
        .unwrap()
        .unwrap();
    hints.mark_unchanged();
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name LIKE '%listener'";
    outsider(&database).await.execute(sql).await.unwrap();
    timeout(LIMIT, hints.changed()).await.unwrap().unwrap();
}

#[tokio::test]
async fn any_path_can_hold_the_file() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["with space", "per%25cent", "ümlaut", "host:port@x"] {
        let url = format!("sqlite://{}/{name}/r.db", directory.path().display());
        migrate(&config(&url)).await.unwrap();
        opened(&config(&url)).await.load().await.unwrap();
        assert!(
            directory
                .path()
                .join(name.replace("%25", "%"))
                .join("r.db")
                .exists(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn addresses_that_cannot_work_are_refused_when_opening() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let below_a_file = format!("sqlite://{}/file/r.db", directory.path().display());
    assert!(matches!(
        open(&config(&below_a_file)).await,
        Err(OpenError::Directory { .. })
    ));
    assert!(matches!(
        open(&config("sqlite::memory:")).await,
        Err(OpenError::Address(_))
    ));
}
