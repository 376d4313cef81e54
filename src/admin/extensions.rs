//! Operations on extensions.

use std::sync::Arc;

use beamline_actors::domain::document::{Mistake, shorten};
use beamline_actors::domain::extension::{Extension, Kind};
use beamline_actors::domain::fields::Fields;
use beamline_actors::domain::snapshot::Snapshot;
use beamline_actors::ports::{Author, Change};
use serde::Serialize;
use serde_json::json;

use super::Shared;
use super::operations::{answer, required};
use super::refusal::Refusal;

pub(super) fn list(shared: &Shared, body: &Fields) -> Result<String, Refusal> {
    let wanted = match body.text("type") {
        Some(word) => Some(Kind::parse(&word).ok_or_else(|| {
            Refusal::invalid(format!("/type must be one of pre, validator, post, provider, is {}.", shorten(&word)))
        })?),
        None => None,
    };
    let snapshot = shared.surroundings.registry.snapshot();
    let fits = |extension: &&Arc<Extension>| wanted.is_none_or(|kind| extension.kind == kind);
    let extensions: Vec<Extension> =
        snapshot.extensions().into_iter().filter(fits).map(|e| record(shared, e)).collect();
    answer(&Listed { ok: true, revision: snapshot.revision(), extensions })
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
    shared.surroundings.registry.refresh().await?;
    let extension = parsed(Extension::parse(&without_key(body).to_json(), &shared.surroundings.prefix))?;
    check_subjects(shared, &extension)?;
    write(shared, Change::CreateExtension(extension.clone()), &extension, None, by).await
}

pub(super) async fn update(shared: &Shared, body: &Fields, by: Author) -> Result<String, Refusal> {
    let extension = patched(shared, &required(body, "id")?, &without_key(body)).await?;
    write(shared, Change::UpdateExtension(extension.clone()), &extension, None, by).await
}

pub(super) async fn set_enabled(shared: &Shared, body: &Fields, enabled: bool, by: Author) -> Result<String, Refusal> {
    let id = required(body, "id")?;
    let patch = Fields::parse(&json!({"enabled": enabled}).to_string()).unwrap_or_default();
    let extension = patched(shared, &id, &patch).await?;
    let used_by = (!enabled).then(|| shared.surroundings.registry.snapshot().used_by(&id));
    write(shared, Change::UpdateExtension(extension.clone()), &extension, used_by, by).await
}

pub(super) async fn delete(shared: &Shared, body: &Fields, by: Author) -> Result<String, Refusal> {
    let id = required(body, "id")?;
    let used_by = shared.surroundings.registry.snapshot().used_by(&id);
    let revision = shared.surroundings.registry.write(Change::DeleteExtension { id }, by).await?;
    answer(&json!({"ok": true, "revision": revision, "used_by_policies": used_by}))
}

#[derive(Serialize)]
struct Listed {
    ok: bool,
    revision: u64,
    extensions: Vec<Extension>,
}

#[derive(Serialize)]
struct One {
    ok: bool,
    revision: u64,
    extension: Extension,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_by_policies: Option<Vec<String>>,
}

async fn patched(shared: &Shared, id: &str, patch: &Fields) -> Result<Extension, Refusal> {
    shared.surroundings.registry.refresh().await?;
    let snapshot = shared.surroundings.registry.snapshot();
    let extension = parsed(find(&snapshot, id)?.patched(patch, &shared.surroundings.prefix))?;
    check_subjects(shared, &extension)?;
    Ok(extension)
}

async fn write(
    shared: &Shared,
    change: Change,
    extension: &Extension,
    used_by_policies: Option<Vec<String>>,
    by: Author,
) -> Result<String, Refusal> {
    let revision = shared.surroundings.registry.write(change, by).await?;
    answer(&One { ok: true, revision, extension: record(shared, extension), used_by_policies })
}

/// The record with the subject that calls really go to.
fn record(shared: &Shared, extension: &Extension) -> Extension {
    let subject = extension.effective_subject(&shared.surroundings.prefix);
    Extension { subject: Some(subject), ..extension.clone() }
}

/// Two extensions on one subject would share each other's calls.
fn check_subjects(shared: &Shared, extension: &Extension) -> Result<(), Refusal> {
    let (snapshot, prefix) = (shared.surroundings.registry.snapshot(), &shared.surroundings.prefix);
    let own = extension.subjects(prefix);
    for other in snapshot.extensions().into_iter().filter(|other| other.id != extension.id) {
        if let Some(shared_one) = other.subjects(prefix).into_iter().find(|subject| own.contains(subject)) {
            return Err(Refusal::conflict(format!("The subject {shared_one} belongs to {} already.", other.id)));
        }
    }
    Ok(())
}

fn find<'s>(snapshot: &'s Snapshot, id: &str) -> Result<&'s Arc<Extension>, Refusal> {
    snapshot.extension(id).ok_or_else(|| Refusal::not_found(&format!("The extension {}", shorten(id))))
}

fn parsed(result: Result<Extension, Vec<Mistake>>) -> Result<Extension, Refusal> {
    result.map_err(|mistakes| Refusal::mistakes("extension", &mistakes))
}

/// The record in a body; the key that opened the door is no part of it.
fn without_key(body: &Fields) -> Fields {
    body.iter().filter(|(key, _)| *key != "api_key").map(|(key, raw)| (key.to_owned(), raw.to_owned())).collect()
}
