//! `ext list`: the registry, health and breakers of all extensions, joined in one table.

use beamline_contract::admin::{
    BreakerStatesAnswer, GetCircuitBreakerStates, GetExtensionHealth, HealthAnswer, ListExtensions,
};
use serde::Deserialize;

use super::ListArgs;
use crate::cli::client::{Answer, Client};
use crate::cli::view::extensions::Joined;
use crate::cli::{Console, Failure};

/// The registry is the answer; health and breakers are extra, and their absence is only worth a
/// warning.
pub(super) async fn run(client: &Client, args: ListArgs, console: Console) -> Result<(), Failure> {
    let ListArgs { kind, wide } = args;
    let list = ListExtensions { kind };
    let all_health = GetExtensionHealth::default();
    let all_states = GetCircuitBreakerStates::default();
    let (registry, health, states) = tokio::join!(
        client.admin(&list),
        client.admin(&all_health),
        client.admin(&all_states),
    );
    let registry = registry?;
    let health_answer: Option<HealthAnswer<_>> = extra(&health, "health", console);
    let states_answer: Option<BreakerStatesAnswer<_>> = extra(&states, "breaker states", console);
    let mut joined = Joined {
        registry: registry.read_as()?,
        health: health_answer
            .map(|answer| answer.health)
            .unwrap_or_default(),
        states: states_answer
            .map(|answer| answer.states)
            .unwrap_or_default(),
    };
    joined.keep(kind);
    let document =
        serde_json::to_string(&joined).map_err(|error| Failure::Failed(error.to_string()))?;
    console.answer(&document, || joined.text(wide))
}

fn extra<'a, A, B: Deserialize<'a>>(
    answer: &'a Result<Answer<A>, Failure>,
    name: &str,
    console: Console,
) -> Option<B> {
    let sentence = match answer {
        Ok(answer) => match answer.read_as() {
            Ok(extra) => return Some(extra),
            Err(failure) => failure.sentence(),
        },
        Err(failure) => failure.sentence(),
    };
    console.warn(&format!(
        "without {name}: {}",
        sentence.trim_start_matches("error: ")
    ));
    None
}
