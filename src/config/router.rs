//! What one request may take, and how the router starts and stops.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::{Problem, Reader, shown};

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
    /// Retries and fallbacks that one request may make in all.
    pub max_extra_attempts: u32,
    /// How long requests in flight may take to finish after the signal to stop.
    pub drain_timeout: Duration,
    /// Only these tenants are served, none if the list is empty; `None` serves every tenant.
    pub allowed_tenants: Option<Vec<String>>,
}

const MILLISECOND: Duration = Duration::from_millis(1);
/// A policy may raise a provider's limit this far, and nothing may go further.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);

impl RouterConfig {
    pub(super) fn read(from: &mut Reader) -> Self {
        let timeouts = MILLISECOND..=LONGEST_TIMEOUT;
        let router = Self {
            environment: from.text("router.environment", "dev", check_environment),
            state_dir: from.path("router.state_dir", ".beamline"),
            default_timeout: from.duration("router.default_timeout", Duration::from_secs(30), timeouts.clone()),
            max_timeout: from.duration("router.max_timeout", Duration::from_secs(120), timeouts.clone()),
            max_in_flight: from.number("router.max_in_flight", 1024, 1..=1500),
            max_extensions_per_pipeline: from.number("router.max_extensions_per_pipeline", 32, 1..=256),
            max_extra_attempts: from.number("router.max_extra_attempts", 6, 0..=100),
            drain_timeout: from.duration("router.drain_timeout", Duration::from_secs(25), timeouts),
            allowed_tenants: from.list("router.allowed_tenants", check_tenant),
        };
        router.check(from);
        router
    }

    fn check(&self, from: &mut Reader) {
        let timeouts = ["router.default_timeout", "router.max_timeout"];
        if from.all_good(&timeouts) && self.default_timeout > self.max_timeout {
            let (default, max) =
                (humantime::format_duration(self.default_timeout), humantime::format_duration(self.max_timeout));
            let rule = format!(
                "breaks the rule that router.default_timeout ({default}) is not longer than router.max_timeout ({max})"
            );
            from.mistake_between(&timeouts, &rule);
        }
        if self.state_dir.exists() && !self.state_dir.is_dir() {
            from.mistake("router.state_dir", "must be a directory, not a file");
        }
    }
}

fn check_environment(name: &str) -> Result<(), Problem> {
    let fits = name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let problem = || format!("must be at most 64 letters, digits, \"-\", \"_\" and \".\", not {}", shown(name));
    fits.then_some(()).ok_or_else(problem)
}

fn check_tenant(tenant: &str) -> Result<(), Problem> {
    let fits =
        !tenant.is_empty() && tenant.len() <= 256 && !tenant.contains(|c: char| c.is_control() || c.is_whitespace());
    let problem = || format!("must be a list of tenants without blanks and empty names, not of {}", shown(tenant));
    fits.then_some(()).ok_or_else(problem)
}
