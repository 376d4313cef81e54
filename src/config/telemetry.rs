//! What is logged, and in which form.

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
