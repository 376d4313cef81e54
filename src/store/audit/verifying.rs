//! Whether the log is as it was written: the chain part after part, and what stands beside it.

use beamline_actors::ports::StoreError;
use beamline_contract::admin::{AuditFinding, AuditHead, AuditRecord};
use beamline_domain::audit::{self, Link};
use serde_json::value::RawValue;
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use super::{AuditLog, fetch, hash_of, in_time, rows};
use crate::store::error::reading;
use crate::store::rows::number;
use crate::store::statements::AuditStatements;
use crate::store::storable::signed;

/// A part of the chain, and what is wrong with it.
#[derive(Debug)]
pub struct Verified {
    pub rows: u64,
    pub pruned_to: u64,
    /// The place behind which it begins; none: there is no such place.
    pub start: Option<AuditHead>,
    pub head: Option<AuditHead>,
    pub findings: Vec<AuditFinding>,
    /// It is not the end.
    pub more: bool,
}

/// Of one part: what is wrong with each of its links has to fit into one answer.
const MOST_LINKS: u64 = 500;
const MOST_BYTES: usize = 8 << 20;
/// Read in one go: rows may be large.
const BATCH: u64 = 16;

impl AuditLog {
    /// Looks at the part of the chain behind a place.
    pub async fn verify(&self, after_seq: u64) -> Result<Verified, StoreError> {
        in_time(self.verify_part(after_seq)).await
    }

    async fn verify_part(&self, after_seq: u64) -> Result<Verified, StoreError> {
        // One moment for all of it: somebody may prune meanwhile.
        let begin = self.shared.statements.connection.begin_read;
        let mut tx = self.begin_with(begin).await?;
        let audit = self.audit();
        let pruned = fetch(sqlx::query(audit.pruned), &mut tx).await?;
        let pruned_to = pruned.first().map_or(Ok(0), |row| number(row, "seq"))?;
        let at = after_seq.max(pruned_to);
        let start = place(audit, &mut tx, at).await?;
        let mut findings = Vec::new();
        if start.is_none() {
            findings.push(no_place(at));
        }
        let mut head = start.clone().unwrap_or(AuditHead {
            seq: at,
            hash: String::new(),
        });
        let mut rows = 0;
        let mut bytes = 0;
        let more = loop {
            let links = links(audit, &mut tx, head.seq).await?;
            rows += links.len() as u64;
            bytes += links.iter().map(bytes_of).sum::<usize>();
            findings.extend(audit::findings(&head, &links));
            if let Some(last) = links.last() {
                head = AuditHead {
                    seq: last.seq,
                    hash: last.hash.clone(),
                };
            }
            if (links.len() as u64) < BATCH {
                break false;
            }
            if rows >= MOST_LINKS || bytes >= MOST_BYTES {
                break true;
            }
        };
        if !more {
            findings.extend(beside(audit, &mut tx, pruned_to).await?);
        }
        tx.commit().await.map_err(reading)?;
        let is_place = head.seq > 0 && (rows > 0 || start.is_some());
        Ok(Verified {
            rows,
            pruned_to,
            start,
            head: is_place.then_some(head),
            findings,
            more,
        })
    }
}

/// With its hash, where the chain has it or what was taken away ended there. Place 0 is before all.
async fn place(
    audit: &AuditStatements,
    tx: &mut Transaction<'static, Any>,
    seq: u64,
) -> Result<Option<AuditHead>, StoreError> {
    let hash = if seq == 0 {
        Some(String::new())
    } else {
        let found = fetch(sqlx::query(audit.at_seq).bind(signed(seq)), tx).await?;
        found.first().map(hash_of).transpose()?
    };
    Ok(hash.map(|hash| AuditHead { seq, hash }))
}

async fn links(
    audit: &AuditStatements,
    tx: &mut Transaction<'static, Any>,
    behind: u64,
) -> Result<Vec<Link>, StoreError> {
    let links = sqlx::query(audit.links)
        .bind(signed(behind))
        .bind(signed(BATCH));
    let links = fetch(links, tx).await?;
    links.iter().map(rows::link).collect()
}

/// What the way along the chain does not meet.
async fn beside(
    audit: &AuditStatements,
    tx: &mut Transaction<'static, Any>,
    pruned_to: u64,
) -> Result<Vec<AuditFinding>, StoreError> {
    let mut findings = Vec::new();
    let outside = fetch(sqlx::query(audit.outside), tx).await?;
    for row in &outside {
        findings.push(forged(
            None,
            id(row)?,
            "this row has no place in the chain, and its time is none at which it could still get one",
        ));
    }
    let before = sqlx::query(audit.links_before).bind(signed(pruned_to));
    for row in &fetch(before, tx).await? {
        let message = "this row has its place before the chain begins, where nobody looks";
        findings.push(forged(None, id(row)?, message));
    }
    let prunings = sqlx::query(audit.false_prunings).bind(signed(pruned_to));
    for row in &fetch(prunings, tx).await? {
        let seq: i64 = row.try_get("seq").map_err(reading)?;
        let message = "somebody noted in audit_prunings that everything up to this place was taken \
                       away, and it is there";
        findings.push(forged(u64::try_from(seq).ok(), None, message));
    }
    Ok(findings)
}

fn forged(seq: Option<u64>, id: Option<u64>, message: &str) -> AuditFinding {
    AuditFinding {
        kind: "forged".into(),
        seq,
        id,
        message: message.to_owned(),
    }
}

fn no_place(seq: u64) -> AuditFinding {
    AuditFinding {
        kind: "gap".into(),
        seq: Some(seq),
        id: None,
        message: "the chain has no such place".to_owned(),
    }
}

/// None of a row that somebody has given a negative one.
fn id(row: &AnyRow) -> Result<Option<u64>, StoreError> {
    let id: i64 = row.try_get("id").map_err(reading)?;
    Ok(u64::try_from(id).ok())
}

fn bytes_of(link: &Link) -> usize {
    let of_record = |record: &AuditRecord| {
        let images = [&record.before, &record.after];
        let images = images.into_iter().flatten();
        images
            .map(|image| RawValue::get(image).len())
            .sum::<usize>()
    };
    link.record.as_ref().map_or(0, of_record)
}
