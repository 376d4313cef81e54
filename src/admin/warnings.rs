//! What is saved, but is probably not what was meant.

use std::collections::BTreeSet;

use beamline_contract::mistake::Mistake;
use beamline_contract::policy::Order;
use beamline_contract::record::ExtensionRecord;
use beamline_domain::policy::Policy;
use beamline_domain::record::{rule_keys, slips};

use super::surroundings::Surroundings;

/// Of an extension, beside those that its reader has.
pub(super) async fn of_extension(all: &Surroundings, extension: &ExtensionRecord) -> Vec<Mistake> {
    let snapshot = all.registry.snapshot();
    let others = snapshot.extensions().iter();
    let elsewhere: BTreeSet<String> = others
        .filter(|other| other.id != extension.id)
        .flat_map(|other| rule_keys(other))
        .collect();
    let mut warnings = slips(extension, &elsewhere);
    warnings.extend(unheard(all, extension).await);
    warnings
}

/// Versions that may get calls, and that nobody serves.
async fn unheard(all: &Surroundings, extension: &ExtensionRecord) -> Vec<Mistake> {
    if extension.versions.is_empty() || extension.is_external() {
        return Vec::new();
    }
    let enabled = extension.versions.iter().enumerate();
    let enabled = enabled.filter(|(_, version)| version.enabled);
    let subjects: Vec<(usize, &str, String)> = enabled
        .map(|(at, version)| {
            let subject = extension.version_subject(version, &all.settings.prefix);
            (at, version.version.as_str(), subject)
        })
        .collect();
    let wanted = subjects.iter().map(|(_, _, subject)| subject.clone());
    let Some(heard) = all.listeners.heard_on(wanted.collect()).await else {
        return Vec::new();
    };
    subjects
        .iter()
        .filter(|(_, _, subject)| !heard.contains(subject))
        .map(|(at, version, subject)| Mistake {
            pointer: format!("/versions/{at}/subject"),
            message: format!(
                "no NATS service listens on {subject}: start {version} before it gets calls \
                 (a program that does not speak the service protocol is not seen)"
            ),
        })
        .collect()
}

/// Of a policy.
pub(super) fn of_policy(all: &Surroundings, policy: &Policy) -> Vec<Mistake> {
    let mut warnings = policy.warnings().to_vec();
    let attempts = all.settings.max_extra_attempts.saturating_add(1);
    let listed = policy.providers.len();
    if policy.order == Order::Priority && listed > attempts {
        warnings.push(Mistake {
            pointer: "/providers".to_owned(),
            message: format!(
                "lists {listed} providers, but one request makes at most {attempts} attempts \
                 (router.max_extra_attempts + 1): when these fail, the others are never asked"
            ),
        });
    }
    warnings
}
