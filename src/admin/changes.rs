//! Changes of extensions: looked up, made of the present registry, and made anew when somebody else
//! was quicker.

use std::sync::Arc;

use beamline_actors::ports::{Author, Change, StoreError};
use beamline_contract::admin::{Reload, RevisionAnswer};
use beamline_contract::record::ExtensionRecord;
use beamline_domain::document::shorten;
use beamline_domain::record::faces;
use beamline_domain::snapshot::Snapshot;
use beamline_domain::suggest::closest;

use super::caller::Caller;
use super::notes;
use super::operation::{Perform, WaitsFor};
use super::refusal::Refusal;
use super::surroundings::Surroundings;

/// Tries of a change that others keep overtaking. One of those that come together gets through at
/// each, and a router has ten of them at work.
pub(super) const TRIES: usize = 20;

impl Perform for Reload {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    async fn perform(self, all: &Arc<Surroundings>, _: &Caller) -> Result<RevisionAnswer, Refusal> {
        let reloaded = all.registry.reload_fully().await;
        let revision = reloaded.map_err(Refusal::of_read)?;
        Ok(RevisionAnswer { ok: true, revision })
    }
}

pub(super) fn find<'s>(
    snapshot: &'s Snapshot,
    id: &str,
) -> Result<&'s Arc<ExtensionRecord>, Refusal> {
    snapshot
        .extension(id)
        .ok_or_else(|| unknown_extension(snapshot, id))
}

/// That there is no such extension, and which was probably meant.
pub(super) fn unknown_extension(snapshot: &Snapshot, id: &str) -> Refusal {
    let refusal = Refusal::not_found(&format!("The extension {}", shorten(id)));
    match nearest(snapshot, id) {
        Some(near) => refusal.adding(&format!("Did you mean {near}?")),
        None => refusal,
    }
}

/// The extension whose id is a slip or two away.
fn nearest<'s>(snapshot: &'s Snapshot, id: &str) -> Option<&'s str> {
    let ids = snapshot.extensions().iter().map(|known| known.id.as_str());
    closest(id, &ids.collect::<Vec<_>>())
}

/// Writes a new extension. Answers the registry's revision with it.
pub(super) async fn create(
    all: &Surroundings,
    caller: &Caller,
    make: impl Fn() -> Result<ExtensionRecord, Refusal>,
) -> Result<(u64, ExtensionRecord), Refusal> {
    save(all, caller.author(), Change::CreateExtension, |_| make()).await
}

/// Writes what `edit` makes of an extension. Answers the registry's revision with it.
pub(super) async fn update(
    all: &Surroundings,
    caller: &Caller,
    id: &str,
    edit: impl Fn(&ExtensionRecord) -> Result<ExtensionRecord, Refusal>,
) -> Result<(u64, ExtensionRecord), Refusal> {
    save(all, caller.author(), Change::UpdateExtension, |snapshot| {
        edit(find(snapshot, id)?)
    })
    .await
}

async fn save(
    all: &Surroundings,
    author: Author,
    change_to: fn(ExtensionRecord) -> Change,
    make: impl Fn(&Snapshot) -> Result<ExtensionRecord, Refusal>,
) -> Result<(u64, ExtensionRecord), Refusal> {
    for _ in 0..TRIES {
        all.registry.refresh().await?;
        let snapshot = all.registry.snapshot();
        let extension = completed(&all.settings.prefix, &snapshot, make(&snapshot)?)?;
        let change = change_to(extension.clone());
        if changes_nothing(&change, &snapshot) {
            check_seen(&snapshot, &extension.id, author.if_revision)?;
            // No revision, and no line in the audit log that says nothing.
            return Ok((snapshot.revision(), extension));
        }
        check_subjects(&all.settings.prefix, &snapshot, &extension)?;
        all.settings.quotas.check_extension(&snapshot, &extension)?;
        notes::check(all, &snapshot, &extension).await?;
        let by = Author {
            based_on: Some(snapshot.revision()),
            ..author.clone()
        };
        match all.registry.write(change, by).await {
            Ok(revision) => return Ok((revision, extension)),
            Err(StoreError::Stale) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Stale.into())
}

/// The store looks at this too, when there is something to write.
fn check_seen(snapshot: &Snapshot, id: &str, seen: Option<u64>) -> Result<(), StoreError> {
    match (seen, snapshot.revision_of("extension", id)) {
        (Some(seen), Some(now)) if now > seen => {
            Err(StoreError::Changed(format!("extension {id}")))
        }
        _ => Ok(()),
    }
}

fn changes_nothing(change: &Change, snapshot: &Snapshot) -> bool {
    if let Change::UpdateExtension(extension) = change {
        let known = snapshot.extension(&extension.id);
        known.is_some_and(|known| **known == *extension)
    } else {
        false
    }
}

/// With what a face needs of its program.
pub(super) fn completed(
    prefix: &str,
    snapshot: &Snapshot,
    extension: ExtensionRecord,
) -> Result<ExtensionRecord, Refusal> {
    let has_faces = !snapshot.faces_of(&extension.id).is_empty();
    let find = |id: &str| snapshot.extension(id).map(|known| &**known);
    faces::complete(extension, prefix, find, has_faces)
        .map_err(|mistake| Refusal::mistakes("extension", &[mistake]))
}

/// Two extensions on one subject would share each other's calls, unless they are faces of one
/// program.
fn check_subjects(
    prefix: &str,
    snapshot: &Snapshot,
    extension: &ExtensionRecord,
) -> Result<(), Refusal> {
    let own = extension.subjects(prefix);
    let others = snapshot
        .extensions()
        .iter()
        .filter(|other| other.program_id() != extension.program_id());
    for other in others {
        let subjects = other.subjects(prefix);
        if let Some(taken) = subjects.iter().find(|subject| own.contains(subject)) {
            return Err(Refusal::conflict(format!(
                "The subject {taken} belongs to {} already.",
                other.id
            )));
        }
    }
    Ok(())
}
