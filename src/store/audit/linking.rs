//! Adds rows to the chain.

use beamline_actors::ports::StoreError;
use beamline_contract::admin::AuditHead;
use beamline_domain::audit;
use sqlx::{Any, Row, Transaction};
use tokio::time::Instant;

use super::{AuditLog, fetch, hash_of, in_time, rows};
use crate::store::error::{reading, writing};
use crate::store::rows::number;
use crate::store::statements::AuditStatements;
use crate::store::storable::signed;

/// Added in one transaction.
const AT_ONCE: usize = 128;
/// Read in one go: rows may be large.
const BATCH: usize = 16;

impl AuditLog {
    /// Adds what this replica has written, all of it.
    pub(in crate::store) async fn link_own(&self) -> Result<(), StoreError> {
        let vouched = &self.shared.vouched;
        for ids in vouched.all().chunks(AT_ONCE) {
            in_time(self.add(ids, true)).await?;
            vouched.settled(ids);
        }
        Ok(())
    }

    /// Adds what others have written and left alone, as forged.
    pub(in crate::store) async fn link_strangers(&self, now: Instant) -> Result<(), StoreError> {
        let unlinked = self.read(sqlx::query(self.audit().unlinked)).await?;
        let own = self.shared.vouched.all();
        let mut ids = Vec::new();
        for row in &unlinked {
            let id: i64 = row.try_get("id").map_err(reading)?;
            if own.binary_search(&id).is_err() {
                ids.push(id);
            }
        }
        let late = self.shared.strangers.lock().of_nobody(&ids, now);
        for ids in late.chunks(AT_ONCE) {
            in_time(self.add(ids, false)).await?;
        }
        Ok(())
    }

    /// Those that the chain does not have.
    async fn add(&self, ids: &[i64], vouched: bool) -> Result<(), StoreError> {
        let audit = self.audit();
        let mut tx = self.begin().await?;
        let mut head = head(audit, &mut tx).await?;
        for ids in ids.chunks(BATCH) {
            let ids = serde_json::to_string(ids);
            let ids = ids.map_err(|error| StoreError::Corrupt(error.to_string()))?;
            let unlinked = fetch(sqlx::query(audit.unlinked_of).bind(ids), &mut tx).await?;
            for row in &unlinked {
                let record = rows::record(row)?;
                let seq = head.seq + 1;
                let hash = audit::hash(&head.hash, seq, &record, vouched);
                let add = sqlx::query(audit.add_link)
                    .bind(signed(seq))
                    .bind(signed(record.id))
                    .bind(vouched)
                    .bind(hash.clone());
                let added = add.execute(&mut *tx).await;
                added.map_err(|error| writing(error, "a place in the audit chain"))?;
                head = AuditHead { seq, hash };
            }
        }
        tx.commit().await.map_err(reading)
    }
}

pub(super) async fn head(
    audit: &AuditStatements,
    tx: &mut Transaction<'static, Any>,
) -> Result<AuditHead, StoreError> {
    let found = fetch(sqlx::query(audit.head), tx).await?;
    let Some(row) = found.first() else {
        return Ok(AuditHead {
            seq: 0,
            hash: String::new(),
        });
    };
    Ok(AuditHead {
        seq: number(row, "seq")?,
        hash: hash_of(row)?,
    })
}
