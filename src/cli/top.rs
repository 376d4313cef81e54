//! `top`: what all replicas serve now, refreshed, with the last minutes as sparklines.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use beamline_contract::admin::{
    CallPlaces, GetExtensionHealth, GetStats, HealthAnswer, StatsAnswer,
};
use beamline_contract::time::since_1970;
use clap::Args;
use tokio::time::{MissedTickBehavior, interval};

use super::client::Client;
use super::view::{text, top};
use super::{Console, Failure, milliseconds};
use crate::config::Config;

/// What `top` takes besides the global options.
#[derive(Debug, Clone, Copy, Args)]
pub struct TopArgs {
    /// How far back the sparklines go, at most six hours
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = super::time)]
    last: Duration,

    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = super::time)]
    interval: Duration,

    /// Look once
    #[arg(long, conflicts_with = "interval")]
    once: bool,
}

/// Columns of a sparkline.
const STEPS: u32 = 30;

pub(super) async fn run(
    config: &Config,
    args: TopArgs,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    let client = Client::connect(config, timeout).await?;
    let question = GetStats {
        last_ms: Some(milliseconds(args.last)),
        steps: Some(STEPS),
        tenant_id: None,
    };
    if args.once {
        let answer = client.admin(&question).await?;
        let places = places(&client).await?;
        return console.answer(answer.raw(), || {
            Ok(drawn(&answer.read()?, &places, args.last, console))
        });
    }
    tokio::select! {
        ended = refresh(&client, &question, args, console) => ended,
        _interrupted = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn refresh(
    client: &Client,
    question: &GetStats,
    args: TopArgs,
    console: Console,
) -> Result<(), Failure> {
    let mut ticks = interval(args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = client.admin(question).await;
        if console.is_json() {
            let document = answer.map_or_else(
                |failure| failure.document(),
                |answer| answer.raw().to_owned(),
            );
            console.print_json_line(&document)?;
            continue;
        }
        // A router that is away for a moment is drawn, and not an end.
        let drawn = match answer {
            Ok(answer) => match (answer.read(), places(client).await) {
                (Ok(stats), Ok(places)) => drawn(&stats, &places, args.last, console),
                (Err(failure), _) | (_, Err(failure)) => failure.sentence(),
            },
            Err(failure) => failure.sentence(),
        };
        console.redraw(&drawn)?;
    }
}

/// The calls of each extension at the replica that answers.
async fn places(client: &Client) -> Result<BTreeMap<String, CallPlaces>, Failure> {
    let answer = client.admin(&GetExtensionHealth { id: None }).await?;
    let health: HealthAnswer = answer.read()?;
    let places = health.health.into_iter();
    let places = places.filter_map(|(id, health)| Some((id, health.places?)));
    Ok(places.collect())
}

fn drawn(
    stats: &StatsAnswer,
    places: &BTreeMap<String, CallPlaces>,
    last: Duration,
    console: Console,
) -> String {
    let now_ms = since_1970(SystemTime::now());
    top::frame(stats, places, now_ms, &text::limit(last), console.look())
}
