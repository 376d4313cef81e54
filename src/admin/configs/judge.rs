//! Holds configs against the schemas of those who listen where the calls go.
//!
//! A value is a mistake when everybody who would get it refuses it: while a program is replaced, or
//! a version is tried out, what only some refuse is warned of.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use beamline_contract::mistake::Mistake;
use beamline_contract::record::Kind;
use beamline_domain::delivery::Delivery;
use beamline_domain::document::shorten;
use serde_json::Value;

use super::schema::ConfigSchema;
use super::sentence::Slip;
use crate::admin::heard::{Heard, Listener};

/// Bytes of a config that are looked at.
const LARGEST_CONFIG: usize = 64 * 1024;
/// Steps of all checks of one write.
const MOST_STEPS: usize = 500_000;

/// Whether another document may add what a config lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Completed {
    /// A record: policies lay their configs over it.
    Later,
    /// A policy's entry: nothing comes after it.
    Here,
}

/// What is to be said of the configs of one document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::admin) struct Opinion {
    pub(in crate::admin) mistakes: Vec<Mistake>,
    pub(in crate::admin) warnings: Vec<Mistake>,
}

/// Reads each schema once, and counts the steps.
#[derive(Debug)]
pub(super) struct Judge<'h> {
    heard: &'h Heard,
    schemas: HashMap<Arc<str>, Result<ConfigSchema, String>>,
    steps: usize,
}

/// One place of the document.
#[derive(Debug, Default)]
struct Case {
    /// How many get what stands there.
    told: usize,
    /// How many of them refuse it.
    refused: usize,
    /// Another document may mend it.
    is_open: bool,
    slips: BTreeSet<(String, String)>,
    /// The last who refused it, and where it listens.
    who: String,
}

#[derive(Debug, Default)]
struct Findings {
    cases: BTreeMap<String, Case>,
    warnings: BTreeSet<(String, String)>,
}

impl<'h> Judge<'h> {
    pub(super) fn new(heard: &'h Heard) -> Self {
        Self {
            heard,
            schemas: HashMap::new(),
            steps: MOST_STEPS,
        }
    }

    pub(super) fn opinion(&mut self, deliveries: &[Delivery], completed: Completed) -> Opinion {
        let mut findings = Findings::default();
        for delivery in deliveries {
            self.look_at(delivery, completed, &mut findings);
        }
        findings.into_opinion()
    }

    fn look_at(&mut self, delivery: &Delivery, completed: Completed, findings: &mut Findings) {
        let listeners = self.heard.on(&delivery.subject);
        // Who says nothing of configs may take what others refuse.
        for _ in &listeners {
            findings.tell(delivery);
        }
        if listeners.iter().all(|one| one.config_schema.is_none()) {
            return;
        }
        let json = delivery.config.to_json();
        let config = serde_json::from_str::<Value>(&json).ok();
        let Some(config) = config.filter(|_| json.len() <= LARGEST_CONFIG) else {
            let message = "is too large, or has a number that is, to be held against a schema";
            return findings.warn(&delivery.place, message.to_owned());
        };
        for listener in listeners {
            match self.slips(listener, &config) {
                Ok(slips) => findings.take(slips, delivery, listener, completed),
                Err(why) => findings.warn(
                    &delivery.place,
                    format!(
                        "was not held against the schema that {} publishes for {}: it {why}",
                        listener.program, delivery.subject
                    ),
                ),
            }
        }
    }

    fn slips(&mut self, listener: &Listener, config: &Value) -> Result<Vec<Slip>, String> {
        let Some(text) = &listener.config_schema else {
            return Ok(Vec::new());
        };
        let read = || ConfigSchema::read(text);
        let schema = self.schemas.entry(Arc::clone(text)).or_insert_with(read);
        let schema = schema.as_ref().map_err(Clone::clone)?;
        let (slips, left) = schema.slips(config, self.steps)?;
        self.steps = left;
        Ok(slips)
    }
}

impl Findings {
    fn warn(&mut self, place: &str, message: String) {
        self.warnings.insert((place.to_owned(), message));
    }

    /// Somebody gets the config, and all that the document says in it.
    fn tell(&mut self, delivery: &Delivery) {
        for place in delivery.places.values().chain([&delivery.place]) {
            self.cases.entry(place.clone()).or_default().told += 1;
        }
    }

    fn take(
        &mut self,
        slips: Vec<Slip>,
        delivery: &Delivery,
        listener: &Listener,
        completed: Completed,
    ) {
        let mut refused = BTreeSet::new();
        for slip in slips {
            // Callers give parameters as well.
            if slip.is_of_whole && delivery.kind == Kind::Provider {
                continue;
            }
            let (key, rest) = key_and_rest(&slip.pointer);
            let (place, pointer) = match delivery.places.get(&key) {
                Some(place) if !slip.is_of_whole => (place, format!("{place}{rest}")),
                Some(_) | None if slip.is_of_whole => (
                    &delivery.place,
                    format!("{}{}", delivery.place, slip.pointer),
                ),
                Some(_) | None => {
                    let key = shorten(&key);
                    let message = format!(
                        "comes to {} with {key} of its record, which {}",
                        delivery.extension_id, slip.message
                    );
                    self.warn(&delivery.place, message);
                    continue;
                }
            };
            let case = self.cases.entry(place.clone()).or_default();
            case.is_open |= slip.is_of_whole && completed == Completed::Later;
            case.slips.insert((pointer, slip.message));
            case.who = format!("{} on {}", listener.program, delivery.subject);
            refused.insert(place.clone());
        }
        for place in refused {
            self.cases.entry(place).or_default().refused += 1;
        }
    }

    fn into_opinion(self) -> Opinion {
        let mut opinion = Opinion::default();
        for case in self.cases.into_values() {
            let is_refused = case.refused == case.told && !case.is_open;
            for (pointer, message) in case.slips {
                if is_refused {
                    opinion.mistakes.push(Mistake { pointer, message });
                    continue;
                }
                let message = if case.is_open {
                    format!("{message} by {}, unless a policy mends it", case.who)
                } else {
                    format!("{message}: so says {}, others that get it do not", case.who)
                };
                opinion.warnings.push(Mistake { pointer, message });
            }
        }
        let warnings = self.warnings.into_iter();
        opinion
            .warnings
            .extend(warnings.map(|(pointer, message)| Mistake { pointer, message }));
        opinion
    }
}

/// The first key of a pointer as it is spelt in a document, and what follows.
fn key_and_rest(pointer: &str) -> (String, &str) {
    let inside = pointer.strip_prefix('/').unwrap_or_default();
    let end = inside.find('/').unwrap_or(inside.len());
    let (key, rest) = inside.split_at(end);
    (key.replace("~1", "/").replace("~0", "~"), rest)
}

#[cfg(test)]
mod tests;
