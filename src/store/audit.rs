//! The audit log: rows of what was refused, the chain over all rows, and what people ask of it.
//! Rows of changes are written with the changes, by `change`.
//!
//! Nobody waits for the chain: a task adds to it a moment later. Each replica vouches for the rows
//! that it has written; those that nobody vouches for in a minute are taken in as such.

use std::sync::Arc;
use std::time::Duration;

use beamline_actors::ports::StoreError;
use beamline_actors::tree::{Child, Node, NodeKind};
use parking_lot::Mutex;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyPool, Transaction};
use tokio::time::{Instant, sleep, timeout};

use super::error::reading;
use super::statements::{AuditStatements, Statements};

mod entry;
mod linking;
mod listing;
mod pruning;
mod rows;
mod unlinked;
mod verifying;
mod waiting;

use unlinked::Strangers;
use waiting::Waiting;

pub use entry::Entry;
pub use listing::Listed;
pub use pruning::Pruned;
pub(super) use unlinked::Vouched;
pub use verifying::Verified;

/// All clones are the same.
#[derive(Debug, Clone)]
pub struct AuditLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    statements: &'static Statements,
    pool: AnyPool,
    vouched: Vouched,
    strangers: Mutex<Strangers>,
    waiting: Mutex<Waiting>,
}

const TICK: Duration = Duration::from_secs(1);
/// Looks for rows of others.
const LOOK_EVERY: u32 = 10;
/// For one thing that is asked of the database, or a few that belong together.
const LIMIT: Duration = Duration::from_secs(4);
/// Of a router that ends.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);
/// Another replica that adds to the chain in the same moment is no reason to give up.
const TRIES: u32 = 5;

impl AuditLog {
    pub(super) fn new(statements: &'static Statements, pool: AnyPool, vouched: Vouched) -> Self {
        let shared = Shared {
            statements,
            pool,
            vouched,
            strangers: Mutex::default(),
            waiting: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Its place in the tree.
    pub fn child(&self) -> Child {
        let log = self.clone();
        let node = Node::new("audit", NodeKind::Worker);
        Child::task(&node, move || log.clone().keep())
    }

    /// Has it written soon. Beyond the share of its key it becomes part of a sum.
    pub fn note(&self, entry: Entry) {
        self.shared.waiting.lock().note(entry, Instant::now());
    }

    /// Somebody was refused who had no valid key: counted, one row a minute.
    pub fn note_without_key(&self) {
        self.shared.waiting.lock().note_without_key();
    }

    /// Writes what is to be written, for a router that ends.
    pub async fn flush(&self) {
        if self.is_up_to_date() {
            return;
        }
        if !matches!(timeout(FLUSH_LIMIT, self.catch_up()).await, Ok(Ok(()))) {
            tracing::warn!("the last rows of the audit log may be missing");
        }
    }

    /// Writes and links everything that is there.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
        while self.write(true).await? {}
        self.link_all().await
    }

    /// Own rows, also while others add to the chain.
    async fn link_all(&self) -> Result<(), StoreError> {
        let mut tries = 0;
        loop {
            match self.link_own().await {
                Err(StoreError::Conflict(_)) if tries < TRIES => tries += 1,
                linked => return linked,
            }
        }
    }

    pub(super) fn is_up_to_date(&self) -> bool {
        self.shared.waiting.lock().is_empty() && self.shared.vouched.is_empty()
    }

    async fn keep(self) {
        let mut is_away = false;
        let mut ticks = 0_u32;
        loop {
            sleep(TICK).await;
            ticks = ticks.wrapping_add(1);
            let written = self.write(false).await.map(drop);
            let own = self.link_all().await;
            let others = if ticks.is_multiple_of(LOOK_EVERY) {
                self.link_strangers(Instant::now()).await
            } else {
                Ok(())
            };
            match written.and(own).and(others) {
                // Another replica added to the chain in the same moment.
                Ok(()) | Err(StoreError::Conflict(_)) => is_away = false,
                Err(error) if !std::mem::replace(&mut is_away, true) => {
                    tracing::warn!(%error, "the audit log is behind");
                }
                Err(error) => tracing::debug!(%error, "the audit log is behind"),
            }
        }
    }

    /// Whether there was anything.
    async fn write(&self, ends: bool) -> Result<bool, StoreError> {
        let entries = self.shared.waiting.lock().take(ends, Instant::now());
        if entries.is_empty() {
            return Ok(false);
        }
        in_time(self.insert(&entries)).await?;
        self.shared.waiting.lock().written();
        Ok(true)
    }

    async fn insert(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let shared = &self.shared;
        let mut tx = self.begin().await?;
        for entry in entries {
            let id = entry.insert(shared.statements, &mut tx).await?;
            // Also where nobody hears whether it was committed: `link_own` finds out.
            shared.vouched.add(id);
        }
        tx.commit().await.map_err(reading)
    }

    fn audit(&self) -> &'static AuditStatements {
        &self.shared.statements.audit
    }

    async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.begin_with(self.shared.statements.connection.begin_write)
            .await
    }

    async fn begin_with(
        &self,
        begin: &'static str,
    ) -> Result<Transaction<'static, Any>, StoreError> {
        self.shared.pool.begin_with(begin).await.map_err(reading)
    }

    async fn read(&self, query: Query<'_, Any, AnyArguments>) -> Result<Vec<AnyRow>, StoreError> {
        let rows = async { query.fetch_all(&self.shared.pool).await.map_err(reading) };
        in_time(rows).await
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = || StoreError::Unavailable("nothing in time".to_owned());
    let done = timeout(LIMIT, work).await;
    done.map_err(|_elapsed| late())?
}

async fn fetch(
    query: Query<'_, Any, AnyArguments>,
    tx: &mut Transaction<'static, Any>,
) -> Result<Vec<AnyRow>, StoreError> {
    query.fetch_all(&mut **tx).await.map_err(reading)
}

fn hash_of(row: &AnyRow) -> Result<String, StoreError> {
    use sqlx::Row;
    row.try_get("hash").map_err(reading)
}
