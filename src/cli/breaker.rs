//! `breaker`: the circuit breakers of a running router, and what an operator decides about them for
//! some time.

use std::time::Duration;

use beamline_contract::admin::{
    BreakerStatesAnswer, ExtensionBreakers, GetCircuitBreakerStates, ResetBreaker, SetBreaker,
};
use beamline_contract::record::OperatorState;
use clap::{Args, Subcommand};
use serde_json::value::RawValue;

use super::client::Client;
use super::ext::uses;
use super::view::{breakers, table};
use super::{Console, Failure, milliseconds};
use crate::config::Config;

/// What can be done with breakers.
#[derive(Debug, Clone, Subcommand)]
pub enum BreakerCommand {
    /// List the breakers of all extensions
    List {
        /// Ask all replicas, and count where they are open
        #[arg(long)]
        fleet: bool,
    },
    /// Show the breakers of one extension: state, reason, settings
    Show {
        id: String,
        /// Ask all replicas, and count where they are open
        #[arg(long)]
        fleet: bool,
    },
    /// Keep all calls from an extension
    ForceOpen {
        #[command(flatten)]
        decision: DecisionArgs,
        /// Do not ask, also when policies use it
        #[arg(long)]
        yes: bool,
    },
    /// Let all calls through, whatever the breaker measures
    Disable(DecisionArgs),
    /// Let all calls through, and show what the breaker would have done
    MetricsOnly(DecisionArgs),
    /// Close the breakers of an extension, and end what an operator has decided about them
    Reset {
        id: String,
        /// Why
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

/// A decision about the breakers of one extension.
#[derive(Debug, Clone, Args)]
pub struct DecisionArgs {
    id: String,
    /// How long it holds, at most 24h
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = super::time)]
    time: Duration,
    /// Why, for whoever finds it like this
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) async fn run(
    config: &Config,
    command: BreakerCommand,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    let client = Client::connect(config, timeout).await?;
    match command {
        BreakerCommand::List { fleet } => list(&client, fleet, console).await,
        BreakerCommand::Show { id, fleet } => show(&client, id, fleet, console).await,
        BreakerCommand::ForceOpen { decision, yes } => {
            let named = uses::name(&client, &decision.id, "kept from all calls", console).await;
            if yes || named.is_empty() || !console.can_ask() {
                return decide(&client, OperatorState::ForcedOpen, decision, console).await;
            }
            console.confirm(&format!("Keep all calls from '{}'?", decision.id))?;
            // A person may take longer than a connection.
            let client = Client::connect(config, timeout).await?;
            decide(&client, OperatorState::ForcedOpen, decision, console).await
        }
        BreakerCommand::Disable(args) => {
            decide(&client, OperatorState::Disabled, args, console).await
        }
        BreakerCommand::MetricsOnly(args) => {
            decide(&client, OperatorState::MetricsOnly, args, console).await
        }
        BreakerCommand::Reset { id, reason } => {
            reset(&client, ResetBreaker { id, reason }, console).await
        }
    }
}

async fn list(client: &Client, fleet: bool, console: Console) -> Result<(), Failure> {
    let answer = client
        .admin(&GetCircuitBreakerStates {
            id: None,
            fleet: Some(fleet),
        })
        .await?;
    console.answer(answer.raw(), || {
        Ok(breakers::list(&answer.read()?.states, fleet))
    })
}

/// With `--output json` the entry of the extension as the router wrote it.
async fn show(client: &Client, id: String, fleet: bool, console: Console) -> Result<(), Failure> {
    let question = GetCircuitBreakerStates {
        id: Some(id.clone()),
        fleet: Some(fleet),
    };
    let answer = client.admin(&question).await?;
    let written: BreakerStatesAnswer<&RawValue> = answer.read_as()?;
    let entry = written
        .states
        .get(&id)
        .ok_or_else(|| Failure::Failed(format!("'{id}' has just been deleted.")))?;
    console.answer(entry.get(), || {
        let entry: ExtensionBreakers = serde_json::from_str(entry.get()).map_err(|error| {
            Failure::Failed(format!(
                "a breaker in the answer cannot be read: {error}. See --output json."
            ))
        })?;
        Ok(table::of_fields(&breakers::fields(&id, &entry)))
    })
}

async fn decide(
    client: &Client,
    state: OperatorState,
    args: DecisionArgs,
    console: Console,
) -> Result<(), Failure> {
    let decision = SetBreaker {
        id: args.id,
        state: state.as_str().into(),
        for_ms: Some(milliseconds(args.time)),
        reason: args.reason,
    };
    let answer = client.admin(&decision).await?;
    console.answer(answer.raw(), || {
        Ok(breakers::decided(&decision.id, &answer.read()?))
    })
}

async fn reset(client: &Client, reset: ResetBreaker, console: Console) -> Result<(), Failure> {
    let answer = client.admin(&reset).await?;
    console.answer(answer.raw(), || {
        Ok(breakers::was_reset(&reset.id, &answer.read()?))
    })
}
