//! What the programs that listen say of a record.

use beamline_contract::fields::Fields;
use beamline_contract::mistake::Mistake;
use beamline_contract::record::ExtensionRecord;

use super::changes::completed;
use super::configs::{self, Given};
use super::operation::apart;
use super::refusal::Refusal;
use super::surroundings::{Surroundings, Whom};
use super::warnings;

/// What programs that listen say of a record before it is saved: who serves it, and whether its
/// configs are what they take. Without a patch all of it is new.
pub(super) async fn said_of(
    all: &Surroundings,
    record: ExtensionRecord,
    patch: Option<&Fields>,
) -> Result<Vec<Mistake>, Refusal> {
    let snapshot = all.registry.snapshot();
    let record = completed(&all.settings.prefix, &snapshot, record)?;
    let versions = warnings::called_versions(&record, &all.settings.prefix);
    let given = if patch.is_none_or(configs::concern) {
        given_by(all, &record).await?
    } else {
        Given::nothing()
    };
    let mut subjects = given.subjects();
    subjects.extend(versions.iter().map(|(_, _, subject)| subject.clone()));
    if subjects.is_empty() {
        return Ok(Vec::new());
    }
    let whom = if given.is_empty() {
        Whom::Anybody
    } else {
        Whom::Everybody
    };
    let Some(heard) = all.listeners.heard_on(subjects, whom).await else {
        return Ok(Vec::new());
    };
    let mut said = warnings::unheard(&versions, &heard);
    said.extend(given.judged(heard).await.of_sent("extension", patch)?);
    Ok(said)
}

async fn given_by(all: &Surroundings, record: &ExtensionRecord) -> Result<Given, Refusal> {
    let snapshot = all.registry.snapshot();
    let record = record.clone();
    let prefix = all.settings.prefix.clone();
    apart(move || Ok(Given::by_record(&record, &snapshot, &prefix))).await
}
