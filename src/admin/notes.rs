//! Notes may hold what a masker took out of a message, so they are handed to nobody but another
//! face of the program that wrote them.

use std::collections::{BTreeMap, BTreeSet};

use beamline_contract::mistake::Mistake;
use beamline_contract::record::{ExtensionRecord, Kind};

use super::refusal::Refusal;
use super::surroundings::Surroundings;

/// Refuses a record that would get the notes of another program. `known` is what it was before.
pub(super) async fn check(
    all: &Surroundings,
    record: &ExtensionRecord,
    known: Option<&ExtensionRecord>,
) -> Result<(), Refusal> {
    let Some(writer_id) = &record.notes_of else {
        return Ok(());
    };
    let prefix = &all.settings.prefix;
    let is_as_before = known.is_some_and(|known| {
        known.notes_of == record.notes_of && known.subjects(prefix) == record.subjects(prefix)
    });
    if is_as_before || *writer_id == record.id {
        return Ok(());
    }
    let snapshot = all.registry.snapshot();
    let Some(writer) = snapshot.extension(writer_id) else {
        return Err(refusal(format!(
            "names {writer_id}, which is not registered; create it first"
        )));
    };
    if !matches!(writer.kind, Kind::Pre | Kind::Validator) {
        return Err(refusal(format!(
            "names {writer_id}, a {}: only pre-processors and validators keep notes",
            writer.kind.as_str()
        )));
    }
    if writer.program_id() == record.program_id() {
        return Ok(());
    }
    let readers = record.subjects(prefix);
    let writers = writer.subjects(prefix);
    let asked: BTreeSet<String> = readers.iter().chain(&writers).cloned().collect();
    let Some(services) = all.listeners.services_on(asked).await else {
        return Err(refusal(
            "cannot be checked: no program answers on NATS. Start the one that serves both"
                .to_owned(),
        ));
    };
    is_one_program(&services, &writers, &readers, writer_id).map_err(refusal)
}

/// Whether every subject of both is served, and only by one service.
fn is_one_program(
    services: &BTreeMap<String, BTreeSet<String>>,
    writers: &[String],
    readers: &[String],
    writer_id: &str,
) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for subject in writers.iter().chain(readers) {
        let Some(heard) = services.get(subject) else {
            return Err(format!(
                "cannot be checked: no NATS service listens on {subject}. Start the program first"
            ));
        };
        names.extend(heard);
    }
    if names.len() == 1 {
        return Ok(());
    }
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    Err(format!(
        "names {writer_id}, but these subjects are served by several NATS services ({}): notes go \
         from one face of a program to another, so both must be endpoints of one service",
        names.join(", ")
    ))
}

fn refusal(message: String) -> Refusal {
    let mistake = Mistake {
        pointer: "/notes_of".to_owned(),
        message,
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
            let writers = ["in".to_owned()];
            let readers = ["out.v1".to_owned(), "out.v2".to_owned()];
            is_one_program(&services, &writers, &readers, "w").map_err(|error| {
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
