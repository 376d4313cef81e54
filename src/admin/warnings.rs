//! What is saved, but is probably not what was meant.

use std::collections::BTreeSet;

use beamline_contract::mistake::Mistake;
use beamline_contract::policy::Order;
use beamline_contract::record::ExtensionRecord;
use beamline_domain::policy::Policy;
use beamline_domain::record::{rule_keys, slips};

use super::heard::Heard;
use super::surroundings::Surroundings;

/// Of an extension, beside those that its reader has.
pub(super) fn of_extension(all: &Surroundings, extension: &ExtensionRecord) -> Vec<Mistake> {
    let snapshot = all.registry.snapshot();
    let others = snapshot.extensions().iter();
    let elsewhere: BTreeSet<String> = others
        .filter(|other| other.id != extension.id)
        .flat_map(|other| rule_keys(other))
        .collect();
    slips(extension, &elsewhere)
}

/// Versions that may get calls, by their position, and where they listen.
pub(super) fn called_versions<'e>(
    extension: &'e ExtensionRecord,
    prefix: &str,
) -> Vec<(usize, &'e str, String)> {
    if extension.is_external() {
        return Vec::new();
    }
    let enabled = extension.versions.iter().enumerate();
    let enabled = enabled.filter(|(_, version)| version.enabled);
    enabled
        .map(|(at, version)| {
            let subject = extension.version_subject(version, prefix);
            (at, version.version.as_str(), subject)
        })
        .collect()
}

/// Those that nobody serves.
pub(super) fn unheard(versions: &[(usize, &str, String)], heard: &Heard) -> Vec<Mistake> {
    let unheard = versions
        .iter()
        .filter(|(_, _, subject)| !heard.is_on(subject));
    unheard
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
