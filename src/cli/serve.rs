//! `serve`: a router in production. Everything comes from the configuration, nothing is started on
//! the side.

use super::Failure;
use super::stops::{INTERRUPTED, Stops};
use super::view::text;
use crate::config::Config;
use crate::observe::logs;
use crate::own_files;
use crate::router::{Prepared, StartError, StopReport};

/// Runs a router until it is told to stop: log, start, wait, drain.
pub async fn run(config: Config) -> Result<(), Failure> {
    let mut stops = Stops::new()?;
    own_files::close_new_files();
    // Kept to the end, so that the last lines are written.
    let _log = logs::start(&config.telemetry);
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    for opening in config.openings() {
        tracing::info!("open: {opening}");
    }
    let prepared = tokio::select! {
        prepared = Prepared::new(config) => prepared?,
        () = stops.wish() => return Ok(()),
    };
    // From here on requests may come, so that a signal is heard only when they can be drained.
    let mut router = prepared.start().await?;
    tracing::info!(http = %router.http_address(), "ready");
    let ended = tokio::select! {
        () = router.ended() => Err(gave_up()),
        () = stops.wish() => Ok(()),
    };
    tokio::select! {
        report = router.stop() => ended.and(outcome(report)),
        () = stops.impatience() => std::process::exit(INTERRUPTED),
    }
}

fn gave_up() -> Failure {
    Failure::GaveUp(
        "the router gave up after too many restarts; its log says which part failed.".into(),
    )
}

/// A stop that cost somebody an answer is no success.
pub(super) fn outcome(report: StopReport) -> Result<(), Failure> {
    if report.clean() {
        return Ok(());
    }
    let stopped = format!(
        "stopped with {} told to try again elsewhere",
        text::count(report.cut, "request")
    );
    Err(match (report.cut, report.flushed) {
        (_, true) => Failure::Cut(format!(
            "{stopped}; a longer router.drain_timeout lets them finish."
        )),
        (0, false) => Failure::NotFlushed(
            "stopped, and the last answers may not have reached NATS.".to_owned(),
        ),
        (_, false) => Failure::NotFlushed(format!(
            "{stopped}; the last answers may not have reached NATS."
        )),
    })
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Unreachable(sentence) => Self::Unreachable(sentence),
            StartError::Failed(sentence) => Self::Failed(sentence),
        }
    }
}
