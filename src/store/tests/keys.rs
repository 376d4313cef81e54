//! Keys come back as they were written, and leave a trace without a secret.

use beamline_actors::ports::{Change, StoreError};
use beamline_domain::keys::StoredKey;
use sqlx::Row;

use super::database::TestDatabase;
use super::fixtures::{audit, author, seeded};

on_both_databases!(
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
