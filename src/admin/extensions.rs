//! Operations on extensions.

use std::sync::Arc;

use beamline_actors::ports::{Author, Change, StoreError};
use beamline_contract::fields::Fields;
use beamline_contract::mistake::Mistake;
use beamline_contract::record::{ExtensionRecord, Kind};
use beamline_domain::document::shorten;
use beamline_domain::record;
use beamline_domain::snapshot::Snapshot;
use serde::Serialize;
use serde_json::json;

use super::Shared;
use super::operations::{answer, check_length, required};
use super::refusal::Refusal;

pub(super) fn list(shared: &Shared, body: &Fields) -> Result<String, Refusal> {
    let wanted = match body.text("type") {
        Some(word) => Some(Kind::parse(&word).ok_or_else(|| {
            Refusal::invalid(format!(
                "/type must be one of pre, validator, post, provider, is {}.",
                shorten(&word)
            ))
        })?),
        None => None,
    };
    let snapshot = shared.surroundings.registry.snapshot();
    let fits = |extension: &&Arc<ExtensionRecord>| wanted.is_none_or(|kind| extension.kind == kind);
    check_length(shared, snapshot.extensions().iter().filter(fits).count())?;
    let extensions: Vec<ExtensionRecord> = snapshot
        .extensions()
        .iter()
        .filter(fits)
        .map(|e| record(shared, e))
        .collect();
    answer(&Listed {
        ok: true,
        revision: snapshot.revision(),
        extensions,
    })
}

pub(super) fn get(shared: &Shared, body: &Fields) -> Result<String, Refusal> {
    let snapshot = shared.surroundings.registry.snapshot();
    let extension = find(&snapshot, &required(body, "id")?)?;
    answer(&One {
        ok: true,
        revision: snapshot.revision(),
        extension: record(shared, extension),
        used_by_policies: None,
    })
}

pub(super) async fn create(shared: &Shared, body: &Fields, by: Author) -> Result<String, Refusal> {
    let json = without_key(body).to_json();
    let make = |_: &Snapshot| {
        let extension = parsed(record::parse(&json, &shared.surroundings.prefix))?;
        Ok((Change::CreateExtension(extension.clone()), extension))
    };
    let (revision, extension) = save(shared, by, make).await?;
    answer(&One {
        ok: true,
        revision,
        extension: record(shared, &extension),
        used_by_policies: None,
    })
}

pub(super) async fn update(shared: &Shared, body: &Fields, by: Author) -> Result<String, Refusal> {
    let (revision, extension) =
        change(shared, &required(body, "id")?, &without_key(body), by).await?;
    answer(&One {
        ok: true,
        revision,
        extension: record(shared, &extension),
        used_by_policies: None,
    })
}

pub(super) async fn set_enabled(
    shared: &Shared,
    body: &Fields,
    enabled: bool,
    by: Author,
) -> Result<String, Refusal> {
    let id = required(body, "id")?;
    let patch = Fields::parse(&json!({"enabled": enabled}).to_string()).unwrap_or_default();
    let (revision, extension) = change(shared, &id, &patch, by).await?;
    let used_by_policies = (!enabled).then(|| shared.surroundings.registry.snapshot().used_by(&id));
    answer(&One {
        ok: true,
        revision,
        extension: record(shared, &extension),
        used_by_policies,
    })
}

pub(super) async fn delete(shared: &Shared, body: &Fields, by: Author) -> Result<String, Refusal> {
    let id = required(body, "id")?;
    let used_by = shared.surroundings.registry.snapshot().used_by(&id);
    let revision = shared
        .surroundings
        .registry
        .write(Change::DeleteExtension { id }, by)
        .await?;
    answer(&json!({"ok": true, "revision": revision, "used_by_policies": used_by}))
}

#[derive(Serialize)]
struct Listed {
    ok: bool,
    revision: u64,
    extensions: Vec<ExtensionRecord>,
}

#[derive(Serialize)]
struct One {
    ok: bool,
    revision: u64,
    extension: ExtensionRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_by_policies: Option<Vec<String>>,
}

async fn change(
    shared: &Shared,
    id: &str,
    patch: &Fields,
    by: Author,
) -> Result<(u64, ExtensionRecord), Refusal> {
    let make = |snapshot: &Snapshot| {
        let extension = parsed(record::patch(
            find(snapshot, id)?,
            patch,
            &shared.surroundings.prefix,
        ))?;
        Ok((Change::UpdateExtension(extension.clone()), extension))
    };
    save(shared, by, make).await
}

/// Tries of a change that others keep overtaking.
const TRIES: usize = 5;

/// Writes what `make` makes of the present registry, and makes it anew if somebody else was quicker.
pub(super) async fn save(
    shared: &Shared,
    by: Author,
    make: impl Fn(&Snapshot) -> Result<(Change, ExtensionRecord), Refusal>,
) -> Result<(u64, ExtensionRecord), Refusal> {
    let registry = &shared.surroundings.registry;
    for _ in 0..TRIES {
        registry.refresh().await?;
        let snapshot = registry.snapshot();
        let (change, extension) = make(&snapshot)?;
        let known = snapshot.extension(&extension.id);
        if matches!(change, Change::UpdateExtension(_))
            && known.is_some_and(|known| **known == extension)
        {
            // Nothing changes: no revision, and no line in the audit log that says nothing.
            return Ok((snapshot.revision(), extension));
        }
        check_subjects(shared, &snapshot, &extension)?;
        let by = Author {
            based_on: Some(snapshot.revision()),
            ..by.clone()
        };
        match registry.write(change, by).await {
            Ok(revision) => return Ok((revision, extension)),
            Err(StoreError::Stale) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Stale.into())
}

/// The record as it can be written back: with the subject that calls really go to, and without what `set_breaker` sets.
fn record(shared: &Shared, extension: &ExtensionRecord) -> ExtensionRecord {
    let subject = extension.effective_subject(&shared.surroundings.prefix);
    ExtensionRecord {
        subject: Some(subject),
        breaker_operator: None,
        breaker_reset: None,
        ..extension.clone()
    }
}

/// Two extensions on one subject would share each other's calls.
fn check_subjects(
    shared: &Shared,
    snapshot: &Snapshot,
    extension: &ExtensionRecord,
) -> Result<(), Refusal> {
    let prefix = &shared.surroundings.prefix;
    let own = extension.subjects(prefix);
    for other in snapshot
        .extensions()
        .iter()
        .filter(|other| other.id != extension.id)
    {
        if let Some(shared_one) = other
            .subjects(prefix)
            .into_iter()
            .find(|subject| own.contains(subject))
        {
            return Err(Refusal::conflict(format!(
                "The subject {shared_one} belongs to {} already.",
                other.id
            )));
        }
    }
    Ok(())
}

pub(super) fn find<'s>(
    snapshot: &'s Snapshot,
    id: &str,
) -> Result<&'s Arc<ExtensionRecord>, Refusal> {
    snapshot
        .extension(id)
        .ok_or_else(|| Refusal::not_found(&format!("The extension {}", shorten(id))))
}

fn parsed(result: Result<ExtensionRecord, Vec<Mistake>>) -> Result<ExtensionRecord, Refusal> {
    result.map_err(|mistakes| Refusal::mistakes("extension", &mistakes))
}

/// The record in a body; the key that opened the door is no part of it.
fn without_key(body: &Fields) -> Fields {
    body.iter()
        .filter(|(key, _)| *key != "api_key")
        .map(|(key, raw)| (key.to_owned(), raw.to_owned()))
        .collect()
}
