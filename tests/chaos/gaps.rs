//! Promises that the router is known not to keep yet. A scenario with a known gap is played all the same.

/// A rule that a scenario finds broken, and why that is known.
#[derive(Debug)]
pub(super) struct Gap {
    scenario: &'static str,
    rule: &'static str,
    pub(super) reason: &'static str,
}

const KNOWN: &[Gap] = &[
    Gap { scenario: "C7", rule: "patience", reason: HURRY },
    Gap { scenario: "C7", rule: "breaker", reason: HURRY },
    Gap { scenario: "C9", rule: "breaker", reason: TOO_SOON },
    Gap { scenario: "C9", rule: "I8", reason: TOO_SOON },
    Gap { scenario: "C11", rule: "breaker", reason: TOO_SOON },
    Gap { scenario: "C11", rule: "I8", reason: TOO_SOON },
    Gap { scenario: "C31", rule: "escalation", reason: TOO_HIGH },
    Gap { scenario: "C32", rule: "liveness", reason: SAME_THREADS },
    Gap { scenario: "C32", rule: "shedding", reason: SAME_THREADS },
    Gap { scenario: "C34", rule: "fairness", reason: FIRST_COME },
    Gap { scenario: "C37", rule: "I2", reason: NO_PRIORITY },
    Gap { scenario: "C38", rule: "no errors", reason: WALL_TIME },
];

const TOO_HIGH: &str =
    "an invoker that cannot start ends the supervisor of all invokers, and three of these end the router";
const SAME_THREADS: &str =
    "/healthz is answered by the threads that requests block, and nobody watches how late they are";
const FIRST_COME: &str = "places are given to who comes first, whichever tenant it is";
const NO_PRIORITY: &str = "answers come late when others take both processors";
const WALL_TIME: &str =
    "Router-Deadline is a time of day: extensions drop all calls of a router whose clock is behind theirs";
const HURRY: &str = "an extension that answers 429 with a time to wait is called again before that time";
const TOO_SOON: &str = "a router that is connected again before the extensions are takes their absence for a failure, \
                        and five calls without a responder open their breakers";

pub(super) fn known(scenario: &str, rule: &str) -> bool {
    find(scenario, rule).is_some()
}

fn find(scenario: &str, rule: &str) -> Option<&'static Gap> {
    KNOWN.iter().find(|gap| gap.scenario == scenario && gap.rule == rule)
}

/// The known gaps of a scenario, one a line.
pub(super) fn of(scenario: &str) -> impl Iterator<Item = &'static Gap> {
    KNOWN.iter().filter(move |gap| gap.scenario == scenario)
}
