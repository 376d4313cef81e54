//! Several that write at the same time, and those who hear of it.

use std::sync::Arc;

use beamline_actors::ports::{Author, Change, StoreError};
use sqlx::{Connection, Executor};
use tokio::time::timeout;

use super::database::TestDatabase;
use super::fixtures::{
    LIMIT, SEEDS, audit, author, config, extension, find, opened, outsider, policy, seeded,
};

on_both_databases!(
    concurrent_writers_get_a_revision_each,
    one_of_two_concurrent_creators_wins,
    a_change_made_from_an_older_revision_is_refused,
    a_change_of_what_others_changed_is_refused,
    a_writer_that_knows_no_revisions_of_objects_keeps_them_right,
    two_stores_see_each_others_writes,
    a_lock_held_elsewhere_is_not_waited_for,
);

async fn concurrent_writers_get_a_revision_each(database: TestDatabase) {
    let store = seeded(&database).await;
    let first = store.revision().await.unwrap() + 1;
    let mut writers = Vec::new();
    for number in 0..20 {
        let store = Arc::clone(&store);
        let create = Change::CreateExtension(extension(&format!("e{number}")));
        writers.push(tokio::spawn(
            async move { store.write(create, author()).await },
        ));
    }
    let mut revisions = Vec::new();
    for writer in writers {
        revisions.push(writer.await.unwrap().unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (first..first + 20).collect::<Vec<_>>());
    let content = store.load().await.unwrap();
    assert_eq!(content.revision, first + 19);
    assert_eq!(content.extensions.len(), SEEDS + 20);
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

async fn a_change_of_what_others_changed_is_refused(database: TestDatabase) {
    let store = seeded(&database).await;
    let known_up_to = |revision| Author {
        if_revision: Some(revision),
        ..author()
    };
    let create = |id: &str| store.write(Change::CreateExtension(extension(id)), author());
    let update = |id: &str, by| store.write(Change::UpdateExtension(extension(id)), by);
    let made = create("mine").await.unwrap();
    create("other").await.unwrap();
    let changed = update("mine", known_up_to(made)).await.unwrap();
    let refused = update("mine", known_up_to(made)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Changed(_)), "{refused}");
    assert_eq!(store.revision().await.unwrap(), changed);
    update("mine", known_up_to(changed)).await.unwrap();

    let put = |id: &str, by| store.write(Change::PutPolicy(policy("acme", id, "{}")), by);
    let seeded = Change::PutPolicy(policy("demo", "default", "{}"));
    let refused = store.write(seeded, known_up_to(0)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
    let made = put("p", known_up_to(0)).await.unwrap();
    let refused = put("p", known_up_to(0)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
    let changed = put("p", known_up_to(made)).await.unwrap();
    let refused = put("p", known_up_to(made)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Changed(_)), "{refused}");
    let delete = Change::DeletePolicy {
        tenant_id: "acme".into(),
        policy_id: "p".into(),
    };
    store.write(delete, known_up_to(changed)).await.unwrap();
    let refused = put("p", known_up_to(changed)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Changed(_)), "{refused}");
    let again = put("p", known_up_to(0)).await.unwrap();

    let content = store.load().await.unwrap();
    assert_eq!(content.revisions.get("policy acme/p"), Some(&again));
    assert!(content.revisions.contains_key("extension pii_guard"));
}

/// A router of the release before does not know the column.
async fn a_writer_that_knows_no_revisions_of_objects_keeps_them_right(database: TestDatabase) {
    let store = seeded(&database).await;
    let mut old = outsider(&database).await;
    for sql in [
        "UPDATE registry_revision SET revision = 70",
        "UPDATE extensions SET retry = 2 WHERE id = 'pii_guard'",
        "UPDATE registry_revision SET revision = 71",
        "INSERT INTO policies (tenant_id, policy_id, document) VALUES ('acme', 'p', '{}') \
         ON CONFLICT (tenant_id, policy_id) DO UPDATE SET document = excluded.document",
        "UPDATE registry_revision SET revision = 72",
        "INSERT INTO policies (tenant_id, policy_id, document) VALUES ('acme', 'p', '{\"a\": 1}') \
         ON CONFLICT (tenant_id, policy_id) DO UPDATE SET document = excluded.document",
    ] {
        old.execute(sql).await.unwrap();
    }
    let revisions = store.load().await.unwrap().revisions;
    assert_eq!(revisions.get("extension pii_guard"), Some(&70));
    assert_eq!(revisions.get("policy acme/p"), Some(&72));
}

async fn two_stores_see_each_others_writes(database: TestDatabase) {
    let one = seeded(&database).await;
    let other = opened(&config(database.url())).await;
    let mut own = one.hints();
    let mut hints = other.hints();
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
        SEEDS,
        "reading goes on"
    );
    tx.rollback().await.unwrap();
    store
        .write(Change::CreateExtension(extension("a")), author())
        .await
        .unwrap();
}
