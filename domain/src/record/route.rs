//! Which version of an extension takes a request.

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;
use std::time::Duration;

use super::rules::RoutingRules;
use super::slices::{self, slices};
use super::versions::rules_of;
use crate::conditions::Facts;
use beamline_contract::fields::Fields;
use beamline_contract::policy::DEFAULT_SESSION_KEY;
use beamline_contract::record::{ExtensionRecord, ExtensionVersion};

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
    /// The version whose name tells this range of percentages from others.
    range: Arc<str>,
}

impl Route {
    /// The versions of an extension in the order in which they are tried: more conditions first,
    /// then newer. One whose rules cannot be read is never chosen.
    pub fn all_of(extension: &ExtensionRecord) -> Vec<Arc<Self>> {
        let mut readable: Vec<(&ExtensionVersion, RoutingRules)> = Vec::new();
        for version in extension.versions.iter().filter(|version| version.enabled) {
            if let Some(rules) = rules_of(version) {
                readable.push((version, rules));
            }
        }
        let all_rules: Vec<&RoutingRules> = readable.iter().map(|(_, rules)| rules).collect();
        let placed = slices(&all_rules);
        let mut routes: Vec<(usize, Arc<Self>)> = Vec::with_capacity(readable.len());
        for (position, (version, rules)) in readable.iter().enumerate() {
            let mut route = Self::new(extension, version, rules.clone());
            if let Some(slice) = placed.get(position).copied().flatten() {
                let first = readable.get(slice.first);
                route.range = first
                    .map_or(&*version.version, |(first, _)| &first.version)
                    .into();
                let rollout = route.rules.rollout.as_mut();
                rollout
                    .into_iter()
                    .for_each(|rollout| slices::place(rollout, slice));
            }
            routes.push((position, Arc::new(route)));
        }
        routes.sort_by(|(at, a), (bt, b)| {
            let more = Reverse(a.rules.len()).cmp(&Reverse(b.rules.len()));
            more.then_with(|| newer(&b.version, &a.version))
                .then(bt.cmp(at))
        });
        routes.into_iter().map(|(_, route)| route).collect()
    }

    fn new(extension: &ExtensionRecord, version: &ExtensionVersion, rules: RoutingRules) -> Self {
        let mut config = extension.config.clone();
        version.config.iter().for_each(|own| config.overlay(own));
        Self {
            version: version.version.as_str().into(),
            subject: version.subject.as_deref().map(Arc::from),
            timeout: Duration::from_millis(version.timeout_ms.unwrap_or(extension.timeout_ms)),
            retry: version.retry.unwrap_or(extension.retry),
            config: Arc::new(config),
            rules,
            range: version.version.as_str().into(),
        }
    }

    /// Whether it takes this request.
    pub fn takes(&self, extension_id: &str, facts: &Facts<'_>, session_key: Option<&str>) -> bool {
        let session_key = session_key.unwrap_or(DEFAULT_SESSION_KEY);
        self.rules
            .match_all(facts, session_key, (extension_id, &self.range))
    }
}

/// Compares versions as people number them: `v2` is before `v10`, `1.9` before `1.10`.
fn newer(a: &str, b: &str) -> Ordering {
    let mut a = a;
    let mut b = b;
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
