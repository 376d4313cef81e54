//! The schema comes from its migrations, whoever applies them.

use beamline_actors::ports::StoreError;
use beamline_contract::record::Kind;
use sqlx::{AssertSqlSafe, Executor};

use super::database::TestDatabase;
use super::fixtures::{SEEDS, config, find, opened, outsider};
use crate::store::migrations::{MigrationState, migrate_to};
use crate::store::{migrate, migration_status};

/// How many there are, numbered from one.
const MIGRATIONS: i64 = 13;

on_both_databases!(
    a_store_can_be_opened_before_its_schema_exists,
    migrations_run_once_however_many_start,
    the_status_changes_nothing,
    a_migration_with_another_text_is_refused,
    an_empty_store_is_filled_by_the_seeds,
);

async fn a_store_can_be_opened_before_its_schema_exists(database: TestDatabase) {
    let store = opened(&config(database.url())).await;
    let error = store.load().await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(reason) if reason.contains("migrate")),
        "{error}"
    );
    migrate(&config(database.url())).await.unwrap();
    assert_eq!(store.load().await.unwrap().extensions.len(), SEEDS);
}

async fn migrations_run_once_however_many_start(database: TestDatabase) {
    let starts = (0..8).map(|_| {
        let config = config(database.url());
        tokio::spawn(async move { migrate(&config).await })
    });
    let mut applied = Vec::new();
    for start in starts.collect::<Vec<_>>() {
        applied.extend(start.await.unwrap().unwrap());
    }
    let versions: Vec<i64> = applied.iter().map(|migration| migration.version).collect();
    assert_eq!(versions.len(), MIGRATIONS as usize);
    assert!(
        versions.is_sorted_by(|one, next| one < next),
        "{versions:?}"
    );
    assert_eq!(migrate(&config(database.url())).await.unwrap(), []);
    let states = migration_status(&config(database.url())).await.unwrap();
    assert!(
        states
            .iter()
            .all(|status| status.state == MigrationState::Applied),
        "{states:?}"
    );
}

async fn the_status_changes_nothing(database: TestDatabase) {
    for _ in 0..2 {
        let states = migration_status(&config(database.url())).await.unwrap();
        assert_eq!(
            states
                .iter()
                .filter(|status| status.state == MigrationState::Pending)
                .count(),
            MIGRATIONS as usize
        );
    }
    if let Some(path) = database.url().strip_prefix("sqlite://") {
        assert!(!std::path::Path::new(path).exists());
    }
}

async fn a_migration_with_another_text_is_refused(database: TestDatabase) {
    migrate(&config(database.url())).await.unwrap();
    let other = if database.is_postgres() {
        "'\\x00'"
    } else {
        "x'00'"
    };
    let sql = format!("UPDATE _sqlx_migrations SET checksum = {other} WHERE version = 2");
    outsider(&database)
        .await
        .execute(AssertSqlSafe(sql))
        .await
        .unwrap();
    let error = migrate(&config(database.url())).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
}

async fn an_empty_store_is_filled_by_the_seeds(database: TestDatabase) {
    let config = config(database.url());
    migrate_to(&config, 1).await.unwrap();
    let store = opened(&config).await;
    assert_eq!(store.revision().await.unwrap(), 0);
    assert!(
        store.load().await.is_err(),
        "the router reads what later migrations add"
    );

    migrate(&config).await.unwrap();
    let content = store.load().await.unwrap();
    let ids: Vec<_> = content
        .extensions
        .iter()
        .map(|e| (e.id.as_str(), e.kind, e.enabled))
        .collect();
    let want = [
        ("anthropic_claude", Kind::Provider, false),
        ("mask_pii", Kind::Post, true),
        ("mask_pii_in", Kind::Pre, true),
        ("mock_provider", Kind::Provider, true),
        ("normalize_text", Kind::Pre, true),
        ("openai_gpt4", Kind::Provider, false),
        ("pii_guard", Kind::Validator, true),
    ];
    assert_eq!(ids, want);
    let mask_pii = find(&content, "mask_pii").unwrap();
    assert_eq!(mask_pii.notes_of.as_deref(), Some("mask_pii_in"));
    assert_eq!(content.revision, store.revision().await.unwrap());
    assert!(content.revision > 0);
    store.close().await;
}
