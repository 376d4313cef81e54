//! Keys as rows, and as the audit log shows them: without hash and public key, which say nothing to
//! a reader.

use beamline_actors::ports::StoreError;
use beamline_domain::keys::StoredKey;
use serde_json::{Value, json};
use sqlx::Any;
use sqlx::any::AnyArguments;
use sqlx::query::Query;

use super::statements::Statements;
use super::storable::{signed, to_json};

pub(super) fn insert<'q>(
    statements: &'static Statements,
    key: &'q StoredKey,
) -> Result<Query<'q, Any, AnyArguments>, StoreError> {
    Ok(sqlx::query(statements.keys.insert)
        .bind(&key.id)
        .bind(&key.kind)
        .bind(key.role.as_deref())
        .bind(key.tenant_id.as_deref())
        .bind(key.name.as_deref())
        .bind(to_json(&key.policies)?)
        .bind(to_json(&key.models)?)
        .bind(key.rpm.map(signed))
        .bind(key.tpm.map(signed))
        .bind(key.budget_day.as_deref())
        .bind(key.budget_month.as_deref())
        .bind(signed(key.created_at))
        .bind(key.expires_at.map(signed))
        .bind(&key.hash)
        .bind(key.public_key.as_deref()))
}

pub(super) fn image(key: &StoredKey) -> Result<String, StoreError> {
    to_json(&shown(key))
}

/// Of a key that ends, with the one that comes in its place.
pub(super) fn images(old: &StoredKey, successor: &StoredKey) -> Result<String, StoreError> {
    let mut image = shown(old);
    if let Some(fields) = image.as_object_mut() {
        fields.insert("successor".to_owned(), shown(successor));
    }
    to_json(&image)
}

fn shown(key: &StoredKey) -> Value {
    json!({
        "id": key.id,
        "kind": key.kind,
        "role": key.role,
        "tenant_id": key.tenant_id,
        "name": key.name,
        "policies": key.policies,
        "models": key.models,
        "rpm": key.rpm,
        "tpm": key.tpm,
        "budget_day": key.budget_day,
        "budget_month": key.budget_month,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
    })
}
