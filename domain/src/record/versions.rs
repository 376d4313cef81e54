//! What is looked at in all versions of an extension together.

use beamline_contract::record::{ExtensionRecord, ExtensionVersion};

use super::rules::RoutingRules;
use super::slices::slices;
use crate::document::{Mistakes, Object, mistake};

/// Parts of one range cannot be more than all of it. Stored ones are cut at its end.
pub(super) fn check_percentages(
    versions: &[ExtensionVersion],
    are_stored: bool,
    mistakes: &mut Mistakes,
) {
    let enabled: Vec<(usize, RoutingRules)> = versions
        .iter()
        .enumerate()
        .filter(|(_, version)| version.enabled)
        .filter_map(|(at, version)| Some((at, rules_of(version)?)))
        .collect();
    let rules: Vec<&RoutingRules> = enabled.iter().map(|(_, rules)| rules).collect();
    for ((at, _), slice) in enabled.iter().zip(slices(&rules)) {
        let Some(slice) = slice.filter(|slice| slice.is_beyond_the_end()) else {
            continue;
        };
        let place = format!("/versions/{at}/routing_rules/percent");
        let sum = slice.from + slice.percent;
        let message = format!(
            "comes to {sum} with the versions before it that have the same other conditions; \
             they share one range, so at most 100 is left for all of them"
        );
        if are_stored {
            mistakes.warn(place, format!("{message}: what is beyond is cut off"));
        } else {
            mistakes.add(place, message);
        }
    }
}

/// The rules of a version; `None` when they cannot be read.
pub(super) fn rules_of(version: &ExtensionVersion) -> Option<RoutingRules> {
    let json = version.routing_rules.to_json();
    let mut mistakes = Mistakes::default();
    let rules =
        Object::parse(&json, &mut mistakes).map(|object| RoutingRules::read(object, &mut mistakes));
    mistakes.into_result(rules).ok()
}

/// What is to be said of a record that an earlier release accepted, a sentence for each.
pub fn stored_warnings(record: &ExtensionRecord) -> Vec<String> {
    let mut mistakes = Mistakes::default();
    check_percentages(&record.versions, true, &mut mistakes);
    let warnings = mistakes.take_warnings().into_iter();
    warnings.map(|found| mistake(found).to_string()).collect()
}
