//! Logging: one line for each event on standard error, because standard output belongs to the command line's answers.
//!
//! A slow or dead reader of the log never holds up the router: lines wait in a queue, and what does not fit is counted.

mod escape;
#[cfg(test)]
mod tests;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tracing::Dispatch;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, TelemetryConfig};

/// Lines that may wait for the reader of the log, a few megabytes.
const WAITING_LINES: usize = 16 * 1024;

/// Keeps the log going; dropping it writes what is still waiting, for at most about a second.
#[derive(Debug)]
#[must_use = "logging ends when this is dropped"]
pub struct Telemetry {
    /// Whether the events of this process come here, and not to an earlier `Telemetry`.
    in_charge: bool,
    _flush: WorkerGuard,
}

/// Sets up logging for this process. If that has been done before, the first one stays.
pub fn start(config: &TelemetryConfig) -> Telemetry {
    let terminal = io::stderr().is_terminal();
    let style = match (config.log_format, terminal) {
        (LogFormat::Json, _) | (LogFormat::Auto, false) => Style::Json,
        (LogFormat::Human, _) | (LogFormat::Auto, true) => Style::Human {
            colours: terminal && colours_are_welcome(),
        },
    };
    let (writer, dropped, flush) = queue_to(io::stderr(), WAITING_LINES);
    let events = subscriber(style, &config.log_filter, writer);
    let in_charge = tracing::dispatcher::set_global_default(events).is_ok();
    if in_charge {
        std::panic::set_hook(Box::new(log_panic));
        // Only the first is in charge.
        let _ = DROPPED.set(dropped);
    }
    Telemetry {
        in_charge,
        _flush: flush,
    }
}

/// How many lines of this process's log were lost, for the metrics.
pub fn dropped_lines() -> u64 {
    DROPPED.get().map_or(0, DroppedLines::count)
}

static DROPPED: OnceLock<DroppedLines> = OnceLock::new();

impl Drop for Telemetry {
    fn drop(&mut self) {
        // From here on nobody writes the log; a later panic must not vanish. Taking the hook is not allowed in one.
        if self.in_charge && !std::thread::panicking() {
            drop(std::panic::take_hook());
        }
    }
}

/// Counts the log lines that were lost: the queue was full, or the write failed because of a full disk or a closed pipe.
#[derive(Debug)]
struct DroppedLines {
    queue: ErrorCounter,
    output: Arc<AtomicU64>,
}

impl DroppedLines {
    fn count(&self) -> u64 {
        self.output
            .load(Ordering::Relaxed)
            .saturating_add(self.queue.dropped_lines() as u64)
    }
}

/// Form of the lines, with what `auto` means already decided.
#[derive(Debug, Clone, Copy)]
enum Style {
    Json,
    Human { colours: bool },
}

fn subscriber<W>(style: Style, filter: &str, writer: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse_lossy(with_quiet_client(filter));
    let builder = fmt().with_env_filter(filter).log_internal_errors(false);
    match style {
        Style::Json => {
            let writer = escape::JsonLines::new(writer);
            let builder = builder
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false);
            builder.with_writer(writer).into()
        }
        Style::Human { colours } => {
            let fields = fmt::format::debug_fn(escape::field).delimited(" ");
            builder
                .fmt_fields(fields)
                .with_ansi(colours)
                .with_writer(writer)
                .into()
        }
    }
}

/// The NATS client writes an error for each attempt to connect; what matters of that the connection says by itself. Whoever
/// names the client in the filter, hears it. The filter was checked with the configuration.
fn with_quiet_client(filter: &str) -> String {
    if filter.contains("async_nats") {
        filter.to_owned()
    } else {
        format!("{filter},async_nats=off")
    }
}

fn queue_to(
    output: impl Write + Send + 'static,
    lines: usize,
) -> (NonBlocking, DroppedLines, WorkerGuard) {
    let lost = Arc::new(AtomicU64::new(0));
    let output = Counted {
        output,
        lost: lost.clone(),
    };
    let builder = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(lines)
        .thread_name("log");
    let (writer, flush) = builder.finish(output);
    let dropped = DroppedLines {
        queue: writer.error_counter(),
        output: lost,
    };
    (writer, dropped, flush)
}

/// Counts the lines that could not be written; the queue would forget them.
struct Counted<W> {
    output: W,
    lost: Arc<AtomicU64>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    /// Called once for each line.
    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        if self.output.write_all(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// A panic is an event like any other, so that every line of the log has the same form.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let reason = panic.payload_as_str().unwrap_or("no text");
    let place = panic.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let thread = std::thread::current();
    tracing::error!(
        error = reason,
        place,
        backtrace,
        thread = thread.name(),
        "panicked"
    );
}

/// See <https://no-color.org>.
fn colours_are_welcome() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
