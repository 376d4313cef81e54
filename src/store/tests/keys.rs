//! Keys come back as they were written, and leave a trace without a secret.

use std::sync::Arc;

use beamline_actors::ports::{Author, Change, Nonce, StoreError};
use beamline_domain::keys::StoredKey;
use sqlx::Row;

use super::database::TestDatabase;
use super::fixtures::{audit, author, outsider, seeded};

on_both_databases!(
    a_signed_write_is_taken_once,
    keys_are_made_rotated_and_revoked,
    what_a_key_cannot_be_is_refused,
);

fn admin(id: &str) -> StoredKey {
    StoredKey {
        id: id.into(),
        kind: "admin".into(),
        role: Some("editor".into()),
        tenant_id: Some("acme".into()),
        name: Some("Zoë's".into()),
        policies: Vec::new(),
        models: Vec::new(),
        rpm: None,
        tpm: None,
        budget_day: None,
        budget_month: None,
        created_at: 1_700_000_000_123,
        expires_at: None,
        hash: format!("hash of {id}"),
        public_key: Some("public".into()),
    }
}

fn edge(id: &str) -> StoredKey {
    StoredKey {
        kind: "edge".into(),
        role: None,
        policies: vec!["a".into(), "b".into()],
        models: vec!["gpt-4o".into()],
        rpm: Some(60),
        tpm: Some(100_000),
        budget_day: Some("1.50".into()),
        budget_month: Some("20".into()),
        expires_at: Some(1_800_000_000_000),
        public_key: None,
        ..admin(id)
    }
}

async fn a_signed_write_is_taken_once(database: TestDatabase) {
    let store = seeded(&database).await;
    let by = |value: &str, at| Author {
        nonce: Some(Arc::new(Nonce::new("k", value, at))),
        ..author()
    };
    let change = |id: &str| Change::CreateKey(admin(id));
    let first = store.write(change("a"), by("1", 1_000)).await.unwrap();
    for again in [change("b"), change("c")] {
        let refused = store.write(again, by("1", 2_000)).await;
        assert!(matches!(refused, Err(StoreError::Replayed)), "{refused:?}");
    }
    assert_eq!(
        store.revision().await.unwrap(),
        first,
        "nothing was changed"
    );

    // One that was refused for another reason is not spent yet.
    let conflict = store.write(change("a"), by("2", 2_000)).await;
    assert!(matches!(conflict, Err(StoreError::Conflict(_))));
    let nonce = Nonce::new("k", "2", 2_000);
    store.spend(&nonce).await.unwrap();
    let again = store.spend(&nonce).await;
    assert!(matches!(again, Err(StoreError::Replayed)), "{again:?}");
    let refused = store.write(change("b"), by("2", 2_000)).await;
    assert!(matches!(refused, Err(StoreError::Replayed)), "{refused:?}");
    let other = Nonce::new("another", "2", 2_000);
    store.spend(&other).await.unwrap();

    // What is too old to be taken at all is forgotten.
    store.spend(&Nonce::new("k", "3", 700_000)).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM used_nonces")
        .fetch_one(&mut outsider(&database).await)
        .await
        .unwrap();
    assert_eq!(left, 1);
}

async fn keys_are_made_rotated_and_revoked(database: TestDatabase) {
    let store = seeded(&database).await;
    for key in [edge("e"), admin("a")] {
        let change = Change::CreateKey(key);
        store.write(change, author()).await.unwrap();
    }
    assert_eq!(store.load().await.unwrap().keys, [admin("a"), edge("e")]);

    let rotate = Change::RotateKey {
        id: "a".into(),
        expires_at: 1_700_000_001_000,
        successor: admin("b"),
    };
    store.write(rotate, author()).await.unwrap();
    let revoke = Change::RevokeKey { id: "e".into() };
    store.write(revoke, author()).await.unwrap();
    let ending = StoredKey {
        expires_at: Some(1_700_000_001_000),
        ..admin("a")
    };
    assert_eq!(store.load().await.unwrap().keys, [ending, admin("b")]);

    let rows = audit(&database, "a").await;
    let actions: Vec<&str> = rows.iter().map(|row| row.get("action")).collect();
    assert_eq!(actions, ["create", "rotate"]);
    let after: &str = rows[1].get("after");
    assert!(after.contains(r#""successor":{"#) && after.contains(r#""id":"b""#));
    for row in audit(&database, "e").await.iter().chain(&rows) {
        for image in ["before", "after"] {
            let image: Option<&str> = row.get(image);
            let image = image.unwrap_or_default();
            assert!(!image.contains("hash of") && !image.contains("public"));
        }
    }
}

async fn what_a_key_cannot_be_is_refused(database: TestDatabase) {
    let store = seeded(&database).await;
    store
        .write(Change::CreateKey(admin("a")), author())
        .await
        .unwrap();
    let taken = store.write(Change::CreateKey(admin("a")), author()).await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))), "{taken:?}");
    let nul = StoredKey {
        name: Some("a\0b".into()),
        ..admin("b")
    };
    let refused = store.write(Change::CreateKey(nul), author()).await;
    assert!(
        matches!(refused, Err(StoreError::Refused(_))),
        "{refused:?}"
    );
    for change in [
        Change::RevokeKey { id: "b".into() },
        Change::RotateKey {
            id: "b".into(),
            expires_at: 1,
            successor: admin("c"),
        },
    ] {
        let missing = store.write(change, author()).await;
        assert!(
            matches!(missing, Err(StoreError::NotFound(_))),
            "{missing:?}"
        );
    }
    let ownerless = StoredKey {
        tenant_id: None,
        ..edge("d")
    };
    let change = Change::CreateKey(ownerless);
    store.write(change, author()).await.unwrap_err();
    assert_eq!(store.load().await.unwrap().keys, [admin("a")]);
}
