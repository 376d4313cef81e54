//! One suite for both databases: what the router relies on, asked of each in the same words.

mod away;
mod database;
mod fixtures;
mod health;
mod proxy;
mod statements;

use std::sync::Arc;

use beamline_actors::ports::{Author, Change, StoreError};
use beamline_contract::fields::Fields;
use beamline_contract::record::{ExtensionRecord, Kind};
use beamline_domain::policy::Policy;
use beamline_domain::record;
use serde_json::value::RawValue;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use tokio::time::timeout;

use self::database::TestDatabase;
use self::fixtures::{
    LIMIT, audit, author, config, extension, find, full_extension, outsider, policy, seeded,
};
use super::migrations::{self, MigrationState};
use super::{migrate, migration_status, open, rows};

/// How many there are, numbered from one.
const MIGRATIONS: i64 = 6;

macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test] async fn $name() { super::$name(super::TestDatabase::postgres().await).await; })*
        }
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(super::TestDatabase::sqlite().await).await; })*
        }
    };
}

on_both_databases!(
    an_empty_store_is_filled_by_the_seeds,
    seeds_are_what_the_router_reads,
    extensions_are_created_read_updated_and_deleted,
    taken_ids_conflict_whatever_their_case,
    what_is_not_there_is_not_found,
    policies_come_back_byte_for_byte,
    hostile_text_is_stored_as_text,
    what_no_column_holds_is_refused,
    each_write_leaves_an_audit_row_that_outlives_its_object,
    refused_writes_change_nothing,
    the_audit_log_is_append_only,
    concurrent_writers_get_a_revision_each,
    one_of_two_concurrent_creators_wins,
    a_change_made_from_an_older_revision_is_refused,
    two_stores_see_each_others_writes,
    a_store_can_be_opened_before_its_schema_exists,
    unreadable_rows_are_reported_as_corrupt,
    a_lock_held_elsewhere_is_not_waited_for,
    migrations_run_once_however_many_start,
    the_status_changes_nothing,
    a_migration_with_another_text_is_refused,
);

async fn an_empty_store_is_filled_by_the_seeds(database: TestDatabase) {
    let config = config(database.url());
    migrations::migrate_to(&config, 1).await.unwrap();
    let store = open(&config).await.unwrap();
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
        ("mock_provider", Kind::Provider, true),
        ("normalize_text", Kind::Pre, true),
        ("openai_gpt4", Kind::Provider, false),
        ("pii_guard", Kind::Validator, true),
    ];
    assert_eq!(ids, want);
    assert_eq!(content.revision, store.revision().await.unwrap());
    assert!(content.revision > 0);
    store.close().await;
}

async fn seeds_are_what_the_router_reads(database: TestDatabase) {
    let content = seeded(&database).await.load().await.unwrap();
    for extension in &content.extensions {
        let again = record::parse(&serde_json::to_string(extension).unwrap(), "beamline").unwrap();
        assert_eq!(again, *extension);
        assert_eq!(extension.subject, None, "it follows from the prefix");
    }
    assert!(
        find(&content, "mock_provider")
            .unwrap()
            .metadata
            .number("expected_latency_ms")
            .is_some()
    );

    let [stored] = content.policies.as_slice() else {
        panic!("one policy, not {:?}", content.policies)
    };
    assert_eq!(
        (stored.tenant_id.as_str(), stored.policy_id.as_str()),
        ("demo", "default")
    );
    let policy = Policy::parse(stored.document.get()).unwrap();
    for (id, kind, place) in policy.references() {
        assert_eq!(
            find(&content, id).map(|extension| extension.kind),
            Some(kind),
            "{place}"
        );
    }
    assert_eq!(policy.pipeline_length(), 4);
}

async fn extensions_are_created_read_updated_and_deleted(database: TestDatabase) {
    let store = seeded(&database).await;
    let created = full_extension("a");
    let first = store
        .write(Change::CreateExtension(created.clone()), author())
        .await
        .unwrap();
    let content = store.load().await.unwrap();
    assert_eq!(
        (content.revision, find(&content, "a")),
        (first, Some(&created))
    );

    let updated = ExtensionRecord {
        kind: Kind::Post,
        enabled: false,
        versions: created.versions.iter().rev().cloned().collect(),
        instances: Vec::new(),
        ..created
    };
    let second = store
        .write(Change::UpdateExtension(updated.clone()), author())
        .await
        .unwrap();
    assert_eq!(second, first + 1);
    assert_eq!(find(&store.load().await.unwrap(), "a"), Some(&updated));

    store
        .write(Change::DeleteExtension { id: "a".into() }, author())
        .await
        .unwrap();
    let content = store.load().await.unwrap();
    assert_eq!((content.revision, find(&content, "a")), (first + 2, None));

    // Nothing of the old one shows in a new one of the same name.
    store
        .write(Change::CreateExtension(extension("a")), author())
        .await
        .unwrap();
    assert_eq!(
        find(&store.load().await.unwrap(), "a"),
        Some(&extension("a"))
    );
}

