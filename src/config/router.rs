//! What one request may take, and how the router starts and stops.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::memory;
use super::reader::Reader;
use super::values::{Problem, shown};

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
    /// Fewer than that while the router itself is late.
    pub adaptive_limit: bool,
    pub max_in_flight_per_extension: u32,
    /// Bytes of all requests in flight and waiting.
    pub max_bytes_in_flight: usize,
    /// Memory that this process may use, in bytes; `None` where nobody says.
    pub memory_limit: Option<usize>,
    /// Requests of each tenant in a second, and how many may come at once; `None`: as many as it
    /// likes.
    pub tenant_rate: Option<(NonZeroU32, NonZeroU32)>,
    pub max_extensions_per_pipeline: u32,
    /// Retries and fallbacks that one request may make in all.
    pub max_extra_attempts: u32,
    /// The subject of a request names its tenant, so that NATS permissions can bind a gateway to
    /// tenants.
    pub tenant_from_subject: bool,
    /// Gateways here know fewer codes of errors.
    pub legacy_codes: bool,
    /// Answers that the contract does not know are counted and logged, not refused.
    pub tolerates_answers: bool,
    /// How long requests in flight may take to finish after the signal to stop.
    pub drain_timeout: Duration,
    /// Only these tenants are served, none if the list is empty; `None` serves every tenant.
    pub allowed_tenants: Option<Vec<String>>,
}

/// What requests may take of a machine's memory is an eighth, because each byte of them takes three
/// of memory (C35 of the chaos suite); within these.
const LEAST_BYTES: usize = 8 * 1024 * 1024;
const MOST_BYTES: usize = 512 * 1024 * 1024;
const MOST_MEBIBYTES: u32 = 16 * 1024 * 1024;
const MILLISECOND: Duration = Duration::from_millis(1);
/// A policy may raise a provider's limit this far, and nothing may go further.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);

/// `router.tenant_from`.
const MESSAGE: &str = "message";
const SUBJECT: &str = "subject";

/// `router.strict_answers`.
const REFUSE: &str = "refuse";
const WARN: &str = "warn";

impl RouterConfig {
    pub(super) fn read(from: &mut Reader) -> Self {
        let timeouts = MILLISECOND..=LONGEST_TIMEOUT;
        let memory_limit = read_memory_limit(from);
        let router = Self {
            environment: from.text("router.environment", "dev", check_environment),
            state_dir: from.path("router.state_dir", ".beamline"),
            default_timeout: from.duration(
                "router.default_timeout",
                Duration::from_secs(30),
                timeouts.clone(),
            ),
            max_timeout: from.duration(
                "router.max_timeout",
                Duration::from_secs(120),
                timeouts.clone(),
            ),
            max_in_flight: from.number("router.max_in_flight", 1024, 1..=1500),
            adaptive_limit: from.boolean("router.adaptive_limit", true),
            max_in_flight_per_extension: from.number(
                "router.max_in_flight_per_extension",
                500,
                1..=1500,
            ),
            max_bytes_in_flight: read_bytes(from, memory_limit),
            memory_limit,
            tenant_rate: read_tenant_rate(from),
            max_extensions_per_pipeline: from.number(
                "router.max_extensions_per_pipeline",
                32,
                1..=256,
            ),
            max_extra_attempts: from.number("router.max_extra_attempts", 6, 0..=100),
            tenant_from_subject: from.text("router.tenant_from", MESSAGE, check_tenant_from)
                == SUBJECT,
            legacy_codes: from.boolean("router.legacy_codes", false),
            tolerates_answers: from.text("router.strict_answers", REFUSE, check_strictness) == WARN,
            drain_timeout: from.duration("router.drain_timeout", Duration::from_secs(25), timeouts),
            allowed_tenants: from.list("router.allowed_tenants", check_tenant),
        };
        router.check(from);
        router
    }

    fn check(&self, from: &mut Reader) {
        let timeouts = ["router.default_timeout", "router.max_timeout"];
        if from.all_good(&timeouts) && self.default_timeout > self.max_timeout {
            let default = humantime::format_duration(self.default_timeout);
            let max = humantime::format_duration(self.max_timeout);
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

/// Zero stands for what suits this machine.
fn read_bytes(from: &mut Reader, memory_limit: Option<usize>) -> usize {
    match from.number("router.max_bytes_in_flight", 0, 0..=u32::MAX) {
        0 => memory_limit.map_or(MOST_BYTES, |bytes| {
            (bytes / 8).clamp(LEAST_BYTES, MOST_BYTES)
        }),
        bytes => bytes as usize,
    }
}

/// Zero stands for what the control group or the machine has.
fn read_memory_limit(from: &mut Reader) -> Option<usize> {
    match from.number("router.memory_limit_mib", 0, 0..=MOST_MEBIBYTES) {
        0 => memory::available(),
        mebibytes => (mebibytes as usize).checked_mul(1024 * 1024),
    }
}

/// Without a burst of its own, what a second allows may come at once.
fn read_tenant_rate(from: &mut Reader) -> Option<(NonZeroU32, NonZeroU32)> {
    let rate = NonZeroU32::new(from.number("router.tenant_rate", 0, 0..=1_000_000));
    let burst = NonZeroU32::new(from.number("router.tenant_burst", 0, 0..=1_000_000));
    rate.map(|rate| (rate, burst.unwrap_or(rate)))
}

fn check_environment(name: &str) -> Result<(), Problem> {
    let fits = name.len() <= 64
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let problem = || {
        format!(
            "must be at most 64 letters, digits, \"-\", \"_\" and \".\", not {}",
            shown(name)
        )
    };
    fits.then_some(()).ok_or_else(problem)
}

fn check_strictness(word: &str) -> Result<(), Problem> {
    let problem = || format!("must be \"{REFUSE}\" or \"{WARN}\", not {}", shown(word));
    let fits = [REFUSE, WARN].contains(&word);
    fits.then_some(()).ok_or_else(problem)
}

fn check_tenant_from(word: &str) -> Result<(), Problem> {
    let problem = || {
        format!(
            "must be \"{MESSAGE}\" or \"{SUBJECT}\", not {}",
            shown(word)
        )
    };
    let fits = [MESSAGE, SUBJECT].contains(&word);
    fits.then_some(()).ok_or_else(problem)
}

fn check_tenant(tenant: &str) -> Result<(), Problem> {
    let fits = !tenant.is_empty()
        && tenant.len() <= 256
        && !tenant.contains(|c: char| c.is_control() || c.is_whitespace());
    let problem = || {
        format!(
            "must be a list of tenants without blanks and empty names, not of {}",
            shown(tenant)
        )
    };
    fits.then_some(()).ok_or_else(problem)
}
