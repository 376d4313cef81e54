//! The keys of the replicas: two at most, and none twice.

use beamline_actors::ports::Change;
use beamline_domain::fleet::{FleetKey, FleetKeys};
use futures_util::future::join_all;
use sqlx::Executor;

use super::database::TestDatabase;
use super::fixtures::{author, config, extension, opened, outsider, seeded};

on_both_databases!(
    the_last_two_keys_are_kept,
    of_many_who_make_a_key_at_once_one_does,
    a_registry_without_the_table_is_served,
);

fn key(number: u64, by: u64) -> FleetKey {
    FleetKey {
        id: format!("k{number}_{by}"),
        number,
        secret: "00".repeat(32),
        created_at: 1_700_000_000_123,
    }
}

async fn the_last_two_keys_are_kept(database: TestDatabase) {
    let store = seeded(&database).await;
    assert_eq!(store.fleet_keys().await.unwrap(), FleetKeys::default());
    let revision = store.revision().await.unwrap();
    for number in 1..=3 {
        assert!(store.add_fleet_key(&key(number, 0)).await.unwrap());
    }
    let kept = FleetKeys::from(vec![key(3, 0), key(2, 0)]);
    assert_eq!(store.fleet_keys().await.unwrap(), kept);
    for late in 1..=3 {
        assert!(!store.add_fleet_key(&key(late, 1)).await.unwrap(), "{late}");
    }
    assert_eq!(store.fleet_keys().await.unwrap(), kept);
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM fleet_keys")
        .fetch_one(&mut outsider(&database).await)
        .await
        .unwrap();
    assert_eq!(rows, 2);
    assert_eq!(store.revision().await.unwrap(), revision);
}

async fn of_many_who_make_a_key_at_once_one_does(database: TestDatabase) {
    seeded(&database).await;
    let made = join_all((0..6).map(async |by| {
        let store = opened(&config(database.url())).await;
        store.add_fleet_key(&key(1, by)).await.unwrap()
    }))
    .await;
    assert_eq!(made.iter().filter(|made| **made).count(), 1, "{made:?}");
}

async fn a_registry_without_the_table_is_served(database: TestDatabase) {
    let store = seeded(&database).await;
    let drop = "DROP TABLE fleet_keys";
    outsider(&database).await.execute(drop).await.unwrap();
    store.fleet_keys().await.unwrap_err();
    store.add_fleet_key(&key(1, 0)).await.unwrap_err();
    let change = Change::CreateExtension(extension("a"));
    let revision = store.write(change, author()).await.unwrap();
    assert_eq!(store.load().await.unwrap().revision, revision);
}
