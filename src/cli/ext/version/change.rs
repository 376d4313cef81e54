//! What becomes of a record when one of its versions changes. Records stay as the router wrote
//! them but for what is changed: a newer router may know more of a version.

use beamline_contract::admin::RefusalCode;
use beamline_contract::fields::Fields;
use beamline_domain::suggest::closest;
use serde_json::value::{RawValue, to_raw_value};

use crate::cli::view::{canary, text};
use crate::cli::{Failure, RefusedAnswer};

/// Where a record remembers what it was before a promotion, in its metadata.
const PREVIOUS: &str = "previous";
/// What a promotion replaces.
const OWN: [&str; 6] = [
    "version",
    "subject",
    "timeout_ms",
    "retry",
    "config",
    "instances",
];

/// What flags say of a version.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) parts: Fields,
    /// Laid over the rules that a version has.
    pub(super) rules: Fields,
}

/// A patch of the record, and what it does: `id` is updated, `what` says how.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) patch: Fields,
    pub(super) what: String,
}

/// A record as the router has it.
#[derive(Debug)]
pub(super) struct Known {
    id: String,
    record: Fields,
    versions: Vec<Fields>,
}

impl Known {
    pub(super) fn read(id: &str, record: &str) -> Result<Self, Failure> {
        let unreadable = |error| {
            Failure::Failed(format!(
                "the extension in the answer cannot be read: {error}."
            ))
        };
        let record = Fields::parse(record).map_err(unreadable)?;
        let versions = record.get("versions").map_or("[]", RawValue::get);
        let versions = serde_json::from_str(versions).map_err(unreadable)?;
        Ok(Self {
            id: id.to_owned(),
            record,
            versions,
        })
    }

    /// Without rules a version would take everybody at once; it takes nobody then.
    pub(super) fn add(&self, name: &str, given: &Given) -> Result<Change, Failure> {
        if self.own() == name {
            let message = format!("'{name}' is the own version of '{}'.", self.id);
            return Err(refused(RefusalCode::Conflict, &message));
        }
        if self.find(name).is_some() {
            let message = format!(
                "'{}' has a version '{name}' already; `ext version update {} {name}` changes it.",
                self.id, self.id
            );
            return Err(refused(RefusalCode::Conflict, &message));
        }
        let mut version = given.parts.clone();
        version.set_text("version", name);
        let mut rules = given.rules.clone();
        if rules.is_empty() {
            rules.set("percent", raw(&0)?);
        }
        version.set("routing_rules", raw(&rules)?);
        let what = format!("has version '{name}' ({})", canary::who_gets(&version));
        let versions = self.versions.iter().cloned().chain([version]);
        Ok(Change {
            patch: with_versions(versions.collect())?,
            what,
        })
    }

    pub(super) fn update(&self, name: &str, given: &Given) -> Result<Change, Failure> {
        let at = self.position(name)?;
        if given.parts.is_empty() && given.rules.is_empty() {
            return Err(Failure::Usage(
                "nothing to change: give a flag such as --percent.".to_owned(),
            ));
        }
        let mut versions = self.versions.clone();
        let Some(version) = versions.get_mut(at) else {
            return Err(self.unknown(name));
        };
        version.overlay(&given.parts);
        if !given.rules.is_empty() {
            let mut rules = object(version, "routing_rules");
            rules.overlay(&given.rules);
            version.set("routing_rules", raw(&rules)?);
        }
        let what = format!("has version '{name}' ({})", canary::who_gets(version));
        Ok(Change {
            patch: with_versions(versions)?,
            what,
        })
    }

    pub(super) fn remove(&self, name: &str) -> Result<Change, Failure> {
        let at = self.position(name)?;
        Ok(Change {
            patch: with_versions(self.all_but(at))?,
            what: format!("has no version '{name}' any more"),
        })
    }

    /// The version becomes the extension's own, with what it had from the extension.
    pub(super) fn promote(&self, name: &str) -> Result<Change, Failure> {
        let at = self.position(name)?;
        let Some(version) = self.versions.get(at) else {
            return Err(self.unknown(name));
        };
        let mut patch = with_versions(self.all_but(at))?;
        patch.set_text("version", name);
        for part in ["timeout_ms", "retry"] {
            let given = version.get(part).filter(|raw| raw.get() != "null");
            given
                .into_iter()
                .for_each(|raw| patch.set(part, raw.to_owned()));
        }
        patch.set(
            "subject",
            version.get("subject").unwrap_or(RawValue::NULL).to_owned(),
        );
        let mut config = object(&self.record, "config");
        config.overlay(&object(version, "config"));
        patch.set("config", raw(&config)?);
        // They run the old version.
        patch.set("instances", raw(&[(); 0])?);
        patch.set("metadata", raw(&self.remembering()?)?);
        Ok(Change {
            patch,
            what: format!("promoted from '{}' to '{name}'", self.own()),
        })
    }

