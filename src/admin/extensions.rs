//! Operations on extensions.

use std::sync::Arc;

use beamline_actors::ports::{Change, StoreError};
use beamline_contract::admin::{
    CreateExtension, DeleteExtension, DisableExtension, EnableExtension, ExtensionAnswer,
    ExtensionDeleted, ExtensionsAnswer, GetExtension, ListExtensions, UpdateExtension,
};
use beamline_contract::fields::Fields;
use beamline_contract::mistake::Mistake;
use beamline_contract::record::{ExtensionRecord, Kind};
use beamline_domain::document::shorten;
use beamline_domain::record::{self, Checked};
use beamline_domain::snapshot::Snapshot;

use super::body::{required, without};
use super::caller::Caller;
use super::changes::{create, find, unknown_extension, update};
use super::operation::{Perform, WaitsFor, apart};
use super::refusal::Refusal;
use super::said::said_of;
use super::surroundings::Surroundings;
use super::targets::check_length;
use super::warnings;

/// What answers say of a record and nobody writes.
const REVISION: &str = "revision";

impl Perform for ListExtensions {
    const WAITS_FOR: WaitsFor = WaitsFor::Nobody;

    fn read(body: &Fields) -> Result<Self, Refusal> {
        let Some(word) = body.text("type") else {
            return Ok(Self { kind: None });
        };
        let kind = Kind::parse(&word).ok_or_else(|| {
            Refusal::invalid(format!(
                "/type must be one of pre, validator, post, provider, is {}.",
                shorten(&word)
            ))
        })?;
        Ok(Self { kind: Some(kind) })
    }

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<ExtensionsAnswer, Refusal> {
        let all = Arc::clone(all);
        let caller = caller.clone();
        apart(move || list(&all, self.kind, &caller)).await
    }
}

fn list(
    all: &Surroundings,
    kind: Option<Kind>,
    caller: &Caller,
) -> Result<ExtensionsAnswer, Refusal> {
    let snapshot = all.registry.snapshot();
    let wanted: Vec<&Arc<ExtensionRecord>> = snapshot
        .extensions()
        .iter()
        .filter(|extension| kind.is_none_or(|kind| extension.kind == kind))
        .collect();
    check_length(wanted.len(), caller.largest_answer)?;
    Ok(ExtensionsAnswer {
        ok: true,
        revision: snapshot.revision(),
        extensions: wanted
            .into_iter()
            .map(|extension| seen_by(caller, writable(all, extension)))
            .collect(),
    })
}

impl Perform for GetExtension {
    const WAITS_FOR: WaitsFor = WaitsFor::Nobody;

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<ExtensionAnswer, Refusal> {
        let snapshot = all.registry.snapshot();
        let extension = find(&snapshot, &self.id)?;
        let mut answer = answer(all, snapshot.revision(), extension);
        answer.extension = seen_by(caller, answer.extension);
        Ok(answer)
    }
}

impl Perform for CreateExtension {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    fn read(body: &Fields) -> Result<Self, Refusal> {
        Ok(Self(without(REVISION, body)))
    }

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<ExtensionAnswer, Refusal> {
        let Self(fields) = self;
        let json = fields.to_json();
        let checked = parsed(record::check(&json, &all.settings.prefix))?;
        all.registry.refresh().await?;
        let said = said_of(all, checked.record.clone(), None).await?;
        let make = || Ok(checked.record.clone());
        let (revision, extension) = create(all, caller, make).await?;
        let mut warnings = checked.warnings;
        warnings.extend(warnings::of_extension(all, &extension));
        warnings.extend(said);
        Ok(ExtensionAnswer {
            warnings,
            ..answer(all, revision, &extension)
        })
    }
}

impl Perform for UpdateExtension {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    fn read(body: &Fields) -> Result<Self, Refusal> {
        required(body, "id")?;
        Ok(Self(without(REVISION, body)))
    }

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<ExtensionAnswer, Refusal> {
        let Self(body) = self;
        let id = required(&body, "id")?;
        let patch = body;
        all.registry.refresh().await?;
        let record = patch_of(all, find(&all.registry.snapshot(), &id)?, &patch)?;
        let said = said_of(all, record, Some(&patch)).await?;
        let (revision, extension) = patched(all, caller, &id, &patch).await?;
        // Read once more, of what was saved: a patch may be tried several times.
        let saved = record::patch(&extension, &patch, &all.settings.prefix);
        let mut warnings = saved.map_or_else(|_| Vec::new(), |saved| saved.warnings);
        warnings.extend(warnings::of_extension(all, &extension));
        warnings.extend(said);
        Ok(ExtensionAnswer {
            warnings,
            ..answer(all, revision, &extension)
        })
    }
}

