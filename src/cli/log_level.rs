//! `log-level`: what the replicas log, and what they shall log for a time.

use std::time::Duration;

use beamline_contract::admin::{LogLevel, LogLevelAnswer};
use clap::Args;

use super::client::Client;
use super::view::{table, text};
use super::{Console, Failure, milliseconds};
use crate::config::Config;

/// What `log-level` takes besides the global options.
#[derive(Debug, Clone, Args)]
pub struct LogLevelArgs {
    /// A level, or levels for modules after it, such as info,beamline_router::request=off; only
    /// shown without it
    filter: Option<String>,

    /// How long it holds, at most a day
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = super::time, requires = "filter")]
    time: Duration,

    /// Back to the configured filter
    #[arg(long, conflicts_with = "filter")]
    reset: bool,
}

pub(super) async fn run(
    config: &Config,
    args: LogLevelArgs,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    let question = LogLevel {
        for_ms: args.filter.is_some().then(|| milliseconds(args.time)),
        filter: args.filter,
        reset: args.reset.then_some(true),
    };
    let client = Client::connect(config, timeout).await?;
    let answer = client.admin(&question).await?;
    console.answer(answer.raw(), || {
        let told: LogLevelAnswer = answer.read()?;
        let mut table = table::with_header(&["REPLICA", "FILTER", "UNTIL"], &[]);
        table.add_rows(told.replicas.iter().map(|replica| {
            [
                text::plain(&replica.replica_id),
                text::plain(&replica.filter),
                text::or_dash(replica.until.as_deref()),
            ]
        }));
        Ok(table::text(&table))
    })
}
