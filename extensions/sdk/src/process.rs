//! Extensions as a whole program: logging, signals, a parent that dies, and the exit code.

use std::io::{self, IsTerminal, Read};
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

use crate::extension::Extension;
use crate::program::Program;
use crate::running::Running;
use crate::settings::{CommandLine, LogFormat, Settings};
use crate::start_error::StartError;
use crate::summary::Summary;

/// Set by a parent that holds the other end of stdin, so that its death ends the extension too.
const EXIT_ON_STDIN_EOF: &str = "BEAMLINE_EXIT_ON_STDIN_EOF";
const EX_CONFIG: u8 = 78;
const INTERRUPTED: u8 = 130;

impl Extension {
    /// The whole program: flags and environment, logging, serving, signals, drain. The exit code is
    /// 0 after a clean stop, 2 for wrong flags, 78 for settings that cannot work, 130 when a second
    /// signal cuts the drain short, else 1.
    pub async fn run(self) -> ExitCode {
        Program::of(self).run().await
    }

    /// As [`Extension::run`], for a program that has parsed its own command line.
    pub async fn run_with(self, settings: &Settings) -> ExitCode {
        Program::of(self).run_with(settings).await
    }
}

impl Program {
    /// As [`Extension::run`].
    pub async fn run(self) -> ExitCode {
        let settings = CommandLine::parse().settings;
        self.run_with(&settings).await
    }

    /// As [`Extension::run_with`].
    pub async fn run_with(self, settings: &Settings) -> ExitCode {
        start_logging(settings.log_format);
        log_panics_without_their_text();
        let mut signals = match StopSignals::new() {
            Ok(signals) => signals,
            Err(error) => {
                error!(%error, "cannot listen for signals");
                return ExitCode::FAILURE;
            }
        };
        match self.launch(settings).await {
            Ok(running) => until_stopped(running, &mut signals).await,
            Err(error) => {
                error!(%error, "cannot start");
                exit_code_of_error(&error)
            }
        }
    }
}

async fn until_stopped(mut running: Running, signals: &mut StopSignals) -> ExitCode {
    let serving = async {
        running.ready().await;
        running.ended().await
    };
    tokio::select! {
        summary = serving => return exit_code_of_end(&summary),
        reason = signals.next() => info!(reason, "draining"),
    }
    running.begin_stop();
    tokio::select! {
        summary = running.ended() => exit_code_of_end(&summary),
        reason = signals.next() => {
            info!(reason, "stopped a second time: running calls are abandoned");
            ExitCode::from(INTERRUPTED)
        }
    }
}

fn exit_code_of_end(summary: &Summary) -> ExitCode {
    if summary.asked {
        return ExitCode::SUCCESS;
    }
    error!("the NATS connection is closed for good");
    ExitCode::FAILURE
}

fn exit_code_of_error(error: &StartError) -> ExitCode {
    match error {
        StartError::InvalidName { .. } | StartError::Credentials { .. } => {
            ExitCode::from(EX_CONFIG)
        }
        StartError::ConfigSchemaTooLong(_) | StartError::Connect(_) | StartError::Subscribe(_) => {
            ExitCode::FAILURE
        }
    }
}

/// Everything that may ask the process to end.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    stdin_closed: Option<oneshot::Receiver<()>>,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        let watches_stdin = std::env::var_os(EXIT_ON_STDIN_EOF).is_some_and(|value| value == "1");
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            stdin_closed: watches_stdin.then(watch_stdin),
        })
    }

    /// The next reason to stop. Stdin closes once only.
    async fn next(&mut self) -> &'static str {
        let stdin_closed = self.stdin_closed.as_mut();
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = closed(stdin_closed) => {
                self.stdin_closed = None;
                "stdin closed"
            }
        }
    }
}

async fn closed(stdin: Option<&mut oneshot::Receiver<()>>) {
    match stdin {
        Some(receiver) => {
            let _ = receiver.await;
        }
        None => std::future::pending().await,
    }
}

/// A plain thread: a runtime waits for its blocking reads when it ends, and this read ends only
/// with the parent.
fn watch_stdin() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        let mut stdin = io::stdin().lock();
        loop {
            match stdin.read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        let _ = sender.send(());
    });
    receiver
}

fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,async_nats=warn"));
    let human = match format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // A program that has set up logging itself keeps its own.
    let _ = if human {
        builder.with_ansi(io::stderr().is_terminal()).try_init()
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .try_init()
    };
}

/// A panic's text often holds the value that caused it, and that may come from a payload: log only
/// the place.
fn log_panics_without_their_text() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        error!(place, "panic");
    }));
}
