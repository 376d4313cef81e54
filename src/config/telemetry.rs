//! What is logged, and in which form.

mod filter;

/// What is wrong with a filter that somebody wants for a while, as the end of a sentence about it.
pub(crate) fn log_filter_problem(text: &str) -> Option<String> {
    if text.len() > LONGEST_FILTER {
        return Some(format!(
            "has {} bytes; {LONGEST_FILTER} are enough",
            text.len()
        ));
    }
    if text.contains("async_nats") {
        let why =
            "names async_nats, whose lines hold messages and keys: only telemetry.log_filter may";
        return Some(why.to_owned());
    }
    if let Err(problem) = filter::check(text) {
        return Some(problem);
    }
    let silences = !filter::says_a_level_for_all(text);
    silences.then(|| {
        format!("logs nothing but what it names; put a level in front, as in \"info,{text}\"")
    })
}

const LONGEST_FILTER: usize = 1024;

use std::fmt;
use std::str::FromStr;

use super::reader::Reader;

/// Section `telemetry`.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    pub log_format: LogFormat,
    /// Directives as `tracing_subscriber::EnvFilter` reads them, such as `info,sqlx=warn`.
    pub log_filter: String,
    /// Tenants are a label of some metrics.
    pub tenant_label: bool,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `Human` on a terminal, `Json` elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Human,
}

impl TelemetryConfig {
    pub(super) fn read(from: &mut Reader) -> Self {
        let log_format = from.parsed(
            "telemetry.log_format",
            LogFormat::Auto,
            r#""auto", "json" or "human""#,
        );
        let log_filter = from.text("telemetry.log_filter", "info", filter::check);
        if !filter::says_a_level_for_all(&log_filter) {
            from.warn(format!(
                "telemetry.log_filter {log_filter:?} logs nothing but what it names; a level in front is for all else, \
                 as in \"info,{log_filter}\""
            ));
        }
        Self {
            log_format,
            log_filter,
            tenant_label: from.boolean("telemetry.tenant_label", false),
        }
    }
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "human" => Ok(Self::Human),
            _ => Err(()),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Human => "human",
        })
    }
}
