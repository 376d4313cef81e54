//! What changes from one policy to another, in plain words. The forms of their documents do not
//! matter, only what they mean.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{EntryWhen, Policy, Processor, Sticky, Terms, Validator};
use crate::document::shorten;
use beamline_contract::record::{BreakerOverrides, BreakerSetting};

mod changes;
mod fallbacks;
mod fields;
mod providers;

pub use changes::{Change, ChangeKind};

use changes::Changes;

/// Everything that differs, in the order in which a document is read; nothing when both mean the
/// same.
pub fn diff(old: &Policy, new: &Policy) -> Vec<Change> {
    let mut changes = Changes::default();
    changes.value("version", Some(&old.version), Some(&new.version));
    changes.value(
        "policy_id",
        old.policy_id.as_deref(),
        new.policy_id.as_deref(),
    );
    processors("pre", &old.pre, &new.pre, &mut changes);
    validators("validator", &old.validators, &new.validators, &mut changes);
    providers::diff(old, new, &mut changes);
    processors("post", &old.post, &new.post, &mut changes);
    validators(
        "output validator",
        &old.output_validators,
        &new.output_validators,
        &mut changes,
    );
    fallbacks::diff(&old.fallbacks, &new.fallbacks, &mut changes);
    sticky(old.sticky.as_ref(), new.sticky.as_ref(), &mut changes);
    breaker(&old.circuit_breaker, &new.circuit_breaker, &mut changes);
    fields::diff(
        "metadata",
        "metadata",
        &old.metadata,
        &new.metadata,
        &mut changes,
    );
    changes.0
}

fn processors(stage: &str, old: &[Processor], new: &[Processor], changes: &mut Changes) {
    for gone in old
        .iter()
        .filter(|p| !new.iter().any(|other| other.id == p.id))
    {
        changes.removed(&format!("{stage} {}", gone.id));
    }
    for (index, now) in new.iter().enumerate() {
        let what = format!("{stage} {}", now.id);
        let Some(position) = old.iter().position(|p| p.id == now.id) else {
            changes.added(
                &what,
                &format!("{}, {}", now.mode.as_str(), waits(new, index)),
            );
            continue;
        };
        let Some(was) = old.get(position) else {
            continue;
        };
        if was.mode != now.mode {
            changes.changed(
                &what,
                &format!("mode {} -> {}", was.mode.as_str(), now.mode.as_str()),
            );
        }
        if dependencies(was) != dependencies(now) {
            changes.changed(
                &what,
                &format!("starts {} -> {}", waits(old, position), waits(new, index)),
            );
        }
        terms(&what, &was.terms, &now.terms, changes);
        fields::diff(
            &what,
            &format!("config of {}", now.id),
            &was.config,
            &now.config,
            changes,
        );
    }
    let ids = |all: &[Processor]| all.iter().map(|p| p.id.clone()).collect::<Vec<_>>();
    changes.order(stage, &ids(old), &ids(new));
}

/// Their order says nothing.
fn dependencies(processor: &Processor) -> Option<BTreeSet<&str>> {
    processor
        .depends_on
        .as_ref()
        .map(|names| names.iter().map(String::as_str).collect())
}

/// What one of the entries waits for.
fn waits(all: &[Processor], index: usize) -> String {
    let before: Vec<&str> = all
        .iter()
        .take(index)
        .map(|processor| processor.id.as_str())
        .collect();
    match all
        .get(index)
        .and_then(|processor| processor.depends_on.as_deref())
    {
        Some([]) => "at once".to_owned(),
        Some(names) => format!("after {}", names.join(" and ")),
        None if before.is_empty() => "first".to_owned(),
        None => format!("after {}", before.join(" and ")),
    }
}

fn validators(stage: &str, old: &[Validator], new: &[Validator], changes: &mut Changes) {
    let what = |id: &str| format!("{stage} {id}");
    for gone in old
        .iter()
        .filter(|v| !new.iter().any(|other| other.id == v.id))
    {
        changes.removed(&what(&gone.id));
    }
    for now in new {
        let what = what(&now.id);
        let Some(was) = old.iter().find(|v| v.id == now.id) else {
            changes.added(&what, &format!("on_fail {}", now.on_fail.as_str()));
            continue;
        };
        if was.on_fail != now.on_fail {
            changes.changed(
                &what,
                &format!(
                    "on_fail {} -> {}",
                    was.on_fail.as_str(),
                    now.on_fail.as_str()
                ),
            );
        }
        terms(&what, &was.terms, &now.terms, changes);
        fields::diff(
            &what,
            &format!("config of {}", now.id),
            &was.config,
            &now.config,
            changes,
        );
    }
    let ids = |all: &[Validator]| all.iter().map(|v| v.id.clone()).collect::<Vec<_>>();
    changes.order(&format!("{stage}s"), &ids(old), &ids(new));
}

/// When an entry runs, and how long it may take.
fn terms(what: &str, old: &Terms, new: &Terms, changes: &mut Changes) {
    if old.when != new.when {
        let shown = |terms: &Terms| {
            let when = terms.when.as_ref().map(EntryWhen::to_raw);
            when.map_or_else(|| "always".to_owned(), |raw| shorten(raw.get()))
        };
        changes.changed(what, &format!("when {} -> {}", shown(old), shown(new)));
    }
    timeout(what, old.timeout, new.timeout, changes);
}

fn timeout(what: &str, old: Option<Duration>, new: Option<Duration>, changes: &mut Changes) {
    if old != new {
        let shown = |time: Option<Duration>| {
            time.map_or_else(
                || "its record's".to_owned(),
                |time| format!("{} ms", time.as_millis()),
            )
        };
        changes.changed(
            what,
            &format!("timeout_ms {} -> {}", shown(old), shown(new)),
        );
    }
}

fn sticky(old: Option<&Sticky>, new: Option<&Sticky>, changes: &mut Changes) {
    let what = "sticky sessions";
    let ttl = |sticky: &Sticky| humantime::format_duration(sticky.ttl).to_string();
    match (old, new) {
        (None, None) => {}
        (Some(_), None) => changes.push(ChangeKind::Removed, what, format!("{what} are gone")),
        (None, Some(now)) => {
            let sentence = format!("{what} are new (by {}, ttl {})", now.session_key, ttl(now));
            changes.push(ChangeKind::Added, what, sentence);
        }
        (Some(was), Some(now)) => {
            if was.session_key != now.session_key {
                changes.changed(
                    what,
                    &format!("session_key {} -> {}", was.session_key, now.session_key),
                );
            }
            if was.ttl != now.ttl {
                changes.changed(what, &format!("ttl {} -> {}", ttl(was), ttl(now)));
            }
        }
    }
}

fn breaker(old: &BreakerOverrides, new: &BreakerOverrides, changes: &mut Changes) {
    let shown = |number: Option<u32>| {
        number.map_or_else(
            || "the router's own".to_owned(),
            |number| number.to_string(),
        )
    };
    for setting in BreakerSetting::ALL {
        let was = old.get(setting);
        let now = new.get(setting);
        if was != now {
            let sentence = format!("{} {} -> {}", setting.policy_name(), shown(was), shown(now));
            changes.changed("circuit breaker", &sentence);
        }
    }
}

#[cfg(test)]
mod tests;
