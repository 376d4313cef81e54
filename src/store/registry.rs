//! The store itself: every operation with its time limit.

use std::time::Duration;

use beamline_actors::ports::{Author, Change, HealthLine, Nonce, Store, StoreError};
use beamline_domain::fleet::{FleetKey, FleetKeys};
use beamline_domain::snapshot::Content;
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use sqlx::any::AnyRow;
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Transaction};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};

use super::address_file::AddressFile;
use super::audit::Vouched;
use super::change::Written;
use super::listener::Hints;
use super::statements::Statements;
use super::{change, error, fleet_keys, health, nonces, rows};

/// What an operation may take once it has a connection. No statement gets as much in Postgres: the
/// last of several may go on a little longer, and changes nothing then, because nobody commits it.
const STATEMENTS_LIMIT: Duration = Duration::from_secs(3);
/// Reading everything: a registry may have very many extensions, and nobody's request waits for it.
const LOAD_LIMIT: Duration = Duration::from_secs(60);
/// Rows that are read in one go. Then others get the thread.
const ROWS_AT_ONCE: usize = 32;
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Registry {
    statements: &'static Statements,
    pool: AnyPool,
    address: AddressFile,
    hints: Hints,
    /// For one operation, the wait for a connection included.
    limit: Duration,
    /// Hears of the audit rows that were written here.
    vouched: Vouched,
}

impl Registry {
    pub(super) fn new(
        statements: &'static Statements,
        pool: AnyPool,
        address: AddressFile,
        hints: Hints,
        acquire_timeout: Duration,
        vouched: Vouched,
    ) -> Self {
        Self {
            statements,
            pool,
            address,
            hints,
            limit: acquire_timeout + STATEMENTS_LIMIT,
            vouched,
        }
    }

    async fn read_revision(&self) -> Result<u64, StoreError> {
        let mut connection = self.acquire().await?;
        let row = sqlx::query(self.statements.revision.read)
            .fetch_one(&mut *connection)
            .await
            .map_err(error::reading)?;
        rows::number(&row, "revision")
    }

    async fn read_all(&self) -> Result<Content, StoreError> {
        let mut tx = self.begin(self.statements.connection.begin_read).await?;
        let content = read_content(self.statements, &mut tx).await?;
        tx.commit().await.map_err(error::reading)?;
        Ok(content)
    }

    async fn change(&self, change: &Change, by: &Author) -> Result<u64, StoreError> {
        let deadline = Instant::now() + self.limit;
        // Whoever drops a transaction rolls it back: until the commit begins, nothing is changed.
        let written = timeout_at(deadline, self.write_uncommitted(change, by)).await;
        let Ok(written) = written else {
            return Err(StoreError::Unavailable(late(self.limit)));
        };
        let (
            tx,
            Written {
                revision,
                audit_row,
            },
        ) = written?;
        let Ok(committed) = timeout_at(deadline, tx.commit()).await else {
            return Err(StoreError::Unknown(late(self.limit)));
        };
        committed.map_err(error::committing)?;
        self.vouched.add(audit_row);
        self.hints.look_again();
        Ok(revision)
    }

    async fn write_uncommitted(
        &self,
        change: &Change,
        by: &Author,
    ) -> Result<(Transaction<'static, Any>, Written), StoreError> {
        let mut tx = self.begin(self.statements.connection.begin_write).await?;
        let written = change::write(self.statements, &mut tx, change, by).await?;
        Ok((tx, written))
    }

    async fn write_lines(&self, replica: &str, lines: &[HealthLine]) -> Result<(), StoreError> {
        let mut tx = self.begin(self.statements.connection.begin_write).await?;
        health::write(self.statements, &mut tx, replica, lines).await?;
        tx.commit().await.map_err(error::reading)
    }

    async fn spend_alone(&self, nonce: &Nonce) -> Result<(), StoreError> {
        let mut tx = self.begin(self.statements.connection.begin_write).await?;
        nonces::spend(self.statements, &mut tx, nonce).await?;
        tx.commit().await.map_err(error::reading)
    }

