//! Promises that the router is known not to keep yet. A scenario with a known gap is played all the same.

use std::collections::BTreeSet;

/// A rule that a scenario finds broken, and why that is known.
#[derive(Debug)]
pub(super) struct Gap {
    scenario: &'static str,
    rule: &'static str,
    reason: &'static str,
}

const KNOWN: &[Gap] = &[
    Gap { scenario: "C32", rule: "shedding", reason: SAME_THREADS },
    Gap { scenario: "C37", rule: "I2", reason: NO_PRIORITY },
];

const SAME_THREADS: &str = "nobody watches how late the threads are, so nothing is shed while they are blocked";
const NO_PRIORITY: &str = "answers come late when others take both processors";

pub(super) fn known(scenario: &str, rule: &str) -> bool {
    KNOWN.iter().any(|gap| gap.scenario == scenario && gap.rule == rule)
}

/// Why a scenario has known gaps, each reason once.
pub(super) fn reasons(scenario: &str) -> BTreeSet<&'static str> {
    KNOWN.iter().filter(|gap| gap.scenario == scenario).map(|gap| gap.reason).collect()
}