impl Perform for EnableExtension {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<ExtensionAnswer, Refusal> {
        let (revision, extension) = set_enabled(all, caller, &self.id, true).await?;
        Ok(answer(all, revision, &extension))
    }
}

impl Perform for DisableExtension {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<ExtensionAnswer, Refusal> {
        let (revision, extension) = set_enabled(all, caller, &self.id, false).await?;
        Ok(ExtensionAnswer {
            used_by_policies: Some(all.registry.snapshot().used_by(&self.id)),
            ..answer(all, revision, &extension)
        })
    }
}

impl Perform for DeleteExtension {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<ExtensionDeleted, Refusal> {
        let snapshot = all.registry.snapshot();
        check_faces(&snapshot, &self.id)?;
        let used_by_policies = snapshot.used_by(&self.id);
        let change = Change::DeleteExtension {
            id: self.id.clone(),
        };
        let deleted = all.registry.write(change, caller.author()).await;
        let revision = deleted.map_err(|error| {
            if matches!(error, StoreError::NotFound(_)) {
                unknown_extension(&all.registry.snapshot(), &self.id)
            } else {
                error.into()
            }
        })?;
        Ok(ExtensionDeleted {
            ok: true,
            revision,
            used_by_policies,
        })
    }
}

/// Without their program, its other faces would have no subject.
fn check_faces(snapshot: &Snapshot, id: &str) -> Result<(), Refusal> {
    let faces = snapshot.faces_of(id);
    if faces.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = faces.iter().map(|face| face.id.as_str()).collect();
    Err(Refusal::conflict(format!(
        "{} is the program of {} (subject_of): delete these first, or give \
         each a subject of its own and `subject_of: null` in one update.",
        shorten(id),
        names.join(", ")
    )))
}

async fn set_enabled(
    all: &Surroundings,
    caller: &Caller,
    id: &str,
    enabled: bool,
) -> Result<(u64, ExtensionRecord), Refusal> {
    let mut patch = Fields::default();
    patch.set_flag("enabled", enabled);
    patched(all, caller, id, &patch).await
}

async fn patched(
    all: &Surroundings,
    caller: &Caller,
    id: &str,
    patch: &Fields,
) -> Result<(u64, ExtensionRecord), Refusal> {
    update(all, caller, id, |known| patch_of(all, known, patch)).await
}

fn patch_of(
    all: &Surroundings,
    known: &ExtensionRecord,
    patch: &Fields,
) -> Result<ExtensionRecord, Refusal> {
    parsed(record::patch(known, patch, &all.settings.prefix)).map(|checked| checked.record)
}

fn parsed(result: Result<Checked, Vec<Mistake>>) -> Result<Checked, Refusal> {
    result.map_err(|mistakes| Refusal::mistakes("extension", &mistakes))
}

fn answer(all: &Surroundings, revision: u64, extension: &ExtensionRecord) -> ExtensionAnswer {
    ExtensionAnswer {
        ok: true,
        revision,
        extension: writable(all, extension),
        used_by_policies: None,
        warnings: Vec::new(),
    }
}

/// A tenant's key learns neither how an extension is set up nor which other tenants there are.
fn seen_by(caller: &Caller, mut extension: ExtensionRecord) -> ExtensionRecord {
    if caller.is_of_one_tenant() {
        extension.config = Fields::default();
        for version in &mut extension.versions {
            version.config = None;
            version.routing_rules = Fields::default();
        }
    }
    extension
}

/// The record as it can be written back: with the subject that calls really go to and the revision
/// of its last change, and without what `set_breaker` sets.
fn writable(all: &Surroundings, extension: &ExtensionRecord) -> ExtensionRecord {
    let snapshot = all.registry.snapshot();
    ExtensionRecord {
        revision: snapshot.revision_of("extension", &extension.id),
        subject: Some(extension.effective_subject(&all.settings.prefix)),
        breaker_operator: None,
        breaker_reset: None,
        ..extension.clone()
    }
}
