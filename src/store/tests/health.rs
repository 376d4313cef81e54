use std::time::{Duration, Instant};

use beamline_actors::domain::health::Health;
use beamline_actors::ports::{Change, HealthLine};
use sqlx::{AssertSqlSafe, Executor, Row};

use super::{TestDatabase, author, extension, outsider, seeded};

fn line(extension_id: &str, successes: u32, failures: u32) -> HealthLine {
    let mut health = Health::default();
    (0..successes).for_each(|_| health.record(true, Duration::from_millis(20), Instant::now()));
    (0..failures).for_each(|_| health.record(false, Duration::from_millis(20), Instant::now()));
    HealthLine { extension_id: extension_id.into(), figures: health.figures() }
}

/// Id, replica, status, and whether there ever was a failure.
async fn lines(database: &TestDatabase) -> Vec<(String, String, String, bool)> {
    let sql = "SELECT extension_id, replica, status, CASE WHEN last_failure_at IS NULL THEN 0 ELSE 1 END AS failed \
               FROM extension_health WHERE success_rate IS NOT NULL ORDER BY extension_id, replica";
    let rows = outsider(database).await.fetch_all(sql).await.unwrap();
    let line = |row: &sqlx::any::AnyRow| (row.get(0), row.get(1), row.get(2), row.get::<i32, _>(3) == 1);
    rows.iter().map(line).collect()
}

async fn health_is_one_line_per_extension_and_replica(database: TestDatabase) {
    let store = seeded(&database).await;
    for id in ["a", "b"] {
        store.write(Change::CreateExtension(extension(id)), author()).await.unwrap();
    }
    let revision = store.revision().await.unwrap();
    store.write_health("r1", &[line("a", 1, 0), line("b", 1, 1), line("gone", 1, 0)]).await.unwrap();
    store.write_health("r2", &[line("a", 9, 1)]).await.unwrap();
    store.write_health("r1", &[line("b", 0, 2)]).await.unwrap();
    let expected = [("a", "r1", "healthy", false), ("a", "r2", "degraded", true), ("b", "r1", "unhealthy", true)];
    let expected = expected.map(|(id, replica, status, failed)| (id.into(), replica.into(), status.into(), failed));
    assert_eq!(lines(&database).await, expected);
    assert_eq!(store.revision().await.unwrap(), revision, "nobody needs to read anything again");

    let yesterday = "UPDATE extension_health SET updated_at = '2020-01-01T00:00:00.000Z' WHERE replica = 'r2'";
    outsider(&database).await.execute(AssertSqlSafe(yesterday)).await.unwrap();
    store.write_health("r1", &[]).await.unwrap();
    assert_eq!(lines(&database).await.len(), 2, "what nobody wrote for a day is forgotten");
}

#[tokio::test]
async fn in_postgres() {
    health_is_one_line_per_extension_and_replica(TestDatabase::postgres().await).await;
}

#[tokio::test]
async fn in_sqlite() {
    health_is_one_line_per_extension_and_replica(TestDatabase::sqlite().await).await;
}
