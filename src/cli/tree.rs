//! `tree`: the supervision tree of a running router, once or again and again.

use std::time::Duration;

use beamline_contract::admin::{SupervisionTree, SupervisionTreeAnswer};
use clap::Args;
use tokio::time::{MissedTickBehavior, interval};

use super::client::{Answer, Client};
use super::view::tree;
use super::{Console, Failure};
use crate::config::Config;

/// What `tree` takes besides the global options.
#[derive(Debug, Clone, Copy, Args)]
pub struct TreeArgs {
    /// Draw it again and again until Ctrl-C
    #[arg(long)]
    watch: bool,

    /// Time between two drawings
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = super::time, requires = "watch")]
    interval: Duration,
}

pub(super) async fn run(
    config: &Config,
    args: &TreeArgs,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    let client = Client::connect(config, timeout).await?;
    if args.watch {
        return tokio::select! {
            ended = watch(&client, args.interval, console) => ended,
            _interrupted = tokio::signal::ctrl_c() => Ok(()),
        };
    }
    let answer = client.admin(&SupervisionTree {}).await?;
    console.answer(answer.raw(), || drawn(&answer, console))
}

/// A router that is away for a moment is what somebody watches for: its absence is drawn, not an
/// end.
async fn watch(client: &Client, pause: Duration, console: Console) -> Result<(), Failure> {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = client.admin(&SupervisionTree {}).await;
        if console.is_json() {
            let document = answer.map_or_else(
                |failure| failure.document(),
                |answer| answer.raw().to_owned(),
            );
            console.print_json_line(&document)?;
        } else {
            let drawn = answer.and_then(|answer| drawn(&answer, console));
            console.redraw(&drawn.unwrap_or_else(|failure| failure.sentence()))?;
        }
    }
}

fn drawn(answer: &Answer<SupervisionTreeAnswer>, console: Console) -> Result<String, Failure> {
    Ok(tree::frame(&answer.read()?, console.look()))
}
