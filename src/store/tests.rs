//! One suite for both databases: what the router relies on, asked of each in the same words.

/// Makes a test of each function for each database.
macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        mod postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(super::TestDatabase::postgres().await).await;
                }
            )*
        }
        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(super::TestDatabase::sqlite().await).await;
                }
            )*
        }
    };
}

mod audit;
mod audit_attacks;
mod away;
mod database;
mod fixtures;
mod fleet_keys;
mod health;
mod keys;
mod migrations;
mod proxy;
mod rights;
mod statements;
mod writers;

use beamline_actors::ports::{Author, Change, StoreError};
use beamline_contract::fields::Fields;
use beamline_contract::record::{ExtensionRecord, Kind};
use beamline_domain::policy::Policy;
use beamline_domain::record;
use serde_json::value::RawValue;
use sqlx::any::AnyRow;
use sqlx::{Executor, Row};

use self::database::TestDatabase;
use self::fixtures::{
    SEEDS, audit, author, extension, find, full_extension, outsider, policy, seeded,
};
use super::rows;

on_both_databases!(
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
    unreadable_rows_are_reported_as_corrupt,
);

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
    assert_eq!(store.load().await.unwrap().extensions.len(), SEEDS);
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