    pub(super) fn rollback(&self, to: Option<&str>) -> Result<Change, Failure> {
        let previous = self.previous();
        let is_previous = |name: &str| {
            let known = previous
                .as_ref()
                .and_then(|previous| previous.text("version"));
            known.as_deref() == Some(name)
        };
        match (to, &previous) {
            (Some(name), Some(previous)) if is_previous(name) => self.go_back(previous),
            (Some(name), _) => self.promote(name),
            (None, _) if self.versions.iter().any(canary::runs_at_a_percentage) => {
                self.stop_canaries()
            }
            (None, Some(previous)) => self.go_back(previous),
            (None, None) => {
                let message = format!(
                    "'{}' has no canary that runs and no version before '{}'. Name one with --to.",
                    self.id,
                    self.own()
                );
                Err(refused(RefusalCode::NotFound, &message))
            }
        }
    }

    fn stop_canaries(&self) -> Result<Change, Failure> {
        let mut versions = self.versions.clone();
        let mut stopped = Vec::new();
        for version in versions
            .iter_mut()
            .filter(|version| canary::runs_at_a_percentage(version))
        {
            version.set_flag("enabled", false);
            stopped.extend(version.text("version"));
        }
        Ok(Change {
            patch: with_versions(versions)?,
            what: format!(
                "rolled back to '{}', without {}",
                self.own(),
                stopped.join(", ")
            ),
        })
    }

    /// What is left is remembered, so that a second rollback takes back the first.
    fn go_back(&self, previous: &Fields) -> Result<Change, Failure> {
        let mut patch = Fields::default();
        for part in OWN {
            let value = previous.get(part).unwrap_or(RawValue::NULL);
            patch.set(part, value.to_owned());
        }
        patch.set("metadata", raw(&self.remembering()?)?);
        let name = previous.text("version").unwrap_or_default();
        Ok(Change {
            patch,
            what: format!("rolled back from '{}' to '{name}'", self.own()),
        })
    }

    /// The metadata with what the record is now.
    fn remembering(&self) -> Result<Fields, Failure> {
        let present = OWN.into_iter().filter_map(|part| {
            let raw = self.record.get(part)?;
            Some((part.to_owned(), raw.to_owned()))
        });
        let present: Fields = present.collect();
        let mut metadata = object(&self.record, "metadata");
        metadata.set(PREVIOUS, raw(&present)?);
        Ok(metadata)
    }

    fn previous(&self) -> Option<Fields> {
        let previous = object(&object(&self.record, "metadata"), PREVIOUS);
        previous.get("version").is_some().then_some(previous)
    }

    fn own(&self) -> String {
        self.record.text("version").unwrap_or_default()
    }

    fn find(&self, name: &str) -> Option<usize> {
        let mut versions = self.versions.iter();
        versions.position(|version| version.text("version").as_deref() == Some(name))
    }

    fn position(&self, name: &str) -> Result<usize, Failure> {
        self.find(name).ok_or_else(|| self.unknown(name))
    }

    fn all_but(&self, at: usize) -> Vec<Fields> {
        let others = self
            .versions
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at);
        others.map(|(_, version)| version.clone()).collect()
    }

    fn unknown(&self, name: &str) -> Failure {
        if self.own() == name {
            let message = format!(
                "'{name}' is the own version of '{}'; `ext version promote` or `rollback` replaces it.",
                self.id
            );
            return refused(RefusalCode::Conflict, &message);
        }
        let names: Vec<String> = self
            .versions
            .iter()
            .filter_map(|v| v.text("version"))
            .collect();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let hint = match closest(name, &known) {
            Some(near) => format!("did you mean {near}?"),
            None if known.is_empty() => format!("it has only its own, '{}'.", self.own()),
            None => format!("it has {}.", known.join(", ")),
        };
        let message = format!("'{}' has no version '{name}'; {hint}", self.id);
        refused(RefusalCode::NotFound, &message)
    }
}

/// As the router refuses, so that exit code and JSON are the same.
fn refused(code: RefusalCode, message: &str) -> Failure {
    let answer = serde_json::json!({"ok": false, "error": {
        "code": code.as_str(), "message": text::plain(message), "details": {}}});
    RefusedAnswer::in_answer(&answer.to_string())
        .map_or_else(|| Failure::Failed(message.to_owned()), Failure::from)
}

/// The object under a key; absent is empty.
fn object(fields: &Fields, key: &str) -> Fields {
    let raw = fields.get(key);
    raw.and_then(|raw| Fields::parse(raw.get()).ok())
        .unwrap_or_default()
}

fn with_versions(versions: Vec<Fields>) -> Result<Fields, Failure> {
    let mut patch = Fields::default();
    patch.set("versions", raw(&versions)?);
    Ok(patch)
}

fn raw(value: &impl serde::Serialize) -> Result<Box<RawValue>, Failure> {
    to_raw_value(value)
        .map_err(|error| Failure::Failed(format!("cannot write the change: {error}.")))
}

#[cfg(test)]
mod tests;