async fn taken_ids_conflict_whatever_their_case(database: TestDatabase) {
    let store = seeded(&database).await;
    let twin = ExtensionRecord {
        id: "PII_Guard".into(),
        ..extension("x")
    };
    for taken in [extension("pii_guard"), twin] {
        let error = store
            .write(Change::CreateExtension(taken), author())
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Conflict(_)), "{error}");
    }
    let twin = policy("demo", "Default", "{}");
    let error = store
        .write(Change::PutPolicy(twin), author())
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error}");
}

async fn what_is_not_there_is_not_found(database: TestDatabase) {
    let store = seeded(&database).await;
    let changes = [
        Change::UpdateExtension(extension("nobody")),
        Change::DeleteExtension {
            id: "nobody".into(),
        },
        Change::DeletePolicy {
            tenant_id: "demo".into(),
            policy_id: "nobody".into(),
        },
        Change::DeletePolicy {
            tenant_id: "nobody".into(),
            policy_id: "default".into(),
        },
        // Not a pattern, and not an end of the statement.
        Change::DeleteExtension { id: "%".into() },
        Change::DeleteExtension {
            id: "' OR 1 = 1 --".into(),
        },
    ];
    for change in changes {
        let error = store.write(change, author()).await.unwrap_err();
        assert!(matches!(error, StoreError::NotFound(_)), "{error}");
    }
    assert_eq!(store.load().await.unwrap().extensions.len(), 6);
}

async fn policies_come_back_byte_for_byte(database: TestDatabase) {
    let store = seeded(&database).await;
    let documents = [
        "{\n  \"b\": 1.50,\t\"a\": 123456789012345678901234567890,  \"b2\": 1e400 }",
        r#"{"same": 1, "z": "\u00e4ä世\ud83d\ude00", "zero": "\u0000", "same": 2, "quote": "'; DROP TABLE policies; --"}"#,
    ];
    for document in documents {
        store
            .write(
                Change::PutPolicy(policy("demo", "default", document)),
                author(),
            )
            .await
            .unwrap();
        let content = store.load().await.unwrap();
        assert_eq!(content.policies.len(), 1, "replaced, not added");
        assert_eq!(content.policies[0].document.get(), document);
    }
    store
        .write(Change::PutPolicy(policy("acme", "default", "{}")), author())
        .await
        .unwrap();
    let tenants: Vec<_> = store
        .load()
        .await
        .unwrap()
        .policies
        .into_iter()
        .map(|p| p.tenant_id)
        .collect();
    assert_eq!(tenants, ["acme", "demo"]);

    let gone = Change::DeletePolicy {
        tenant_id: "demo".into(),
        policy_id: "default".into(),
    };
    store.write(gone, author()).await.unwrap();
    assert_eq!(store.load().await.unwrap().policies.len(), 1);
}

async fn hostile_text_is_stored_as_text(database: TestDatabase) {
    let store = seeded(&database).await;
    let json = r#"{"big":123456789012345678901234567890,"small":0.000000000000000000000000000001,"exact":1.50,
        "sql":"'; DROP TABLE extensions; --","like":"100%_\\","unicode":"äöü 世界 😀 \u202e"}"#;
    let hostile = ExtensionRecord {
        config: Fields::parse(json).unwrap(),
        ..extension("hostile")
    };
    let by = Author {
        source: "'; DROP TABLE".into(),
        actor: Some("a\0b".into()),
        ..Author::default()
    };
    store
        .write(Change::CreateExtension(hostile), by)
        .await
        .unwrap();

    let content = store.load().await.unwrap();
    let config = &find(&content, "hostile").unwrap().config;
    let raw = |key: &str| config.get(key).map(RawValue::get);
    assert_eq!(raw("big"), Some("123456789012345678901234567890"));
    assert_eq!(raw("small"), Some("0.000000000000000000000000000001"));
    assert_eq!(raw("exact"), Some("1.50"));
    assert_eq!(
        config.text("sql").as_deref(),
        Some("'; DROP TABLE extensions; --")
    );
    assert_eq!(config.text("like").as_deref(), Some("100%_\\"));
    assert_eq!(
        config.text("unicode").as_deref(),
        Some("äöü 世界 😀 \u{202e}")
    );
    assert_eq!(
        audit(&database, "hostile").await[0].get::<&str, _>("actor"),
        "a\u{fffd}b"
    );
}

