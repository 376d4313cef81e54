//! The routing rules of a version: who may take a request, and which part of all (contract section
//! 3).

use xxhash_rust::xxh3::xxh3_64;

use crate::conditions::{Conditions, Facts};
use crate::document::{Mistakes, Object, shorten};

/// The rules of one version.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoutingRules {
    pub conditions: Conditions,
    pub rollout: Option<Rollout>,
}

/// A part of all sessions or tenants, chosen by a stable hash: whoever is in at 10 % is in at 20 %,
/// on every replica.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// Where its part begins: 0, unless parts of other versions stand before it.
    pub from: f64,
    /// 0 to 100; hundredths count.
    pub percent: f64,
    /// The key whose value is hashed; `None`: the session, and without one the tenant.
    pub by: Option<String>,
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
            conditions.read_or_never(key, raw, &pointer, mistakes);
        }
        Self {
            conditions,
            rollout: percent.map(|percent| Rollout {
                from: 0.0,
                percent,
                by,
            }),
        }
    }

    /// `salt` tells rollouts under different conditions apart, so that two at 10 % are not the same
    /// 10 %.
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

    /// Whether no request can get the version.
    pub fn never(&self) -> bool {
        let takes_nobody = |rollout: &Rollout| rollout.percent <= 0.0;
        self.conditions.never() || self.rollout.as_ref().is_some_and(takes_nobody)
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
        let part = part_of(salt, &value) as f64 * 100.0 / PARTS as f64;
        self.from <= part && part < self.from + self.percent
    }
}

/// Where a value stands in the whole, 0 to 9,999; the same on every replica and in every version of
/// the router.
fn part_of((extension, version): (&str, &str), value: &str) -> u64 {
    let text = [extension, version, value].join("\0");
    xxh3_64(text.as_bytes()) % PARTS
}

#[cfg(test)]
mod tests;
