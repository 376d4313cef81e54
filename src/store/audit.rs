//! The audit log: rows of what was refused, the chain over all rows, and what people ask of it.
//! Rows of changes are written with the changes, by `change`.
//!
//! Nobody waits for the chain: a task adds to it a moment later. Each replica vouches for the rows
//! that it has written; those that nobody vouches for in a minute are taken in as such.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beamline_actors::ports::StoreError;
use beamline_actors::tree::{Child, Node, NodeKind};
use beamline_contract::admin::{AuditFinding, AuditHead, AuditRecord, ListAudit};
use beamline_domain::audit::{self, Link};
use humantime::{format_rfc3339_millis, parse_rfc3339};
use parking_lot::Mutex;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyPool, Transaction};
use tokio::time::{Instant, sleep, timeout};

use super::error::{reading, writing};
use super::rows::number;
use super::statements::{AuditStatements, Statements};
use super::storable::signed;

mod entry;
mod rows;

pub use entry::Entry;

/// The rows that this process has written and that the chain does not have yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Vouched(Arc<Mutex<BTreeSet<i64>>>);

impl Vouched {
    pub(super) fn add(&self, row_id: i64) {
        self.0.lock().insert(row_id);
    }
}

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
    waiting: Mutex<Waiting>,
}

/// What is to be written.
#[derive(Debug, Default)]
struct Waiting {
    entries: Vec<Entry>,
    /// Refused without a valid key, since the last row about it.
    without_key: u64,
    told_at: Option<Instant>,
    lost: u64,
}

/// A part of the chain, and what is wrong with it.
#[derive(Debug)]
pub struct Verified {
    pub rows: u64,
    pub pruned_to: u64,
    pub head: AuditHead,
    pub findings: Vec<AuditFinding>,
    /// It is not the end.
    pub more: bool,
}

/// What was taken away, up to which place, and whether there is more.
#[derive(Debug, Clone, Copy)]
pub struct Pruned {
    pub last_seq: u64,
    pub more: bool,
}

const TICK: Duration = Duration::from_secs(1);
/// Looks for rows of others.
const LOOK_EVERY: u32 = 10;
/// One row about all that came without a valid key.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// A row that nobody vouches for in this time is nobody's.
const VOUCHED_WITHIN: Duration = Duration::from_secs(60);
/// A row that is not in the chain by then will never be.
const LINKED_WITHIN: Duration = Duration::from_secs(300);
/// More are lost, and counted.
const MOST_WAITING: usize = 1_000;
/// Links that are looked at in one go.
const PAGE: u64 = 2_000;
/// Rows that are taken away in one go.
const PRUNED_AT_ONCE: u64 = 20_000;
const LIMIT: Duration = Duration::from_secs(4);
/// Of a router that ends.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);

