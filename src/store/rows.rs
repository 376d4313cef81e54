//! Rows as extensions, policies and keys.

use std::collections::HashMap;

use beamline_actors::ports::StoreError;
use beamline_contract::fields::Fields;
use beamline_contract::record::{ExtensionInstance, ExtensionRecord, ExtensionVersion, Kind};
use beamline_domain::fleet::FleetKey;
use beamline_domain::keys::StoredKey;
use beamline_domain::snapshot::{Content, StoredPolicy};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::error::reading;

/// Without its versions and instances.
pub(super) fn extension(row: &AnyRow) -> Result<ExtensionRecord, StoreError> {
    let kind = text(row, "type")?;
    Ok(ExtensionRecord {
        id: text(row, "id")?,
        kind: Kind::parse(&kind).ok_or_else(|| corrupt("type", kind))?,
        subject: optional_text(row, "subject")?,
        subject_of: optional_text(row, "subject_of")?,
        notes_of: optional_text(row, "notes_of")?,
        program: None,
        timeout_ms: number(row, "timeout_ms")?,
        retry: small(row, "retry")?,
        enabled: flag(row, "enabled")?,
        version: text(row, "version")?,
        config: fields(row, "config")?.unwrap_or_default(),
        metadata: fields(row, "metadata")?.unwrap_or_default(),
        versions: Vec::new(),
        instances: Vec::new(),
        max_in_flight: optional(row, "max_in_flight", small)?,
        max_payload_bytes: optional(row, "max_payload_bytes", number)?,
        timeout_per_mib_ms: optional(row, "timeout_per_mib_ms", number)?,
        breaker: parsed(row, "breaker")?.unwrap_or_default(),
        breaker_operator: parsed(row, "breaker_operator")?,
        breaker_reset: parsed(row, "breaker_reset")?,
        revision: None,
    })
}

/// With the id of its extension.
pub(super) fn version(row: &AnyRow) -> Result<(String, ExtensionVersion), StoreError> {
    let version = ExtensionVersion {
        version: text(row, "version")?,
        subject: optional_text(row, "subject")?,
        timeout_ms: optional(row, "timeout_ms", number)?,
        retry: optional(row, "retry", small)?,
        config: fields(row, "config")?,
        routing_rules: fields(row, "routing_rules")?.unwrap_or_default(),
        enabled: flag(row, "enabled")?,
    };
    Ok((text(row, "extension_id")?, version))
}

/// With the id of its extension.
pub(super) fn instance(row: &AnyRow) -> Result<(String, ExtensionInstance), StoreError> {
    let instance = ExtensionInstance {
        instance_id: text(row, "instance_id")?,
        subject: text(row, "subject")?,
        weight: small(row, "weight")?,
        enabled: flag(row, "enabled")?,
    };
    Ok((text(row, "extension_id")?, instance))
}

pub(super) fn policy(row: &AnyRow) -> Result<StoredPolicy, StoreError> {
    let tenant_id = text(row, "tenant_id")?;
    let policy_id = text(row, "policy_id")?;
    let document = RawValue::from_string(text(row, "document")?)
        .map_err(|error| StoreError::Corrupt(format!("policy {tenant_id}/{policy_id}: {error}")))?;
    Ok(StoredPolicy {
        tenant_id,
        policy_id,
        document,
    })
}

pub(super) fn key(row: &AnyRow) -> Result<StoredKey, StoreError> {
    Ok(StoredKey {
        id: text(row, "id")?,
        kind: text(row, "kind")?,
        role: optional_text(row, "role")?,
        tenant_id: optional_text(row, "tenant_id")?,
        name: optional_text(row, "name")?,
        policies: parsed(row, "policies")?.unwrap_or_default(),
        models: parsed(row, "models")?.unwrap_or_default(),
        rpm: optional(row, "rpm", number)?,
        tpm: optional(row, "tpm", number)?,
        budget_day: optional_text(row, "budget_day")?,
        budget_month: optional_text(row, "budget_month")?,
        created_at: number(row, "created_at")?,
        expires_at: optional(row, "expires_at", number)?,
        hash: text(row, "hash")?,
        public_key: optional_text(row, "public_key")?,
    })
}

pub(super) fn fleet_key(row: &AnyRow) -> Result<FleetKey, StoreError> {
    Ok(FleetKey {
        id: text(row, "id")?,
        number: number(row, "number")?,
        secret: text(row, "secret")?,
        created_at: number(row, "created_at")?,
    })
}

/// Kind and id of an object, and the revision of its last change.
pub(super) fn object(row: &AnyRow) -> Result<(String, u64), StoreError> {
    let kind = text(row, "kind")?;
    let id = text(row, "id")?;
    Ok((Content::object(&kind, &id), revision(row)?))
}

/// Of an object; 0 where nobody noted it.
pub(super) fn revision(row: &AnyRow) -> Result<u64, StoreError> {
    Ok(optional(row, "revision", number)?.unwrap_or_default())
}

pub(super) fn number(row: &AnyRow, column: &str) -> Result<u64, StoreError> {
    let number: i64 = row.try_get(column).map_err(reading)?;
    u64::try_from(number).map_err(|_| corrupt(column, number))
}

/// Puts what the three tables hold together; what belongs to no extension is left out.
pub(super) fn put_together(
    mut extensions: Vec<ExtensionRecord>,
    versions: Vec<(String, ExtensionVersion)>,
    instances: Vec<(String, ExtensionInstance)>,
) -> Vec<ExtensionRecord> {
    let mut versions = by_extension(versions);
    let mut instances = by_extension(instances);
    for extension in &mut extensions {
        extension.versions = versions.remove(&extension.id).unwrap_or_default();
        extension.instances = instances.remove(&extension.id).unwrap_or_default();
    }
    extensions
}

fn by_extension<T>(parts: Vec<(String, T)>) -> HashMap<String, Vec<T>> {
    let mut grouped: HashMap<String, Vec<T>> = HashMap::new();
    for (extension_id, part) in parts {
        grouped.entry(extension_id).or_default().push(part);
    }
    grouped
}

fn text(row: &AnyRow, column: &str) -> Result<String, StoreError> {
    row.try_get(column).map_err(reading)
}

fn optional_text(row: &AnyRow, column: &str) -> Result<Option<String>, StoreError> {
    row.try_get(column).map_err(reading)
}

fn flag(row: &AnyRow, column: &str) -> Result<bool, StoreError> {
    Ok(number(row, column)? != 0)
}

fn small(row: &AnyRow, column: &str) -> Result<u32, StoreError> {
    let number = number(row, column)?;
    u32::try_from(number).map_err(|_| corrupt(column, number))
}

fn optional<T>(
    row: &AnyRow,
    column: &str,
    read: impl Fn(&AnyRow, &str) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let present: Option<i64> = row.try_get(column).map_err(reading)?;
    present.map(|_| read(row, column)).transpose()
}

fn fields(row: &AnyRow, column: &str) -> Result<Option<Fields>, StoreError> {
    let json = optional_text(row, column)?;
    json.map(|json| Fields::parse(&json).map_err(|error| corrupt(column, error)))
        .transpose()
}

fn parsed<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<Option<T>, StoreError> {
    let json = optional_text(row, column)?;
    json.map(|json| serde_json::from_str(&json).map_err(|error| corrupt(column, error)))
        .transpose()
}

fn corrupt(column: &str, what: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("column {column}: {what}"))
}
