//! Databases that are there and will not do everything: those that may only be read, users with few
//! rights, addresses that name what does not exist.

use beamline_actors::ports::{Change, StoreError};
use beamline_test_support::PostgresServer;
use sqlx::{AssertSqlSafe, Executor};

use super::database::TestDatabase;
use super::fixtures::{SEEDS, author, config, extension, opened, outsider};
use crate::store::migrate;
use crate::store::migrations::migrate_to;

on_both_databases!(
    what_is_up_to_date_and_may_only_be_read_is_served,
    what_is_behind_and_may_only_be_read_is_refused,
);

/// The address of the same database, in which nothing can be changed.
async fn read_only(database: &TestDatabase) -> String {
    if !database.is_postgres() {
        return format!("{}?mode=ro", database.url());
    }
    let sql = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', \
               current_database()); END $$";
    outsider(database).await.execute(sql).await.unwrap();
    database.url().to_owned()
}

fn denied(error: &StoreError, saying: &str) -> bool {
    matches!(error, StoreError::Denied(reason) if reason.contains(saying))
}

async fn what_is_up_to_date_and_may_only_be_read_is_served(database: TestDatabase) {
    migrate(&config(database.url())).await.unwrap();
    let config = config(&read_only(&database).await);
    assert_eq!(migrate(&config).await.unwrap(), []);
    let store = opened(&config).await;
    assert_eq!(store.load().await.unwrap().extensions.len(), SEEDS);
    let write = store.write(Change::CreateExtension(extension("a")), author());
    let error = write.await.unwrap_err();
    assert!(denied(&error, "may only be read"), "{error}");
    store.close().await;
}

async fn what_is_behind_and_may_only_be_read_is_refused(database: TestDatabase) {
    migrate_to(&config(database.url()), 3).await.unwrap();
    let config = config(&read_only(&database).await);
    let error = migrate(&config).await.unwrap_err();
    assert!(denied(&error, "may only be read"), "{error}");
}

/// What a release does that is no bigger than the one before: its user needs no right to create.
#[tokio::test]
async fn a_user_who_may_only_read_can_start_a_router() {
    let database = TestDatabase::postgres().await;
    let reader = format!("{}?options=-c%20role%3Dpg_read_all_data", database.url());
    let error = migrate(&config(&reader)).await.unwrap_err();
    assert!(denied(&error, "rights"), "{error}");

    migrate(&config(database.url())).await.unwrap();
    assert_eq!(migrate(&config(&reader)).await.unwrap(), []);
    let store = opened(&config(&reader)).await;
    assert_eq!(store.load().await.unwrap().extensions.len(), SEEDS);
    let write = store.write(Change::CreateExtension(extension("a")), author());
    let error = write.await.unwrap_err();
    assert!(denied(&error, "grant this user"), "{error}");
    store.close().await;
}

#[tokio::test]
async fn a_server_that_answers_refuses_with_advice() {
    let database = TestDatabase::postgres().await;
    let elsewhere = format!("{}_that_is_nowhere", database.url());
    let nobody = database.url().replace("postgres@", "nobody_of_this_name@");
    // The server that tests share may have TLS; one of the test's own has none.
    let plain = PostgresServer::start().await;
    let no_tls = format!("{}?sslmode=require", plain.url());
    for (url, advice) in [
        (elsewhere, "create the database"),
        (nobody, "pg_hba.conf"),
        (no_tls, "sslmode"),
    ] {
        let error = migrate(&config(&url)).await.unwrap_err();
        assert!(denied(&error, advice), "{error}");
        let error = opened(&config(&url)).await.load().await.unwrap_err();
        assert!(denied(&error, advice), "{error}");
    }
}

/// A lock in the way, for one, is no refusal.
#[tokio::test]
async fn a_server_that_has_no_time_does_not_answer() {
    let database = TestDatabase::postgres().await;
    migrate(&config(database.url())).await.unwrap();
    let store = opened(&config(database.url())).await;
    let mut holder = outsider(&database).await;
    let lock = "BEGIN; LOCK TABLE registry_revision IN ACCESS EXCLUSIVE MODE";
    holder.execute(AssertSqlSafe(lock)).await.unwrap();
    let error = store.revision().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn only_an_address_that_says_so_makes_a_file() {
    for mode in ["ro", "rw"] {
        let database = TestDatabase::sqlite().await;
        let config = config(&format!("{}?mode={mode}", database.url()));
        let error = migrate(&config).await.unwrap_err();
        assert!(denied(&error, "mode=rwc"), "{mode}: {error}");
        let error = opened(&config).await.load().await.unwrap_err();
        assert!(denied(&error, "mode=rwc"), "{mode}: {error}");
        let path = database.url().strip_prefix("sqlite://").unwrap();
        let directory = std::path::Path::new(path).parent().unwrap();
        assert!(!directory.exists(), "{mode}");
    }
}