impl AuditLog {
    pub(super) fn new(statements: &'static Statements, pool: AnyPool, vouched: Vouched) -> Self {
        let shared = Shared {
            statements,
            pool,
            vouched,
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

    /// Has it written soon.
    pub fn note(&self, entry: Entry) {
        let mut waiting = self.shared.waiting.lock();
        if waiting.entries.len() < MOST_WAITING {
            waiting.entries.push(entry);
        } else {
            waiting.lost += 1;
        }
    }

    /// Somebody was refused who had no valid key: counted, one row a minute.
    pub fn note_without_key(&self) {
        self.shared.waiting.lock().without_key += 1;
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
        self.write(true).await?;
        self.link().await
    }

    fn is_up_to_date(&self) -> bool {
        let waiting = self.shared.waiting.lock();
        let is_written = waiting.entries.is_empty() && waiting.without_key == 0;
        is_written && self.shared.vouched.0.lock().is_empty()
    }

    async fn keep(self) {
        let mut is_away = false;
        let mut ticks = 0_u32;
        loop {
            sleep(TICK).await;
            ticks = ticks.wrapping_add(1);
            let written = self.write(false).await;
            let has_own = !self.shared.vouched.0.lock().is_empty();
            let linked = if has_own || ticks.is_multiple_of(LOOK_EVERY) {
                self.link().await
            } else {
                Ok(())
            };
            match written.and(linked) {
                // Another replica added to the chain in the same moment.
                Ok(()) | Err(StoreError::Conflict(_)) => is_away = false,
                Err(error) if !std::mem::replace(&mut is_away, true) => {
                    tracing::warn!(%error, "the audit log is behind");
                }
                Err(error) => tracing::debug!(%error, "the audit log is behind"),
            }
        }
    }

    async fn write(&self, ends: bool) -> Result<(), StoreError> {
        let entries = self.take(ends);
        if entries.is_empty() {
            return Ok(());
        }
        let written = self.insert(&entries).await;
        if written.is_err() {
            let mut waiting = self.shared.waiting.lock();
            waiting.entries.splice(0..0, entries);
            waiting.entries.truncate(MOST_WAITING);
        }
        written
    }

    fn take(&self, ends: bool) -> Vec<Entry> {
        let mut waiting = self.shared.waiting.lock();
        if waiting.lost > 0 {
            let lost = std::mem::take(&mut waiting.lost);
            tracing::warn!(lost, "the audit log could not take all refusals");
        }
        let now = Instant::now();
        let is_due = waiting.told_at.is_none_or(|at| now - at >= TOLD_EVERY);
        if waiting.without_key > 0 && (is_due || ends) {
            waiting.told_at = Some(now);
            let count = std::mem::take(&mut waiting.without_key);
            waiting.entries.push(without_key(count));
        }
        std::mem::take(&mut waiting.entries)
    }

    async fn insert(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let shared = &self.shared;
        let mut tx = self.begin().await?;
        let mut ids = Vec::new();
        for entry in entries {
            ids.push(entry.insert(shared.statements, &mut tx).await?);
        }
        tx.commit().await.map_err(reading)?;
        ids.into_iter().for_each(|id| shared.vouched.add(id));
        Ok(())
    }

    /// Adds what the chain does not have yet.
    async fn link(&self) -> Result<(), StoreError> {
        let audit = self.audit();
        let known = self.shared.vouched.0.lock().clone();
        let unlinked = sqlx::query(audit.unlinked).fetch_all(&self.shared.pool);
        let unlinked = records(&unlinked.await.map_err(reading)?)?;
        let now = SystemTime::now();
        let mut own = BTreeSet::new();
        let mut ready = Vec::new();
        for record in unlinked {
            let id = signed(record.id);
            let vouched = known.contains(&id);
            if vouched {
                own.insert(id);
            }
            if vouched || is_older(&record, VOUCHED_WITHIN, now) {
                ready.push((record, vouched));
            }
        }
        if !ready.is_empty() {
            self.add_links(&ready).await?;
        }
        self.shared.vouched.0.lock().retain(|id| !own.contains(id));
        Ok(())
    }

    async fn add_links(&self, ready: &[(AuditRecord, bool)]) -> Result<(), StoreError> {
        let audit = self.audit();
        let mut tx = self.begin().await?;
        let mut head = head(audit, &mut tx).await?;
        for (record, vouched) in ready {
            let seq = head.seq + 1;
            let hash = audit::hash(&head.hash, seq, record);
            let add = sqlx::query(audit.add_link)
                .bind(signed(seq))
                .bind(signed(record.id))
                .bind(*vouched)
                .bind(hash.clone());
            let added = add.execute(&mut *tx).await;
            added.map_err(|error| writing(error, "a place in the audit chain"))?;
            head = AuditHead { seq, hash };
        }
        tx.commit().await.map_err(reading)
    }

    /// The newest first.
    pub async fn list(
        &self,
        asked: &ListAudit,
        limit: u64,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let list = sqlx::query(self.audit().list)
            .bind(asked.before_id.map(signed))
            .bind(asked.actor.clone())
            .bind(asked.action.clone())
            .bind(asked.object_kind.clone())
            .bind(asked.object_id.clone())
            .bind(asked.outcome.clone())
            .bind(asked.tenant_id.clone())
            .bind(asked.since.clone())
            .bind(asked.until.clone())
            .bind(signed(limit));
        records(&self.read(list).await?)
    }

    /// Looks at the part of the chain behind a place.
    pub async fn verify(&self, after_seq: u64) -> Result<Verified, StoreError> {
        let audit = self.audit();
        let pruned = self.read(sqlx::query(audit.pruned)).await?;
        let pruned_to = pruned.first().map_or(Ok(0), |row| number(row, "seq"))?;
        let start = after_seq.max(pruned_to);
        let at_start = self.read(sqlx::query(audit.at_seq).bind(signed(start)));
        let before = AuditHead {
            seq: start,
            hash: at_start.await?.first().map_or(Ok(String::new()), hash_of)?,
        };
        let links = sqlx::query(audit.links)
            .bind(signed(start))
            .bind(signed(PAGE));
        let links = self.read(links).await?;
        let links: Vec<Link> = links.iter().map(rows::link).collect::<Result<_, _>>()?;
        let more = links.len() as u64 == PAGE;
        let mut findings = audit::findings(&before, &links);
        if !more {
            findings.extend(self.outside().await?);
        }
        let head = links.last().map_or(before, |last| AuditHead {
            seq: last.seq,
            hash: last.hash.clone(),
        });
        Ok(Verified {
            rows: links.len() as u64,
            pruned_to,
            head,
            findings,
            more,
        })
    }

    /// Rows that stand beside the chain.
    async fn outside(&self) -> Result<Vec<AuditFinding>, StoreError> {
        let since = SystemTime::now() - LINKED_WITHIN;
        let since = format_rfc3339_millis(since).to_string();
        let outside = sqlx::query(self.audit().outside).bind(since);
        let ids = self.read(outside).await?;
        let ids = ids.iter().map(|row| number(row, "id"));
        let finding = |id: u64| AuditFinding {
            kind: "forged".into(),
            seq: None,
            id: Some(id),
            message: "this row has no place in the chain, and is too old to get one".to_owned(),
        };
        ids.map(|id| id.map(finding)).collect()
    }

    /// Takes away what is older than `cutoff`; the chain goes on behind it.
    pub async fn prune(
        &self,
        cutoff: &str,
        month: &str,
        by: Option<&str>,
    ) -> Result<Option<Pruned>, StoreError> {
        let audit = self.audit();
        let mut tx = self.begin().await?;
        let first = fetch(sqlx::query(audit.first_since).bind(cutoff), &mut tx).await?;
        let first = first.map_or(Ok(0), |row| number(&row, "seq"))?;
        let pruned = fetch(sqlx::query(audit.pruned), &mut tx).await?;
        let pruned = pruned.map_or(Ok(0), |row| number(&row, "seq"))?;
        let end = match first {
            0 => head(audit, &mut tx).await?.seq,
            first => first - 1,
        };
        if end <= pruned {
            return Ok(None);
        }
        let last_seq = end.min(pruned + PRUNED_AT_ONCE);
        let at_end = sqlx::query(audit.at_seq).bind(signed(last_seq));
        let Some(at_end) = fetch(at_end, &mut tx).await? else {
            let gap =
                format!("place {last_seq} of the audit chain is missing; look at `audit verify`");
            return Err(StoreError::Refused(gap));
        };
        let add = sqlx::query(audit.add_pruning)
            .bind(signed(last_seq))
            .bind(hash_of(&at_end)?)
            .bind(month)
            .bind(by);
        add.execute(&mut *tx).await.map_err(reading)?;
        for statement in [audit.delete_rows, audit.delete_links] {
            let delete = sqlx::query(statement).bind(signed(last_seq));
            delete.execute(&mut *tx).await.map_err(reading)?;
        }
        tx.commit().await.map_err(reading)?;
        Ok(Some(Pruned {
            last_seq,
            more: last_seq < end,
        }))
    }

    fn audit(&self) -> &'static AuditStatements {
        &self.shared.statements.audit
    }

    async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let begin = self.shared.statements.connection.begin_write;
        self.shared.pool.begin_with(begin).await.map_err(reading)
    }

