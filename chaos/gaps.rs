//! Promises that the router is known not to keep yet. A scenario with a known gap is played all the
//! same.

use std::collections::BTreeSet;

/// A rule that a scenario finds broken, and why that is known.
#[derive(Debug)]
pub(crate) struct Gap {
    scenario: &'static str,
    rule: &'static str,
    reason: &'static str,
}

const KNOWN: &[Gap] = &[Gap {
    scenario: "C37",
    rule: "I2",
    reason: NO_PRIORITY,
}];

/// Timed from outside in three runs: of 17, 0 and 10 late answers some were written in time and
/// took up to 0.7 s to arrive, others were written up to 1.1 s after the caller's deadline. Every
/// process on the way waits for a processor, NATS in both directions; a deadline counts from when
/// the router has read the request, so it cannot make up for that.
const NO_PRIORITY: &str = "with both processors taken, requests and answers travel for longer than the allowance of 250 ms";

pub(crate) fn known(scenario: &str, rule: &str) -> bool {
    KNOWN
        .iter()
        .any(|gap| gap.scenario == scenario && gap.rule == rule)
}

/// Why a scenario has known gaps, each reason once.
pub(crate) fn reasons(scenario: &str) -> BTreeSet<&'static str> {
    KNOWN
        .iter()
        .filter(|gap| gap.scenario == scenario)
        .map(|gap| gap.reason)
        .collect()
}
