//! What is logged, and in which form.

use std::fmt;
use std::str::FromStr;

use beamline_domain::suggest::closest;
use tracing_subscriber::EnvFilter;

use super::reader::Reader;
use super::values::{Problem, shown};

/// Section `telemetry`.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    pub log_format: LogFormat,
    /// Directives as `tracing_subscriber::EnvFilter` reads them, such as `info,sqlx=warn`.
    pub log_filter: String,
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
        Self {
            log_format: from.parsed(
                "telemetry.log_format",
                LogFormat::Auto,
                r#""auto", "json" or "human""#,
            ),
            log_filter: from.text("telemetry.log_filter", "info", check_filter),
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

fn check_filter(filter: &str) -> Result<(), Problem> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    EnvFilter::builder().parse(filter).map_err(|error| {
        format!(
            "must be a log filter such as \"info,sqlx=warn\", not {}: {error}",
            shown(filter)
        )
    })?;
    // To the filter a misspelled level is the name of a module, and nearly nothing would be logged.
    let lower = |word: &str| word.trim().to_ascii_lowercase();
    let slip = filter
        .split(',')
        .map(lower)
        .find_map(|word| match closest(&word, &LEVELS) {
            Some(level) if level != word => Some(format!(
                "has no level {}; did you mean {level}?",
                shown(&word)
            )),
            _ => None,
        });
    slip.map_or(Ok(()), Err)
}
