//! What a column can hold, and in which form. Postgres has no U+0000, neither in text nor in jsonb;
//! it is refused for SQLite too, so that a registry can move from one to the other.

use beamline_actors::ports::{Change, StoreError};
use beamline_contract::fields::Fields;
use beamline_contract::record::ExtensionRecord;
use beamline_domain::keys::StoredKey;
use serde::Serialize;

use super::error::not_storable;

/// Refuses a change of `object` that holds U+0000.
pub(super) fn check(change: &Change, object: &str) -> Result<(), StoreError> {
    if object.contains('\0') || holds_nul(change) {
        return Err(not_storable(object, "it holds the character U+0000"));
    }
    Ok(())
}

/// For text that says who writes, which must not decide whether it is written.
pub(super) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

pub(super) fn to_json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// The columns are signed. No timeout is this long, and no revision this high.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A policy may hold it as an escape, because its document is kept as text.
fn holds_nul(change: &Change) -> bool {
    match change {
        Change::CreateExtension(extension) | Change::UpdateExtension(extension) => {
            json_holds_nul(extension) || reasons_hold_nul(extension)
        }
        Change::CreateKey(key) => key_holds_nul(key),
        Change::RotateKey { successor, .. } => key_holds_nul(successor),
        Change::PutPolicy(_)
        | Change::DeleteExtension { .. }
        | Change::DeletePolicy { .. }
        | Change::RevokeKey { .. } => false,
    }
}

/// In what people write of it.
fn key_holds_nul(key: &StoredKey) -> bool {
    let written = [&key.tenant_id, &key.name];
    written
        .into_iter()
        .flatten()
        .any(|text| text.contains('\0'))
}

fn json_holds_nul(extension: &ExtensionRecord) -> bool {
    let mut all = vec![&extension.config, &extension.metadata];
    for version in &extension.versions {
        all.extend(&version.config);
        all.push(&version.routing_rules);
    }
    all.into_iter()
        .any(|fields| has_nul_escape(&Fields::to_json(fields)))
}

fn reasons_hold_nul(extension: &ExtensionRecord) -> bool {
    let operator = extension.breaker_operator.as_ref();
    let reset = extension.breaker_reset.as_ref();
    operator.is_some_and(|operator| operator.reason.contains('\0'))
        || reset.is_some_and(|reset| reset.reason.contains('\0'))
}

/// True when valid JSON holds `\u0000`; an escaped backslash before it makes it plain text.
fn has_nul_escape(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(at, _)| {
        let backslashes = json
            .bytes()
            .take(at)
            .rev()
            .take_while(|byte| *byte == b'\\');
        backslashes.count() % 2 == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_backslash_makes_the_escape_plain_text() {
        let cases = [
            (r#"{"a":"\u0000"}"#, true),
            (r#"{"\u0000":1}"#, true),
            (r#"{"a":"\\\u0000"}"#, true),
            (r#"{"a":"\\u0000"}"#, false),
            (r#"{"a":"u0000"}"#, false),
            ("{}", false),
        ];
        for (json, expected) in cases {
            assert_eq!(has_nul_escape(json), expected, "{json}");
        }
    }
}
