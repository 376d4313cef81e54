//! Rows of the audit log and of the chain over it.

use beamline_actors::ports::StoreError;
use beamline_contract::admin::AuditRecord;
use beamline_domain::audit::Link;
use serde_json::value::RawValue;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::store::error::reading;
use crate::store::rows::number;

pub(super) fn record(row: &AnyRow) -> Result<AuditRecord, StoreError> {
    Ok(AuditRecord {
        id: number(row, "id")?,
        seq: optional_number(row, "seq")?,
        at: text(row, "at")?.unwrap_or_default(),
        // A negative one that somebody has written keeps nobody from reading the others.
        revision: number(row, "revision").unwrap_or_default(),
        actor: text(row, "actor")?,
        key_id: text(row, "key_id")?,
        role: text(row, "role")?,
        source: text(row, "source")?.unwrap_or_default(),
        address: text(row, "address")?,
        tenant_id: text(row, "tenant_id")?,
        action: text(row, "action")?.unwrap_or_default(),
        object_kind: text(row, "object_kind")?.unwrap_or_default(),
        object_id: text(row, "object_id")?.unwrap_or_default(),
        before: json(row, "before")?,
        after: json(row, "after")?,
        reason: text(row, "reason")?,
        outcome: text(row, "outcome")?.unwrap_or_default(),
        error_code: text(row, "error_code")?,
        request_id: text(row, "request_id")?,
        trace_id: text(row, "trace_id")?,
        hash: text(row, "hash")?,
    })
}

pub(super) fn link(row: &AnyRow) -> Result<Link, StoreError> {
    let id = optional_number(row, "id")?;
    Ok(Link {
        seq: number(row, "seq")?,
        row_id: number(row, "row_id")?,
        vouched: number(row, "vouched")? != 0,
        hash: text(row, "hash")?.unwrap_or_default(),
        record: id.map(|_| record(row)).transpose()?,
    })
}

fn text(row: &AnyRow, column: &str) -> Result<Option<String>, StoreError> {
    row.try_get(column).map_err(reading)
}

fn optional_number(row: &AnyRow, column: &str) -> Result<Option<u64>, StoreError> {
    let present: Option<i64> = row.try_get(column).map_err(reading)?;
    present.map(|_| number(row, column)).transpose()
}

fn json(row: &AnyRow, column: &str) -> Result<Option<Box<RawValue>>, StoreError> {
    let corrupt = |error: serde_json::Error| StoreError::Corrupt(format!("{column}: {error}"));
    text(row, column)?
        .map(|json| RawValue::from_string(json).map_err(corrupt))
        .transpose()
}
