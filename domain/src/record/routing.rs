//! Which version of an extension takes a request: its routing rules and percentage rollouts (contract section 3).

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::conditions::{Conditions, Facts};
use crate::document::{Mistakes, Object, shorten};
use crate::policy::Sticky;
use crate::record::extension::{Extension, ExtensionVersion};
use beamline_contract::fields::Fields;

/// The rules of one version.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoutingRules {
    pub conditions: Conditions,
    pub rollout: Option<Rollout>,
}

/// A part of all sessions or tenants, chosen by a stable hash: whoever is in at 10 % is in at 20 %, on every replica.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// 0 to 100; hundredths count.
    pub percent: f64,
    /// The key whose value is hashed; `None`: the session, and without one the tenant.
    pub by: Option<String>,
}

/// A version with what is needed to choose and call it, ready made.
#[derive(Debug)]
pub struct Route {
    pub version: Arc<str>,
    pub subject: Option<Arc<str>>,
    pub timeout: Duration,
    pub retry: u32,
    /// The extension's config overlaid by the version's.
    pub config: Arc<Fields>,
    pub rules: RoutingRules,
}

/// The keys of `routing_rules` that are no conditions.
const PERCENT: &str = "percent";
const PERCENT_BY: &str = "percent_by";
/// Parts of the whole that a rollout is counted in.
const PARTS: u64 = 10_000;

impl RoutingRules {
    /// Reads them as somebody wrote them.
    pub fn read(mut object: Object<'_>, mistakes: &mut Mistakes) -> Self {
        // Nothing is a mistake, too: without a percentage the version would take everybody.
        let percent_given = object.peek(PERCENT).is_some();
        let percent = object.take_any(PERCENT).and_then(|raw| {
            let number = serde_json::from_str::<f64>(raw.get())
                .ok()
                .filter(|n| (0.0..=100.0).contains(n));
            if number.is_none() {
                let message = format!("must be a number from 0 to 100, is {}", shorten(raw.get()));
                mistakes.add(object.at(PERCENT), message);
            }
            number
        });
        let by = object.text(PERCENT_BY, mistakes);
        if by.is_some() && !percent_given {
            mistakes.add(object.at(PERCENT_BY), "says nothing without percent");
        }
        let mut conditions = Conditions::default();
        for (key, raw, pointer) in object.rest() {
            conditions.read(key, raw, &pointer, mistakes);
        }
        Self {
            conditions,
            rollout: percent.map(|percent| Rollout { percent, by }),
        }
    }

    /// `salt` tells rollouts of different versions apart, so that two at 10 % are not the same 10 %.
    pub fn match_all(&self, facts: &Facts<'_>, session_key: &str, salt: (&str, &str)) -> bool {
        let included = |rollout: &Rollout| rollout.includes(facts, session_key, salt);
        self.conditions.matches(facts) && self.rollout.as_ref().is_none_or(included)
    }

    /// The same without the other tenants that they name.
    #[must_use]
    pub fn visible_to(&self, tenant_id: &str) -> Self {
        Self {
            conditions: self.conditions.visible_to(tenant_id),
            rollout: self.rollout.clone(),
        }
    }

    /// How many conditions there are: more beat fewer.
    pub fn len(&self) -> usize {
        self.conditions.len() + usize::from(self.rollout.is_some())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// For an explanation: `tenant = "acme", 10 % of sessions or tenants`.
impl std::fmt::Display for RoutingRules {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_empty() {
            return out.write_str("always");
        }
        write!(out, "{}", self.conditions)?;
        if let Some(rollout) = &self.rollout {
            let comma = if self.conditions.is_empty() { "" } else { ", " };
            let whom = rollout.by.as_deref().unwrap_or("session or tenant");
            write!(out, "{comma}{} % by {whom}", rollout.percent)?;
        }
        Ok(())
    }
}

impl Rollout {
    fn includes(&self, facts: &Facts<'_>, session_key: &str, salt: (&str, &str)) -> bool {
        let value = match &self.by {
            Some(key) => facts.plain(key),
            None => facts
                .plain(session_key)
                .or_else(|| Some(facts.tenant_id.to_owned())),
        };
        // Who has no value of that key is in no part, unless the part is all.
        let Some(value) = value else {
            return self.percent >= 100.0;
        };
        #[expect(clippy::cast_precision_loss, reason = "both are at most 10,000")]
        let inside = part_of(salt, &value) as f64 * 100.0 < self.percent * PARTS as f64;
        inside
    }
}

/// Where a value stands in the whole, 0 to 9,999; the same on every replica and in every version of the router.
fn part_of((extension, version): (&str, &str), value: &str) -> u64 {
    let text = [extension, version, value].join("\0");
    xxh3_64(text.as_bytes()) % PARTS
}

impl Route {
    /// The versions of an extension in the order in which they are tried: more conditions first, then newer. One whose
    /// rules cannot be read is never chosen.
    pub fn all_of(extension: &Extension) -> Vec<Arc<Self>> {
        let mut routes: Vec<(usize, Arc<Self>)> = Vec::new();
        for (position, version) in extension
            .versions
            .iter()
            .enumerate()
            .filter(|(_, version)| version.enabled)
        {
            let json = version.routing_rules.to_json();
            let mut mistakes = Mistakes::default();
            let rules = Object::parse(&json, &mut mistakes)
                .map(|object| RoutingRules::read(object, &mut mistakes));
            if let Ok(rules) = mistakes.into_result(rules) {
                routes.push((position, Arc::new(Self::new(extension, version, rules))));
            }
        }
        routes.sort_by(|(at, a), (bt, b)| {
            let more = Reverse(a.rules.len()).cmp(&Reverse(b.rules.len()));
            more.then_with(|| newer(&b.version, &a.version))
                .then(bt.cmp(at))
        });
        routes.into_iter().map(|(_, route)| route).collect()
    }

    fn new(extension: &Extension, version: &ExtensionVersion, rules: RoutingRules) -> Self {
        let mut config = extension.config.clone();
        version.config.iter().for_each(|own| config.overlay(own));
        Self {
            version: version.version.as_str().into(),
            subject: version.subject.as_deref().map(Arc::from),
            timeout: Duration::from_millis(version.timeout_ms.unwrap_or(extension.timeout_ms)),
            retry: version.retry.unwrap_or(extension.retry),
            config: Arc::new(config),
            rules,
        }
    }

    /// Whether it takes this request.
    pub fn takes(&self, extension_id: &str, facts: &Facts<'_>, session_key: Option<&str>) -> bool {
        let session_key = session_key.unwrap_or(Sticky::DEFAULT_KEY);
        self.rules
            .match_all(facts, session_key, (extension_id, &self.version))
    }
}

/// Compares versions as people number them: `v2` is before `v10`, `1.9` before `1.10`.
fn newer(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() && !b.is_empty() {
        let (part_a, rest_a) = run_of(a);
        let (part_b, rest_b) = run_of(b);
        let order = match (part_a.parse::<u64>(), part_b.parse::<u64>()) {
            (Ok(number_a), Ok(number_b)) => number_a.cmp(&number_b),
            (Ok(_), Err(_)) | (Err(_), Ok(_)) | (Err(_), Err(_)) => part_a.cmp(part_b),
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.len().cmp(&b.len())
}

/// The digits, or what is not a digit, at the start of a text, and the rest.
fn run_of(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text
        .find(|c: char| c.is_ascii_digit() != digits)
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests;
