//! Takes rows away; the chain goes on behind them.

use beamline_actors::ports::StoreError;

use super::linking::head;
use super::{AuditLog, fetch, hash_of};
use crate::store::error::reading;
use crate::store::rows::number;
use crate::store::storable::signed;

/// What was taken away, up to which place, and whether there is more.
#[derive(Debug, Clone, Copy)]
pub struct Pruned {
    pub last_seq: u64,
    pub more: bool,
}

/// Rows that are taken away in one go.
const AT_ONCE: u64 = 20_000;

impl AuditLog {
    /// Takes away what is older than `cutoff`.
    pub async fn prune(
        &self,
        cutoff: &str,
        month: &str,
        by: Option<&str>,
    ) -> Result<Option<Pruned>, StoreError> {
        let audit = self.audit();
        let mut tx = self.begin().await?;
        let first = fetch(sqlx::query(audit.first_since).bind(cutoff), &mut tx).await?;
        let first = first.first().map_or(Ok(0), |row| number(row, "seq"))?;
        let pruned = fetch(sqlx::query(audit.pruned), &mut tx).await?;
        let pruned = pruned.first().map_or(Ok(0), |row| number(row, "seq"))?;
        let end = match first {
            0 => head(audit, &mut tx).await?.seq,
            first => first - 1,
        };
        if end <= pruned {
            return Ok(None);
        }
        let last_seq = end.min(pruned + AT_ONCE);
        let at_end = sqlx::query(audit.at_seq).bind(signed(last_seq));
        let at_end = fetch(at_end, &mut tx).await?;
        let Some(at_end) = at_end.first() else {
            let gap =
                format!("place {last_seq} of the audit chain is missing; look at `audit verify`");
            return Err(StoreError::Refused(gap));
        };
        let add = sqlx::query(audit.add_pruning)
            .bind(signed(last_seq))
            .bind(hash_of(at_end)?)
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
}
