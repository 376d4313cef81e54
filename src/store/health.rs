//! How extensions do, as the replicas see it: no part of the registry, so there is no revision and no audit.

use std::time::{Duration, Instant, SystemTime};

use beamline_actors::ports::{HealthLine, StoreError};
use beamline_domain::request::run::milliseconds;
use sqlx::{Any, Transaction};

use super::backend::Backend;
use super::{error, statements};

/// Replicas get new names when they start: nobody takes away what an ended one wrote.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// Writes the lines in one transaction with forgetting old ones.
pub(super) async fn write(
    backend: &Backend,
    mut tx: Transaction<'static, Any>,
    replica: &str,
    lines: &[HealthLine],
) -> Result<(), StoreError> {
    let now = SystemTime::now();
    let wall = |at: Option<Instant>| at.and_then(|at| now.checked_sub(at.elapsed())).map(time);
    for line in lines {
        let figures = &line.figures;
        let put = if line.target.is_some() {
            statements::PUT_TARGET_HEALTH
        } else {
            statements::PUT_HEALTH
        };
        let query = sqlx::query(backend.sql(put))
            .bind(&*line.extension_id)
            .bind(replica)
            .bind(figures.status())
            .bind(figures.success_rate)
            .bind(i64::try_from(figures.requests).unwrap_or(i64::MAX))
            .bind(figures.p50.map(milliseconds))
            .bind(figures.p95.map(milliseconds))
            .bind(figures.p99.map(milliseconds))
            .bind(wall(figures.last_success))
            .bind(wall(figures.last_failure))
            .bind(time(now));
        let query = match &line.target {
            Some((subject, listener)) => query
                .bind(&**subject)
                .bind(listener.version.as_str())
                .bind(listener.instance.as_deref()),
            None => query,
        };
        query.execute(&mut *tx).await.map_err(error::reading)?;
    }
    let old = now.checked_sub(KEPT_FOR).map(time);
    for forget in [statements::FORGET_HEALTH, statements::FORGET_TARGET_HEALTH] {
        let query = sqlx::query(backend.sql(forget)).bind(old.clone());
        query.execute(&mut *tx).await.map_err(error::reading)?;
    }
    tx.commit().await.map_err(error::reading)
}

/// As text sorts by time, which is how SQLite compares it.
fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
