//! What one request may take, and how the router starts and stops.

use std::path::PathBuf;
use std::time::Duration;

/// Section `router`.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Name of the environment that canary rules are compared with.
    pub environment: String,
    /// Directory of the last good snapshot.
    pub state_dir: PathBuf,
    /// Deadline of a request that names none.
    pub default_timeout: Duration,
    /// Longer deadlines are cut to this one.
    pub max_timeout: Duration,
    pub max_in_flight: u32,
    pub max_extensions_per_pipeline: u32,
    /// How long requests in flight may take to finish after the signal to stop.
    pub drain_timeout: Duration,
    /// Only these tenants are served, none if the list is empty; `None` serves every tenant.
    pub allowed_tenants: Option<Vec<String>>,
}