    async fn read(&self, query: Query<'_, Any, AnyArguments>) -> Result<Vec<AnyRow>, StoreError> {
        let late = || StoreError::Unavailable("nothing in time".to_owned());
        let rows = timeout(LIMIT, query.fetch_all(&self.shared.pool)).await;
        rows.map_err(|_elapsed| late())?.map_err(reading)
    }
}

fn without_key(count: u64) -> Entry {
    Entry {
        source: "nats-admin".to_owned(),
        action: "authenticate".to_owned(),
        error_code: Some("unauthorized".to_owned()),
        reason: Some(format!("{count} requests without a valid key")),
        after: Some(format!(r#"{{"count":{count}}}"#)),
        ..Entry::default()
    }
}

async fn head(
    audit: &AuditStatements,
    tx: &mut Transaction<'static, Any>,
) -> Result<AuditHead, StoreError> {
    let row = fetch(sqlx::query(audit.head), tx).await?;
    row.map_or_else(
        || {
            Ok(AuditHead {
                seq: 0,
                hash: String::new(),
            })
        },
        |row| {
            Ok(AuditHead {
                seq: number(&row, "seq")?,
                hash: hash_of(&row)?,
            })
        },
    )
}

async fn fetch(
    query: Query<'_, Any, AnyArguments>,
    tx: &mut Transaction<'static, Any>,
) -> Result<Option<AnyRow>, StoreError> {
    query.fetch_optional(&mut **tx).await.map_err(reading)
}

fn hash_of(row: &AnyRow) -> Result<String, StoreError> {
    use sqlx::Row;
    row.try_get("hash").map_err(reading)
}

fn records(rows: &[AnyRow]) -> Result<Vec<AuditRecord>, StoreError> {
    rows.iter().map(rows::record).collect()
}

fn is_older(record: &AuditRecord, than: Duration, now: SystemTime) -> bool {
    let at = parse_rfc3339(&record.at).ok();
    at.and_then(|at| now.duration_since(at).ok())
        .is_some_and(|age| age > than)
}
