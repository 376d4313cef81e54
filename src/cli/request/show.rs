//! `request show`: what happened to one request, or to the last ones, on whichever replica.

use std::time::Duration;

use beamline_contract::admin::{GetRequest, RequestsAnswer};
use clap::Args;

use super::which::Which;
use crate::cli::client::Client;
use crate::cli::view::story;
use crate::cli::{Console, Failure};
use crate::config::Config;

/// Which requests.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// Its request_id or trace_id; the last one that fits unless given
    id: Option<String>,

    /// The last one that fits, as without an id
    #[arg(long, conflicts_with = "id")]
    last: bool,

    #[command(flatten)]
    which: Which,

    /// At most so many, the newest first
    #[arg(long, value_name = "MANY", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
}

pub(super) async fn run(
    config: &Config,
    args: &ShowArgs,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    let question = GetRequest {
        id: args.id.clone(),
        limit: Some(args.limit),
        ..args.which.question()
    };
    let client = Client::connect(config, timeout).await?;
    let answer = client.admin(&question).await?;
    console.answer(answer.raw(), || {
        let found: RequestsAnswer = answer.read()?;
        Ok(story::all(&found, console.look()))
    })
}