async fn what_no_column_holds_is_refused(database: TestDatabase) {
    let store = seeded(&database).await;
    let before = store.revision().await.unwrap();
    for json in [
        r#"{"a":"\u0000"}"#,
        r#"{"a":{"\u0000":1}}"#,
        r#"{"a":"\\\u0000"}"#,
    ] {
        let refused = ExtensionRecord {
            metadata: Fields::parse(json).unwrap(),
            ..extension("zero")
        };
        let error = store
            .write(Change::CreateExtension(refused), author())
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{json}: {error}");
    }
    if database.is_postgres() {
        for json in [r#"{"a":"\ud800"}"#, r#"{"a":1e400000}"#] {
            let refused = ExtensionRecord {
                config: Fields::parse(json).unwrap(),
                ..extension("zero")
            };
            let error = store
                .write(Change::CreateExtension(refused), author())
                .await
                .unwrap_err();
            assert!(matches!(error, StoreError::Refused(_)), "{json}: {error}");
        }
    }
    assert_eq!(store.revision().await.unwrap(), before);
    // A backslash and five more characters, not the character.
    let fine = ExtensionRecord {
        metadata: Fields::parse(r#"{"a":"\\u0000"}"#).unwrap(),
        ..extension("zero")
    };
    store
        .write(Change::CreateExtension(fine), author())
        .await
        .unwrap();
}

async fn each_write_leaves_an_audit_row_that_outlives_its_object(database: TestDatabase) {
    let store = seeded(&database).await;
    let created = full_extension("a");
    let updated = ExtensionRecord {
        enabled: false,
        ..created.clone()
    };
    let mut revisions = Vec::new();
    for change in [
        Change::CreateExtension(created.clone()),
        Change::UpdateExtension(updated.clone()),
        Change::DeleteExtension { id: "a".into() },
    ] {
        revisions.push(store.write(change, author()).await.unwrap());
    }
    let rows = audit(&database, "a").await;
    let text =
        |row: &AnyRow, column: &str| row.get::<Option<String>, _>(column).unwrap_or_default();
    let image = |row: &AnyRow, column: &str| {
        serde_json::from_str::<ExtensionRecord>(&text(row, column)).ok()
    };
    let actions: Vec<_> = rows.iter().map(|row| text(row, "action")).collect();
    assert_eq!(actions, ["create", "update", "delete"]);
    let recorded: Vec<_> = rows
        .iter()
        .map(|row| rows::number(row, "revision").unwrap())
        .collect();
    assert_eq!(recorded, revisions);
    let images: Vec<_> = rows
        .iter()
        .map(|row| (image(row, "before"), image(row, "after")))
        .collect();
    let want = [
        (None, Some(created.clone())),
        (Some(created), Some(updated.clone())),
        (Some(updated), None),
    ];
    assert_eq!(images, want);
    for row in &rows {
        let who = ["object_kind", "source", "actor", "trace_id"].map(|column| text(row, column));
        assert_eq!(who, ["extension", "test", "key-1", "4bf9"]);
    }

    store
        .write(
            Change::PutPolicy(policy("demo", "default", r#"{"b": 1, "a": 2}"#)),
            author(),
        )
        .await
        .unwrap();
    let rows = audit(&database, "demo/default").await;
    assert_eq!(text(&rows[0], "action"), "put");
    assert!(text(&rows[0], "before").contains("normalize_text"));
    assert_eq!(text(&rows[0], "after"), r#"{"b": 1, "a": 2}"#);
}

async fn refused_writes_change_nothing(database: TestDatabase) {
    let store = seeded(&database).await;
    let before = store.revision().await.unwrap();
    store
        .write(Change::CreateExtension(extension("pii_guard")), author())
        .await
        .unwrap_err();
    store
        .write(
            Change::DeleteExtension {
                id: "nobody".into(),
            },
            author(),
        )
        .await
        .unwrap_err();
    assert_eq!(store.revision().await.unwrap(), before);
    assert!(
        audit(&database, "pii_guard").await.is_empty()
            && audit(&database, "nobody").await.is_empty()
    );
}

async fn the_audit_log_is_append_only(database: TestDatabase) {
    let store = seeded(&database).await;
    store
        .write(Change::CreateExtension(extension("a")), author())
        .await
        .unwrap();
    let mut connection = outsider(&database).await;
    for sql in [
        "UPDATE extension_audit_log SET actor = 'somebody else'",
        "DELETE FROM extension_audit_log",
    ] {
        let error = connection.execute(sql).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{sql}: {error}");
    }
    if database.is_postgres() {
        let error = connection
            .execute("TRUNCATE extension_audit_log")
            .await
            .unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
    assert_eq!(audit(&database, "a").await.len(), 1);
}

async fn concurrent_writers_get_a_revision_each(database: TestDatabase) {
    let store = seeded(&database).await;
    let first = store.revision().await.unwrap() + 1;
    let writers = (0..20).map(|number| {
        let (store, change) = (
            Arc::clone(&store),
            Change::CreateExtension(extension(&format!("e{number}"))),
        );
        tokio::spawn(async move { store.write(change, author()).await })
    });
    let mut revisions = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        revisions.push(writer.await.unwrap().unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (first..first + 20).collect::<Vec<_>>());
    let content = store.load().await.unwrap();
    assert_eq!(
        (content.revision, content.extensions.len()),
        (first + 19, 26)
    );
}

async fn one_of_two_concurrent_creators_wins(database: TestDatabase) {
    let store = seeded(&database).await;
    let create = || store.write(Change::CreateExtension(extension("same")), author());
    let (one, other) = tokio::join!(create(), create());
    let lost = one.as_ref().err().or(other.as_ref().err()).unwrap();
    assert!(matches!(lost, StoreError::Conflict(_)), "{lost}");
    assert!(one.is_ok() || other.is_ok());
    assert_eq!(audit(&database, "same").await.len(), 1);
}

async fn a_change_made_from_an_older_revision_is_refused(database: TestDatabase) {
    let store = seeded(&database).await;
    let seen = store.revision().await.unwrap();
    let from = |based_on| Author {
        based_on: Some(based_on),
        ..author()
    };
    let create = |id: &str, by| store.write(Change::CreateExtension(extension(id)), by);
    let first = create("first", from(seen)).await.unwrap();
    assert!(matches!(
        create("late", from(seen)).await.unwrap_err(),
        StoreError::Stale
    ));
    assert_eq!(
        store.revision().await.unwrap(),
        first,
        "a refused change leaves no trace"
    );
    assert!(audit(&database, "late").await.is_empty());
    create("late", from(first)).await.unwrap();
}

async fn two_stores_see_each_others_writes(database: TestDatabase) {
    let one = seeded(&database).await;
    let other = open(&config(database.url())).await.unwrap();
    let (mut own, mut hints) = (one.hints(), other.hints());
    if database.is_postgres() {
        // The listener says so once it listens.
        timeout(LIMIT, hints.wait_for(|counter| *counter > 0))
            .await
            .unwrap()
            .unwrap();
    }
    own.mark_unchanged();
    hints.mark_unchanged();
    let revision = one
        .write(Change::CreateExtension(extension("a")), author())
        .await
        .unwrap();
    timeout(LIMIT, own.changed()).await.unwrap().unwrap();
    if database.is_postgres() {
        timeout(LIMIT, hints.changed()).await.unwrap().unwrap();
    }
    assert_eq!(other.revision().await.unwrap(), revision);
    assert!(find(&other.load().await.unwrap(), "a").is_some());
    one.close().await;
    assert!(matches!(
        one.revision().await,
        Err(StoreError::Unavailable(_))
    ));
    other.close().await;
}

async fn a_store_can_be_opened_before_its_schema_exists(database: TestDatabase) {
    let store = open(&config(database.url())).await.unwrap();
    let error = store.load().await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(reason) if reason.contains("migrate")),
        "{error}"
    );
    migrate(&config(database.url())).await.unwrap();
    assert_eq!(store.load().await.unwrap().extensions.len(), 6);
}

async fn unreadable_rows_are_reported_as_corrupt(database: TestDatabase) {
    let store = seeded(&database).await;
    let sql = "UPDATE extensions SET retry = 5000000000 WHERE id = 'pii_guard'";
    outsider(&database).await.execute(sql).await.unwrap();
    let error = store.load().await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Corrupt(reason) if reason.contains("retry")),
        "{error}"
    );
}

async fn a_lock_held_elsewhere_is_not_waited_for(database: TestDatabase) {
    let store = seeded(&database).await;
    let mut connection = outsider(&database).await;
    let mut tx = connection.begin().await.unwrap();
    tx.execute("UPDATE registry_revision SET revision = revision + 1")
        .await
        .unwrap();
    let writing = store.write(Change::CreateExtension(extension("a")), author());
    let error = timeout(LIMIT, writing).await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert_eq!(
        store.load().await.unwrap().extensions.len(),
        6,
        "reading goes on"
    );
    tx.rollback().await.unwrap();
    store
        .write(Change::CreateExtension(extension("a")), author())
        .await
        .unwrap();
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
    assert_eq!(
        applied
            .iter()
            .map(|migration| migration.version)
            .collect::<Vec<_>>(),
        (1..=MIGRATIONS).collect::<Vec<_>>()
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