    async fn read_fleet_keys(&self) -> Result<FleetKeys, StoreError> {
        let mut connection = self.acquire().await?;
        fleet_keys::read(self.statements, &mut connection).await
    }

    async fn add_key(&self, key: &FleetKey) -> Result<bool, StoreError> {
        let mut tx = self.begin(self.statements.connection.begin_write).await?;
        let added = fleet_keys::add(self.statements, &mut tx, key).await?;
        tx.commit().await.map_err(error::reading)?;
        self.hints.look_again();
        Ok(added)
    }

    async fn acquire(&self) -> Result<PoolConnection<Any>, StoreError> {
        let acquired = match self.pool.acquire().await {
            Err(_) if self.is_elsewhere().await => self.pool.acquire().await,
            acquired => acquired,
        };
        acquired.map_err(error::reading)
    }

    async fn begin(
        &self,
        statement: &'static str,
    ) -> Result<Transaction<'static, Any>, StoreError> {
        let begun = match self.pool.begin_with(statement).await {
            Err(_) if self.is_elsewhere().await => self.pool.begin_with(statement).await,
            begun => begun,
        };
        begun.map_err(error::reading)
    }

    /// After a failure: whether there is another address to try, which is then the pool's.
    async fn is_elsewhere(&self) -> bool {
        let Some(backend) = self.address.changed().await else {
            return false;
        };
        self.pool.set_connect_options(backend.options);
        true
    }
}

/// A frozen server holds up even what has a limit inside, so there is one around everything.
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
        Box::pin(within(self.limit, self.read_revision()))
    }

    fn load(&self) -> BoxFuture<'_, Result<Content, StoreError>> {
        Box::pin(within(LOAD_LIMIT, self.read_all()))
    }

    fn hints(&self) -> watch::Receiver<u64> {
        self.hints.subscribe()
    }

    fn write(&self, change: Change, by: Author) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { self.change(&change, &by).await })
    }

    fn spend<'a>(&'a self, nonce: &'a Nonce) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(within(self.limit, self.spend_alone(nonce)))
    }

    fn write_health<'a>(
        &'a self,
        replica: &'a str,
        lines: &'a [HealthLine],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(within(self.limit, self.write_lines(replica, lines)))
    }

    fn fleet_keys(&self) -> BoxFuture<'_, Result<FleetKeys, StoreError>> {
        Box::pin(within(self.limit, self.read_fleet_keys()))
    }

    fn add_fleet_key<'a>(&'a self, key: &'a FleetKey) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(within(self.limit, self.add_key(key)))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if timeout(CLOSE_LIMIT, self.pool.close()).await.is_err() {
                tracing::warn!("the database did not let go of its connections in time");
            }
        })
    }
}

async fn read_content(
    statements: &Statements,
    tx: &mut Transaction<'_, Any>,
) -> Result<Content, StoreError> {
    if let Some(more_time) = statements.connection.extend_read {
        let extended = sqlx::query(more_time).execute(&mut **tx).await;
        extended.map_err(error::reading)?;
    }
    let revision = sqlx::query(statements.revision.read)
        .fetch_one(&mut **tx)
        .await
        .map_err(error::reading)?;
    let versions = read_each(tx, statements.versions.all, rows::version).await?;
    let instances = read_each(tx, statements.instances.all, rows::instance).await?;
    let extensions = read_each(tx, statements.extensions.all, rows::extension).await?;
    let policies = read_each(tx, statements.policies.all, rows::policy).await?;
    let keys = read_each(tx, statements.keys.all, rows::key).await?;
    let revisions = read_each(tx, statements.objects.all, rows::object).await?;
    Ok(Content {
        revision: rows::number(&revision, "revision")?,
        extensions: rows::put_together(extensions, versions, instances),
        policies,
        keys,
        revisions: revisions.into_iter().collect(),
        fleet_keys: FleetKeys::default(),
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
