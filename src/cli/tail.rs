//! `tail`: requests as they are answered, on all replicas.

use std::collections::HashSet;
use std::mem;
use std::time::{Duration, SystemTime};

use beamline_contract::admin::{GetRequest, RequestStory, RequestsAnswer};
use beamline_contract::time::since_1970;
use clap::Args;
use tokio::time::{MissedTickBehavior, interval};

use super::client::Client;
use super::request::Which;
use super::view::story;
use super::{Console, Failure};
use crate::config::Config;

/// What `tail` takes besides the global options.
#[derive(Debug, Clone, Args)]
pub struct TailArgs {
    #[command(flatten)]
    which: Which,

    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = super::time)]
    interval: Duration,
}

/// Clocks of replicas differ, and answers that are told of late are not missed.
const OVERLAP_MS: u64 = 5_000;
const MOST: u32 = 100;

pub(super) async fn run(
    config: &Config,
    args: &TailArgs,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    let client = Client::connect(config, timeout).await?;
    tokio::select! {
        ended = follow(&client, args, console) => ended,
        _interrupted = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn follow(client: &Client, args: &TailArgs, console: Console) -> Result<(), Failure> {
    let mut ticks = interval(args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Seen::since(SystemTime::now());
    let mut is_away = false;
    if !console.is_json() {
        console.print(&story::line_head())?;
    }
    loop {
        ticks.tick().await;
        let question = GetRequest {
            after_ms: Some(seen.newest_ms.saturating_sub(OVERLAP_MS)),
            limit: Some(MOST),
            ..args.which.question()
        };
        let answer = match client.admin(&question).await {
            Ok(answer) => answer,
            Err(Failure::Refused(refusal)) => return Err(Failure::Refused(refusal)),
            // A router that is away for a moment is what somebody waits for.
            Err(failure) => {
                if !mem::replace(&mut is_away, true) {
                    console.warn(&failure.sentence());
                }
                continue;
            }
        };
        is_away = false;
        let found: RequestsAnswer = answer.read()?;
        let is_full = found.requests.len() >= MOST as usize;
        let mut new: Vec<RequestStory> = found
            .requests
            .into_iter()
            .filter(|story| seen.is_new(story))
            .collect();
        new.sort_by_key(|story| story.answered_ms);
        for story in &new {
            if console.is_json() {
                console.print_json_line(&serde_json::to_string(story).unwrap_or_default())?;
            } else {
                console.print(&story::line(story))?;
            }
        }
        if is_full && new.len() >= MOST as usize / 2 {
            console.warn(
                "more are answered than are shown here; say which ones, for example --failed",
            );
        }
    }
}

/// What was shown already.
#[derive(Debug)]
struct Seen {
    newest_ms: u64,
    began_ms: u64,
    shown: HashSet<(String, String, u64)>,
}

impl Seen {
    fn since(now: SystemTime) -> Self {
        Self {
            newest_ms: since_1970(now),
            began_ms: since_1970(now),
            shown: HashSet::new(),
        }
    }

    fn is_new(&mut self, story: &RequestStory) -> bool {
        if story.answered_ms + OVERLAP_MS < self.began_ms {
            return false;
        }
        self.newest_ms = self.newest_ms.max(story.answered_ms);
        let forgotten = self.newest_ms.saturating_sub(2 * OVERLAP_MS);
        self.shown.retain(|(_, _, at)| *at >= forgotten);
        let key = (
            story.replica_id.clone(),
            story.trace_id.clone(),
            story.answered_ms,
        );
        self.shown.insert(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(trace_id: &str, answered_ms: u64) -> RequestStory {
        RequestStory {
            trace_id: trace_id.to_owned(),
            answered_ms,
            ..RequestStory::default()
        }
    }

    #[test]
    fn each_request_is_shown_once_also_one_that_is_told_of_late() {
        let mut seen = Seen::since(SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        assert!(seen.is_new(&story("a", 101_000)));
        assert!(!seen.is_new(&story("a", 101_000)));
        assert!(seen.is_new(&story("b", 99_000)), "a clock that is behind");
        assert!(!seen.is_new(&story("c", 90_000)), "before it began");
        assert_eq!(seen.newest_ms, 101_000);
    }

    #[test]
    fn what_was_shown_does_not_pile_up() {
        let mut seen = Seen::since(SystemTime::UNIX_EPOCH);
        for second in 0..1_000 {
            assert!(seen.is_new(&story("a", second * 1_000)));
        }
        assert!(seen.shown.len() <= 11, "{}", seen.shown.len());
    }
}
