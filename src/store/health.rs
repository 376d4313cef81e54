//! How extensions do, as the replicas see it: no part of the registry, so there is no revision and
//! no audit.

use std::time::{Duration, Instant, SystemTime};

use beamline_actors::ports::{HealthLine, StoreError};
use beamline_contract::time::milliseconds;
use sqlx::{Any, Transaction};

use super::error;
use super::statements::Statements;

/// Replicas get new names when they start: nobody takes away what an ended one wrote.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// Writes the lines of `replica` into `tx`, and forgets what no replica has written for long.
pub(super) async fn write(
    statements: &Statements,
    tx: &mut Transaction<'static, Any>,
    replica: &str,
    lines: &[HealthLine],
) -> Result<(), StoreError> {
    let now = SystemTime::now();
    for line in lines {
        put(statements, tx, replica, line, now).await?;
    }
    let oldest = now.checked_sub(KEPT_FOR).map(rfc3339);
    for forget in [statements.health.forget, statements.target_health.forget] {
        let forget = sqlx::query(forget).bind(oldest.as_deref());
        forget.execute(&mut **tx).await.map_err(error::reading)?;
    }
    Ok(())
}

async fn put(
    statements: &Statements,
    tx: &mut Transaction<'static, Any>,
    replica: &str,
    line: &HealthLine,
    now: SystemTime,
) -> Result<(), StoreError> {
    let statement = match &line.target {
        Some(_) => statements.target_health.put,
        None => statements.health.put,
    };
    let figures = &line.figures;
    let mut put = sqlx::query(statement)
        .bind(&*line.extension_id)
        .bind(replica)
        .bind(figures.status())
        .bind(figures.success_rate)
        .bind(i64::try_from(figures.requests).unwrap_or(i64::MAX))
        .bind(figures.p50.map(milliseconds))
        .bind(figures.p95.map(milliseconds))
        .bind(figures.p99.map(milliseconds))
        .bind(wall_clock(figures.last_success, now))
        .bind(wall_clock(figures.last_failure, now))
        .bind(rfc3339(now));
    if let Some((subject, listener)) = &line.target {
        put = put
            .bind(&**subject)
            .bind(listener.version.as_str())
            .bind(listener.instance.as_deref());
    }
    put.execute(&mut **tx).await.map_err(error::reading)?;
    Ok(())
}

/// The monotonic time `at` as the wall clock says it, which shows `now`.
fn wall_clock(at: Option<Instant>, now: SystemTime) -> Option<String> {
    let at = now.checked_sub(at?.elapsed())?;
    Some(rfc3339(at))
}

/// As text these sort by time, which is how SQLite compares them.
fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
