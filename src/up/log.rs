//! The router's log while `up` holds the terminal: warnings for the person there, everything else in a file.

use std::fs::File;
use std::io::{self, IsTerminal};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::StartError;
use super::state::StateDir;

/// Keeps the log going; dropping it writes what is still waiting.
#[derive(Debug)]
#[must_use = "logging ends when this is dropped"]
pub struct Log {
    _flush: [WorkerGuard; 2],
}

/// The name of the file among the logs.
pub const ROUTER: &str = "beamline-router";

/// Sets up logging for this process. If that has been done before, the first one stays. `filter` is for the file.
pub fn start(state: &StateDir, filter: &str) -> Result<Log, StartError> {
    let path = state.log_file(ROUTER);
    let file = File::create(&path).map_err(|error| {
        StartError(format!(
            "the log {} cannot be written: {error}.",
            path.display()
        ))
    })?;
    // A terminal that is held (Ctrl-S), or a full disk, must not hold up the router.
    let (terminal, flush_terminal) = NonBlockingBuilder::default()
        .lossy(true)
        .thread_name("log")
        .finish(io::stderr());
    let (file, flush_file) = NonBlockingBuilder::default()
        .lossy(true)
        .thread_name("log-file")
        .finish(file);
    let colours = io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let person = layer()
        .with_ansi(colours)
        .with_target(false)
        .with_writer(terminal)
        .with_filter(LevelFilter::WARN);
    // The filter was checked with the configuration.
    let everything = layer()
        .with_ansi(false)
        .with_writer(file)
        .with_filter(EnvFilter::builder().parse_lossy(filter));
    let subscriber = Registry::default().with(person).with(everything);
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        std::panic::set_hook(Box::new(
            |panic| tracing::error!(error = %panic, "panicked"),
        ));
    }
    Ok(Log {
        _flush: [flush_terminal, flush_file],
    })
}
