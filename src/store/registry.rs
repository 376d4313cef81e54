//! The store itself: every operation with its time limit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use beamline_actors::ports::{Author, Change, HealthLine, Store, StoreError};
use beamline_domain::snapshot::Content;
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyPool, Transaction};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::backend::Backend;
use super::listener::Listener;
use super::{change, error, health, rows, statements};

/// What an operation may take once it has a connection. No statement gets as much in Postgres, see `backend`.
const STATEMENTS_LIMIT: Duration = Duration::from_secs(3);
/// Reading everything: a registry may have very many extensions, and nobody's request waits for it.
const LOAD_LIMIT: Duration = Duration::from_secs(60);
/// Rows that are read in one go. Then others get the thread.
const ROWS_AT_ONCE: usize = 32;
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Registry {
    backend: Backend,
    pool: AnyPool,
    listener: Listener,
    limit: Duration,
}

impl Registry {
    pub(super) fn new(
        backend: Backend,
        pool: AnyPool,
        listener: Listener,
        acquire_timeout: Duration,
    ) -> Self {
        Self {
            backend,
            pool,
            listener,
            limit: acquire_timeout + STATEMENTS_LIMIT,
        }
    }

    async fn read_revision(&self) -> Result<u64, StoreError> {
        let row = sqlx::query(statements::REVISION)
            .fetch_one(&self.pool)
            .await
            .map_err(error::reading)?;
        rows::number(&row, "revision")
    }

    async fn read_all(&self) -> Result<Content, StoreError> {
        let mut tx = self
            .pool
            .begin_with(self.backend.begin_read())
            .await
            .map_err(error::reading)?;
        let content = read_content(&self.backend, &mut tx).await?;
        tx.commit().await.map_err(error::reading)?;
        Ok(content)
    }

    /// `committing` is set as soon as the change may have been made.
    async fn change(
        &self,
        change: &Change,
        by: &Author,
        committing: &AtomicBool,
    ) -> Result<u64, StoreError> {
        let mut tx = self
            .pool
            .begin_with(self.backend.begin_write())
            .await
            .map_err(error::reading)?;
        let revision = change::write(&self.backend, &mut tx, change, by).await?;
        committing.store(true, Ordering::Relaxed);
        tx.commit().await.map_err(error::committing)?;
        self.listener.changed_here();
        Ok(revision)
    }

    /// A frozen server holds up even what has its own limit inside, so there is one around everything.
    async fn limited<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        within(self.limit, work).await
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable(late(limit))))
}

fn late(limit: Duration) -> String {
    format!("nothing within {} ms", limit.as_millis())
}

impl Store for Registry {
    fn revision(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.limited(self.read_revision()))
    }

    fn load(&self) -> BoxFuture<'_, Result<Content, StoreError>> {
        Box::pin(within(LOAD_LIMIT, self.read_all()))
    }

    fn hints(&self) -> watch::Receiver<u64> {
        self.listener.hints()
    }

    fn write(&self, change: Change, by: Author) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let committing = AtomicBool::new(false);
            let changing = timeout(self.limit, self.change(&change, &by, &committing));
            changing.await.unwrap_or_else(|_| {
                // What is not committed is rolled back with its connection.
                let kind = if committing.load(Ordering::Relaxed) {
                    StoreError::Unknown
                } else {
                    StoreError::Unavailable
                };
                Err(kind(late(self.limit)))
            })
        })
    }

    fn write_health<'a>(
        &'a self,
        replica: &'a str,
        lines: &'a [HealthLine],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.limited(async move {
            let tx = self
                .pool
                .begin_with(self.backend.begin_write())
                .await
                .map_err(error::reading)?;
            health::write(&self.backend, tx, replica, lines).await
        }))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.listener.close();
            if timeout(CLOSE_LIMIT, self.pool.close()).await.is_err() {
                tracing::warn!("the database did not let go of its connections in time");
            }
        })
    }
}

async fn read_content(
    backend: &Backend,
    tx: &mut Transaction<'_, Any>,
) -> Result<Content, StoreError> {
    if let Some(limits) = backend.load_limits() {
        sqlx::query(limits)
            .execute(&mut **tx)
            .await
            .map_err(error::reading)?;
    }
    let revision = sqlx::query(statements::REVISION)
        .fetch_one(&mut **tx)
        .await
        .map_err(error::reading)?;
    let versions = read_each(tx, statements::VERSIONS, rows::version).await?;
    let instances = read_each(tx, statements::INSTANCES, rows::instance).await?;
    let extensions = read_each(tx, statements::EXTENSIONS, rows::extension).await?;
    let policies = read_each(tx, statements::POLICIES, rows::policy).await?;
    Ok(Content {
        revision: rows::number(&revision, "revision")?,
        extensions: rows::put_together(extensions, versions, instances),
        policies,
    })
}

/// Reads as the rows come, so that no thread is kept from others for long.
async fn read_each<T>(
    tx: &mut Transaction<'_, Any>,
    statement: &'static str,
    read: impl Fn(&AnyRow) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut rows = sqlx::query(statement).fetch(&mut **tx);
    let mut all = Vec::new();
    while let Some(row) = rows.try_next().await.map_err(error::reading)? {
        all.push(read(&row)?);
        if all.len().is_multiple_of(ROWS_AT_ONCE) {
            yield_now().await;
        }
    }
    Ok(all)
}
