//! The log: one line for each event. `serve` writes it to standard error, because standard output
//! belongs to the command line's answers. `up` writes it to a file, and warnings to the terminal.
//!
//! A slow or dead reader of the log never holds up the router: lines wait in a queue, and what does
//! not fit is counted.

mod harmless;
mod levels;
mod panics;
mod queue;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing::{Dispatch, Level, Metadata};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::{FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

pub(crate) use self::levels::levels;

use self::harmless::JsonLines;
use self::levels::Levels;
use self::queue::{DroppedLines, queue_to};
use crate::config::{LogFormat, TelemetryConfig};

/// Lines that may wait for the reader of the log, a few megabytes.
const WAITING_LINES: usize = 16 * 1024;

/// Keeps the log going; dropping it writes what is still waiting, for at most about a second.
#[derive(Debug)]
#[must_use = "logging ends when this is dropped"]
pub struct LogGuard {
    /// Whether the events of this process come here, and not to an earlier log.
    in_charge: bool,
    _flush: Vec<WorkerGuard>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        // From here on nobody writes the log; a later panic must not vanish. Taking the hook is not
        // allowed in one.
        if self.in_charge && !std::thread::panicking() {
            drop(std::panic::take_hook());
        }
    }
}

/// Sets up the log of this process on standard error. If that has been done before, the first one
/// stays.
pub fn start(config: &TelemetryConfig) -> LogGuard {
    let style = style_of(config.log_format, io::stderr().is_terminal());
    let (writer, dropped, flush) = queue_to(io::stderr(), WAITING_LINES);
    let log = log_to(style, &config.log_filter, writer);
    take_charge(log, dropped, vec![flush])
}

/// Sets up the log of this process in `file`, and its warnings on the terminal. If that has been
/// done before, the first one stays. `filter` is for the file.
pub fn start_in_file(file: File, filter: &str) -> LogGuard {
    // A terminal that is held (Ctrl-S), or a full disk, must not hold up the router.
    let (terminal, _dropped, flush_terminal) = queue_to(io::stderr(), WAITING_LINES);
    let (file, dropped, flush_file) = queue_to(file, WAITING_LINES);
    let colours = colours(io::stderr().is_terminal());
    let log = in_file_and_on_terminal(file, filter, terminal, colours);
    take_charge(log, dropped, vec![flush_terminal, flush_file])
}

/// How many lines of this process's log were lost, for the metrics.
pub fn dropped_lines() -> u64 {
    DROPPED.get().map_or(0, DroppedLines::count)
}

/// The field of an event that takes a warning back.
const RECOVERED: &str = "recovered";

static DROPPED: OnceLock<DroppedLines> = OnceLock::new();

fn take_charge(log: Log, dropped: DroppedLines, flush: Vec<WorkerGuard>) -> LogGuard {
    let in_charge = tracing::dispatcher::set_global_default(log.events).is_ok();
    if in_charge {
        log.levels.take_charge();
        std::panic::set_hook(Box::new(panics::log));
        // Only the first is in charge.
        let _first = DROPPED.set(dropped);
    }
    LogGuard {
        in_charge,
        _flush: flush,
    }
}

/// Form of the lines, with what `auto` means already decided.
#[derive(Debug, Clone, Copy)]
enum Style {
    Json,
    Human { colours: bool },
}

fn style_of(format: LogFormat, terminal: bool) -> Style {
    match (format, terminal) {
        (LogFormat::Json, _) | (LogFormat::Auto, false) => Style::Json,
        (LogFormat::Human, _) | (LogFormat::Auto, true) => Style::Human {
            colours: colours(terminal),
        },
    }
}

/// See <https://no-color.org>.
fn colours(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// What takes the events, and the filter that decides which.
struct Log {
    events: Dispatch,
    levels: Levels,
}

fn log_to<W>(style: Style, filter: &str, writer: W) -> Log
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (directives, handle) = reload::Layer::new(directives(filter));
    let layers = Registry::default().with(directives);
    let events = match style {
        Style::Json => {
            let lines = fmt::layer()
                .log_internal_errors(false)
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .with_writer(JsonLines::new(writer));
            layers.with(lines).into()
        }
        Style::Human { colours } => {
            let lines = fmt::layer()
                .log_internal_errors(false)
                .fmt_fields(human_fields())
                .with_ansi(colours)
                .with_writer(writer);
            layers.with(lines).into()
        }
    };
    let levels = Levels::new(filter, handle);
    Log { events, levels }
}

fn in_file_and_on_terminal<F, T>(file: F, filter: &str, terminal: T, colours: bool) -> Log
where
    F: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    T: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let warnings = fmt::layer()
        .fmt_fields(human_fields())
        .with_ansi(colours)
        .with_target(false)
        .with_writer(terminal)
        .with_filter(filter_fn(is_for_the_terminal));
    let (directives, handle) = reload::Layer::new(directives(filter));
    let everything = fmt::layer()
        .fmt_fields(human_fields())
        .with_ansi(false)
        .with_writer(file)
        .with_filter(directives);
    let events = Registry::default().with(warnings).with(everything).into();
    let levels = Levels::new(filter, handle);
    Log { events, levels }
}

/// The filter was checked with the configuration.
fn directives(filter: &str) -> EnvFilter {
    EnvFilter::builder().parse_lossy(without_noise(filter))
}

/// Warnings, and what says that the trouble of one is over.
fn is_for_the_terminal(event: &Metadata<'_>) -> bool {
    *event.level() <= Level::WARN || event.fields().field(RECOVERED).is_some()
}

fn human_fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    fmt::format::debug_fn(harmless::field).delimited(" ")
}

/// The NATS client writes an error for each attempt to connect; what matters of that the connection
/// says by itself. The actor framework has a span for each actor, whose number says nothing.
/// Whoever names one of them in the filter, hears it.
fn without_noise(filter: &str) -> String {
    let mut filter = filter.to_owned();
    for (name, level) in [("async_nats", "off"), ("ractor", "warn")] {
        if !filter.contains(name) {
            filter = format!("{filter},{name}={level}");
        }
    }
    filter
}
