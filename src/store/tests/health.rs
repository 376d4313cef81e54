//! What the replicas write about the health of extensions.

use std::time::{Duration, Instant};

use beamline_actors::ports::{Change, HealthLine};
use beamline_domain::record::SubjectListener;
use beamline_domain::target::health::Health;
use sqlx::{AssertSqlSafe, Executor, Row};

use super::database::TestDatabase;
use super::fixtures::{author, extension, outsider, seeded};

on_both_databases!(health_is_one_line_per_extension_and_replica);

fn line(extension_id: &str, successes: u32, failures: u32) -> HealthLine {
    let mut health = Health::default();
    (0..successes).for_each(|_| health.record(true, Duration::from_millis(20), Instant::now()));
    (0..failures).for_each(|_| health.record(false, Duration::from_millis(20), Instant::now()));
    HealthLine {
        extension_id: extension_id.into(),
        target: None,
        figures: health.figures(),
    }
}

fn at(instance: Option<&str>, line: HealthLine) -> HealthLine {
    let listener = SubjectListener {
        version: "v1".to_owned(),
        instance: instance.map(str::to_owned),
    };
    let subject = format!(
        "b.ext.pre.{}.{}",
        line.extension_id,
        instance.unwrap_or("v1")
    );
    HealthLine {
        target: Some((subject.into(), listener)),
        ..line
    }
}

/// Id, replica, status, and whether there ever was a failure.
async fn lines(database: &TestDatabase) -> Vec<(String, String, String, bool)> {
    let sql = "SELECT extension_id, replica, status, CASE WHEN last_failure_at IS NULL THEN 0 ELSE 1 END AS failed \
               FROM extension_health WHERE success_rate IS NOT NULL ORDER BY extension_id, replica";
    let mut lines = Vec::new();
    for row in outsider(database).await.fetch_all(sql).await.unwrap() {
        let failed = row.get::<i32, _>(3) == 1;
        lines.push((row.get(0), row.get(1), row.get(2), failed));
    }
    lines
}

/// Replica, version, instance, status, requests and the 99th percentile in milliseconds.
async fn targets(database: &TestDatabase) -> Vec<String> {
    let sql = "SELECT replica || ' ' || version || ' ' || COALESCE(instance, '-') || ' ' || status || ' ' || requests \
               || ' ' || CAST(ROUND(latency_p99_ms) AS integer) AS line FROM extension_target_health \
               WHERE latency_p50_ms > 0 AND latency_p95_ms > 0 AND extension_id = 'a' ORDER BY replica, subject DESC";
    let rows = outsider(database).await.fetch_all(sql).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn health_is_one_line_per_extension_and_replica(database: TestDatabase) {
    let store = seeded(&database).await;
    for id in ["a", "b"] {
        store
            .write(Change::CreateExtension(extension(id)), author())
            .await
            .unwrap();
    }
    let revision = store.revision().await.unwrap();
    store
        .write_health(
            "r1",
            &[line("a", 1, 0), line("b", 1, 1), line("gone", 1, 0)],
        )
        .await
        .unwrap();
    store.write_health("r2", &[line("a", 9, 1)]).await.unwrap();
    store.write_health("r1", &[line("b", 0, 2)]).await.unwrap();
    let expected = [
        ("a", "r1", "healthy", false),
        ("a", "r2", "degraded", true),
        ("b", "r1", "unhealthy", true),
    ];
    let expected = expected
        .map(|(id, replica, status, failed)| (id.into(), replica.into(), status.into(), failed));
    assert_eq!(lines(&database).await, expected);
    assert_eq!(
        store.revision().await.unwrap(),
        revision,
        "nobody needs to read anything again"
    );

    let eu = at(Some("eu"), line("a", 3, 1));
    store
        .write_health(
            "r1",
            &[at(None, line("a", 2, 0)), eu, at(None, line("gone", 1, 0))],
        )
        .await
        .unwrap();
    store
        .write_health("r2", &[at(None, line("a", 1, 0))])
        .await
        .unwrap();
    store
        .write_health("r1", &[at(None, line("a", 5, 0))])
        .await
        .unwrap();
    let expected = [
        "r1 v1 - healthy 5 20",
        "r1 v1 eu unhealthy 4 20",
        "r2 v1 - healthy 1 20",
    ];
    assert_eq!(targets(&database).await, expected);

    let yesterday =
        "UPDATE extension_health SET updated_at = '2020-01-01T00:00:00.000Z' WHERE replica = 'r2'";
    outsider(&database)
        .await
        .execute(AssertSqlSafe(yesterday))
        .await
        .unwrap();
    let targets_too = yesterday.replace("extension_health", "extension_target_health");
    outsider(&database)
        .await
        .execute(AssertSqlSafe(targets_too))
        .await
        .unwrap();
    store.write_health("r1", &[]).await.unwrap();
    assert_eq!(targets(&database).await.len(), 2);
    assert_eq!(
        lines(&database).await.len(),
        2,
        "what nobody wrote for a day is forgotten"
    );
    store
        .write(Change::DeleteExtension { id: "a".into() }, author())
        .await
        .unwrap();
    assert_eq!(
        (targets(&database).await.len(), lines(&database).await.len()),
        (0, 1)
    );
}
