//! Notes may hold what a masker took out of a message, so they are handed to nobody but another
//! face of the program that wrote them.

use std::collections::{BTreeMap, BTreeSet};

use beamline_contract::mistake::Mistake;
use beamline_contract::record::{ExtensionRecord, Kind};
use beamline_domain::record::faces;
use beamline_domain::snapshot::Snapshot;

use super::refusal::Refusal;
use super::surroundings::Surroundings;

/// Refuses a record with which notes would go from one program to another: its own, those that it
/// writes, and those of the faces whose subject it moves. `saved` is complete.
pub(super) async fn check(
    all: &Surroundings,
    snapshot: &Snapshot,
    saved: &ExtensionRecord,
) -> Result<(), Refusal> {
    for pair in pairs(snapshot, saved) {
        pair.check(all, snapshot, saved).await?;
    }
    Ok(())
}

/// Who gets notes, and from whom, once the record is saved.
struct Pair {
    reader: ExtensionRecord,
    writer_id: String,
}

/// The pairs in which it has a part.
fn pairs(snapshot: &Snapshot, saved: &ExtensionRecord) -> Vec<Pair> {
    let readers = snapshot.extensions().iter().map(|known| &**known);
    let others = readers.filter(|known| known.id != saved.id);
    let mut pairs = Vec::new();
    for reader in others.chain([saved]) {
        let Some(writer_id) = &reader.notes_of else {
            continue;
        };
        let reader = faces::moved(reader, saved);
        let has_part = [&reader.id, writer_id].contains(&&saved.id)
            || reader.subject_of.as_ref() == Some(&saved.id);
        if has_part {
            pairs.push(Pair {
                reader,
                writer_id: writer_id.clone(),
            });
        }
    }
    pairs
}

impl Pair {
    async fn check(
        &self,
        all: &Surroundings,
        snapshot: &Snapshot,
        saved: &ExtensionRecord,
    ) -> Result<(), Refusal> {
        let prefix = &all.settings.prefix;
        let is_its_own = self.reader.id == saved.id;
        let at = if is_its_own { "/notes_of" } else { "/subject" };
        let refuse = |message: String| Err(refusal(at, &message));
        let stored = snapshot.extension(&self.writer_id).map(|known| &**known);
        let writer = if self.writer_id == saved.id {
            Some(saved)
        } else {
            stored
        };
        let Some(writer) = writer else {
            let unknown = format!(
                "names {}, which is not registered; create it first",
                self.writer_id
            );
            return if is_its_own { refuse(unknown) } else { Ok(()) };
        };
        if !matches!(writer.kind, Kind::Pre | Kind::Validator) {
            return refuse(format!(
                "names {}, a {}: only pre-processors and validators keep notes",
                writer.id,
                writer.kind.as_str()
            ));
        }
        let before = snapshot.extension(&self.reader.id);
        let before = before.filter(|before| before.notes_of == self.reader.notes_of);
        let subjects = subjects_of(&self.reader, writer, prefix);
        let is_as_before = before
            .zip(stored)
            .is_some_and(|(reader, writer)| subjects_of(reader, writer, prefix) == subjects);
        // With one subject there is one listener, whoever that is.
        if is_as_before || subjects.len() == 1 {
            return Ok(());
        }
        let Some(services) = all.listeners.services_on(subjects.clone()).await else {
            return refuse(
                "cannot be checked: no program answers on NATS. Start the one that serves both"
                    .to_owned(),
            );
        };
        match is_one_program(&services, &subjects) {
            Ok(()) => Ok(()),
            Err(problem) => refuse(format!(
                "{} gets the notes of {}: {problem}",
                self.reader.id, writer.id
            )),
        }
    }
}

fn subjects_of(
    reader: &ExtensionRecord,
    writer: &ExtensionRecord,
    prefix: &str,
) -> BTreeSet<String> {
    let mut subjects = reader.subjects(prefix);
    subjects.extend(writer.subjects(prefix));
    subjects.into_iter().collect()
}

/// Whether every subject of both is served, and only by one service. One without a name could be
/// any.
fn is_one_program(
    services: &BTreeMap<String, BTreeSet<String>>,
    subjects: &BTreeSet<String>,
) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for subject in subjects {
        let Some(heard) = services.get(subject) else {
            return Err(format!(
                "that cannot be checked, as no NATS service listens on {subject}. Start the \
                 program first"
            ));
        };
        names.extend(heard);
    }
    if names.len() == 1 && !names.contains(&String::new()) {
        return Ok(());
    }
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    Err(format!(
        "notes go from one face of a program to another, so both must be endpoints of one NATS \
         service, and these are of {}",
        names.join(", ")
    ))
}

fn refusal(pointer: &str, message: &str) -> Refusal {
    let mistake = Mistake {
        pointer: pointer.to_owned(),
        message: message.to_owned(),
    };
    Refusal::mistakes("extension", &[mistake])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_service_on_all_subjects_is_one_program() {
        let heard = |all: &[(&str, &[&str])]| {
            let services = all.iter().map(|(subject, names)| {
                let names = names.iter().map(|name| (*name).to_owned());
                ((*subject).to_owned(), names.collect())
            });
            let services: BTreeMap<String, BTreeSet<String>> = services.collect();
            let subjects = ["in", "out.v1", "out.v2"].map(str::to_owned).into();
            is_one_program(&services, &subjects).map_err(|error| {
                let is_unheard = error.contains("no NATS service listens");
                if is_unheard { "unheard" } else { "several" }
            })
        };
        let one: &[&str] = &["mask"];
        assert_eq!(
            heard(&[("in", one), ("out.v1", one), ("out.v2", one)]),
            Ok(())
        );
        assert_eq!(heard(&[("in", one), ("out.v1", one)]), Err("unheard"));
        let unnamed: &[&str] = &[""];
        assert_eq!(
            heard(&[("in", unnamed), ("out.v1", unnamed), ("out.v2", unnamed)]),
            Err("several")
        );
        assert_eq!(
            heard(&[("in", one), ("out.v1", one), ("out.v2", &["mask", "spy"])]),
            Err("several")
        );
        assert_eq!(
            heard(&[("in", one), ("out.v1", one), ("out.v2", &["spy"])]),
            Err("several")
        );
    }
}
