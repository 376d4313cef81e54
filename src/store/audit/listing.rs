//! Rows of the log for people.

use beamline_actors::ports::StoreError;
use beamline_contract::admin::{AuditRecord, ListAudit};

use super::{AuditLog, rows};
use crate::store::storable::{signed, to_json};

/// Rows that are read in one go. Those with images may be large.
const BATCH: u64 = 100;
const BATCH_WITH_IMAGES: u64 = 16;

/// A page of it.
#[derive(Debug)]
pub struct Listed {
    pub records: Vec<AuditRecord>,
    /// There may be older ones.
    pub more: bool,
}

impl AuditLog {
    /// The newest first, at most `limit`, and no more than fit into `room` bytes; but one in any
    /// case.
    pub async fn list(
        &self,
        asked: &ListAudit,
        limit: u64,
        room: usize,
    ) -> Result<Listed, StoreError> {
        let with_images = asked.images.unwrap_or_default();
        let batch = if with_images {
            BATCH_WITH_IMAGES
        } else {
            BATCH
        };
        let mut records: Vec<AuditRecord> = Vec::new();
        let mut bytes = 0;
        loop {
            let count = batch.min(limit - records.len() as u64);
            let last = records.last().map(|record| record.id);
            let found = self.batch(asked, last.or(asked.before_id), count).await?;
            let is_end = (found.len() as u64) < count;
            for record in found {
                bytes += to_json(&record)?.len() + 1;
                if bytes > room && !records.is_empty() {
                    return Ok(Listed {
                        records,
                        more: true,
                    });
                }
                records.push(record);
            }
            if is_end || records.len() as u64 >= limit {
                let more = !is_end;
                return Ok(Listed { records, more });
            }
        }
    }

    async fn batch(
        &self,
        asked: &ListAudit,
        before_id: Option<u64>,
        count: u64,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let list = sqlx::query(self.audit().list)
            .bind(before_id.map(signed))
            .bind(asked.actor.clone())
            .bind(asked.action.clone())
            .bind(asked.object_kind.clone())
            .bind(asked.object_id.clone())
            .bind(asked.outcome.clone())
            .bind(asked.tenant_id.clone())
            .bind(asked.since.clone())
            .bind(asked.until.clone())
            .bind(signed(count))
            .bind(asked.images.unwrap_or_default());
        let rows = self.read(list).await?;
        rows.iter().map(rows::record).collect()
    }
}
