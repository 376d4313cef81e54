//! A row of the audit log, before it is written: everything in it has its limit.

use beamline_actors::ports::StoreError;
use data_encoding::HEXLOWER;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::{Any, Row, Transaction};

use crate::store::error::{reading, writing};
use crate::store::statements::Statements;
use crate::store::storable::{signed, without_nul};

/// Bytes of a name or an id.
const LONGEST_NAME: usize = 256;
/// Bytes of a reason.
const LONGEST_REASON: usize = 500;
/// Bytes of an object before or after; of a longer one its hash and its beginning are kept.
const LARGEST_IMAGE: usize = 16 * 1024;
const BEGINNING: usize = 4 * 1024;

/// What somebody has done, or was refused.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// Of the registry; 0 where nothing was changed.
    pub revision: u64,
    pub source: String,
    /// The id of the key.
    pub key_id: Option<String>,
    pub role: Option<String>,
    /// Of the key.
    pub tenant_id: Option<String>,
    pub action: String,
    pub object_kind: String,
    pub object_id: String,
    pub before: Option<String>,
    pub after: Option<String>,
    pub reason: Option<String>,
    /// Of what was refused.
    pub error_code: Option<String>,
    pub request_id: Option<String>,
    pub trace_id: Option<String>,
}

impl Entry {
    /// Writes it, and answers the id of its row.
    pub(in crate::store) async fn insert(
        &self,
        statements: &'static Statements,
        tx: &mut Transaction<'static, Any>,
    ) -> Result<i64, StoreError> {
        let outcome = if self.error_code.is_some() {
            "refused"
        } else {
            "done"
        };
        let insert = sqlx::query(statements.audit.insert)
            .bind(signed(self.revision))
            .bind(name(&self.source))
            .bind(optional(&self.key_id))
            .bind(optional(&self.trace_id))
            .bind(name(&self.action))
            .bind(name(&self.object_kind))
            .bind(name(&self.object_id))
            .bind(self.before.as_deref().map(image))
            .bind(self.after.as_deref().map(image))
            .bind(optional(&self.key_id))
            .bind(optional(&self.role))
            .bind(optional(&self.tenant_id))
            .bind(None::<String>)
            .bind(self.reason.as_deref().map(|text| cut(text, LONGEST_REASON)))
            .bind(outcome)
            .bind(optional(&self.error_code))
            .bind(optional(&self.request_id));
        let inserted = insert.fetch_one(&mut **tx).await;
        let row = inserted.map_err(|error| writing(error, "the audit row"))?;
        row.try_get("id").map_err(reading)
    }
}

fn name(text: &str) -> String {
    cut(text, LONGEST_NAME)
}

fn optional(text: &Option<String>) -> Option<String> {
    text.as_deref().map(name)
}

fn cut(text: &str, most: usize) -> String {
    let text = without_nul(text);
    text.get(..text.floor_char_boundary(most))
        .unwrap_or_default()
        .to_owned()
}

fn image(json: &str) -> String {
    if json.len() <= LARGEST_IMAGE {
        return json.to_owned();
    }
    let hash = HEXLOWER.encode(&Sha256::digest(json.as_bytes()));
    let begins = json.get(..json.floor_char_boundary(BEGINNING));
    json!({"too_long_for_the_log": json.len(), "sha256": hash, "begins": begins}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_longer_than_its_limit() {
        let long = "ä".repeat(1_000);
        assert_eq!(name(&long).len(), LONGEST_NAME);
        assert_eq!(name("a\0b"), "a\u{fffd}b");
        let large = format!(r#"{{"a\u0000":"{}"}}"#, "ä\\\"".repeat(LARGEST_IMAGE / 4));
        let kept = image(&large);
        assert!(kept.len() < LARGEST_IMAGE, "{}", kept.len());
        let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
        assert_eq!(kept["too_long_for_the_log"], large.len());
        assert!(large.starts_with(kept["begins"].as_str().unwrap()));
        assert_eq!(image("{}"), "{}");
    }
}
