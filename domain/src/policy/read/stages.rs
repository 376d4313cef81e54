//! Pre-processors, validators and post-processors, from lists of their own or from steps.

use super::listed::{Listed, read_id, refuse_repeated};
use super::{circles, terms};
use crate::document::{Mistakes, Object, items, kind_of};
use crate::policy::{Processor, Validator};
use beamline_contract::policy::{Mode, OnFail};

const PROCESSOR_KEYS: &[&str] = &["id", "mode", "config", "depends_on", "when", "timeout_ms"];
const PROCESSOR_STEP_KEYS: &[&str] = &[
    "action",
    "extension_id",
    "mode",
    "config",
    "depends_on",
    "when",
    "timeout_ms",
];
const VALIDATOR_KEYS: &[&str] = &["id", "on_fail", "config", "when", "timeout_ms"];
const VALIDATOR_STEP_KEYS: &[&str] = &[
    "action",
    "extension_id",
    "on_fail",
    "config",
    "when",
    "timeout_ms",
];

/// The entries of one stage, wherever the document has them.
pub(super) struct Stage<'a> {
    name: &'static str,
    entries: Vec<Object<'a>>,
    from_steps: bool,
}

impl<'a> Stage<'a> {
    /// A stage is written in one place: two lists would leave open which of them runs first.
    pub(super) fn of(
        object: &mut Object<'a>,
        name: &'static str,
        steps: Vec<Object<'a>>,
        mistakes: &mut Mistakes,
    ) -> Self {
        let listed = object.items(name, mistakes);
        if !listed.is_empty() && !steps.is_empty() {
            mistakes.add(
                object.at(name),
                format!("{name} is in steps as well; write it in one of the two places"),
            );
        }
        if !steps.is_empty() {
            return Self {
                name,
                entries: steps,
                from_steps: true,
            };
        }
        let entries = listed
            .into_iter()
            .filter_map(|(pointer, raw)| Object::read(raw, pointer, mistakes))
            .collect();
        Self {
            name,
            entries,
            from_steps: false,
        }
    }

    fn id_key(&self) -> &'static str {
        if self.from_steps {
            "extension_id"
        } else {
            "id"
        }
    }
}

pub(super) fn processors(stage: Stage<'_>, mistakes: &mut Mistakes) -> Listed<Processor> {
    let id_key = stage.id_key();
    let keys = if stage.from_steps {
        PROCESSOR_STEP_KEYS
    } else {
        PROCESSOR_KEYS
    };
    let mut processors: Listed<Processor> = Listed::default();
    let mut waiting = Vec::new();
    let before = mistakes.count();
    for mut entry in stage.entries {
        let place = entry.at(id_key);
        let id = read_id(&mut entry, id_key, mistakes);
        let mode = entry
            .choice("mode", Mode::WORDS, mistakes)
            .unwrap_or_default();
        let config = entry.fields("config", mistakes);
        let depends_on = read_depends_on(&mut entry, mistakes);
        let terms = terms::read(&mut entry, mistakes);
        refuse_repeated(
            id.as_deref(),
            processors.items.iter().map(|p| p.id.as_str()),
            &place,
            mistakes,
        );
        let pointer = entry.at("depends_on");
        entry.finish(keys, mistakes);
        let Some(id) = id else { continue };
        processors.push(
            Processor {
                id,
                mode,
                config,
                depends_on,
                terms,
            },
            place,
        );
        waiting.push(pointer);
    }
    // A name that could not be read would only make others look like strangers.
    if mistakes.count() == before {
        circles::check(stage.name, &processors.items, &waiting, mistakes);
    }
    processors
}

fn read_depends_on(entry: &mut Object<'_>, mistakes: &mut Mistakes) -> Option<Vec<String>> {
    let pointer = entry.at("depends_on");
    let listed = items(entry.take("depends_on")?, &pointer, mistakes);
    let mut names: Vec<String> = Vec::new();
    for (pointer, raw) in listed {
        match serde_json::from_str::<String>(raw.get()) {
            Ok(name) => {
                refuse_repeated(
                    Some(&name),
                    names.iter().map(String::as_str),
                    &pointer,
                    mistakes,
                );
                names.push(name);
            }
            Err(_) => mistakes.add(
                pointer,
                format!("must be an id from the same stage, is {}", kind_of(raw)),
            ),
        }
    }
    Some(names)
}

pub(super) fn validators(stage: Stage<'_>, mistakes: &mut Mistakes) -> Listed<Validator> {
    let id_key = stage.id_key();
    let keys = if stage.from_steps {
        VALIDATOR_STEP_KEYS
    } else {
        VALIDATOR_KEYS
    };
    let mut validators: Listed<Validator> = Listed::default();
    for mut entry in stage.entries {
        let place = entry.at(id_key);
        let id = read_id(&mut entry, id_key, mistakes);
        let on_fail = entry
            .choice("on_fail", OnFail::WORDS, mistakes)
            .unwrap_or_default();
        let config = entry.fields("config", mistakes);
        let terms = terms::read(&mut entry, mistakes);
        refuse_repeated(
            id.as_deref(),
            validators.items.iter().map(|v| v.id.as_str()),
            &place,
            mistakes,
        );
        entry.finish(keys, mistakes);
        let Some(id) = id else { continue };
        validators.push(
            Validator {
                id,
                on_fail,
                config,
                terms,
            },
            place,
        );
    }
    validators
}
