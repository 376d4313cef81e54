//! Where the registry and the policies are stored.

mod address;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use self::address::{check_url, redact_url};
use super::reader::{Reader, read_secret};

/// Section `database`.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `postgres://`, `postgresql://` or `sqlite:`; the scheme chooses the store.
    pub url: SecretString,
    /// Where the address was read from, and may be another one later.
    pub url_file: Option<PathBuf>,
    pub max_connections: u32,
    /// How long the router waits for the database at start before it goes on with the last good
    /// snapshot.
    pub startup_timeout: Duration,
    /// How long one operation waits for a free connection.
    pub acquire_timeout: Duration,
    pub migrate_on_start: bool,
    /// How often the store is looked at without having been told of a change; whoever waits adds
    /// the jitter.
    pub poll_interval: Duration,
    /// How often changed figures of extensions are written into the store.
    pub health_interval: Duration,
}

const DEFAULT_URL: &str = "sqlite://.beamline/registry.db";

impl DatabaseConfig {
    pub(super) fn read(from: &mut Reader) -> Self {
        let waits = Duration::from_millis(1)..=Duration::from_secs(600);
        let polls = Duration::from_millis(100)..=Duration::from_secs(3600);
        let url = from.secret_or("database.url", DEFAULT_URL, redact_url, check_url);
        Self {
            url,
            url_file: from.file_of_secret("database.url"),
            max_connections: from.number("database.max_connections", 5, 1..=1000),
            startup_timeout: from.duration(
                "database.startup_timeout",
                Duration::from_secs(30),
                waits.clone(),
            ),
            acquire_timeout: from.duration(
                "database.acquire_timeout",
                Duration::from_secs(1),
                waits,
            ),
            migrate_on_start: from.boolean("database.migrate_on_start", true),
            poll_interval: from.duration(
                "database.poll_interval",
                Duration::from_secs(5),
                polls.clone(),
            ),
            health_interval: from.duration(
                "database.health_interval",
                Duration::from_secs(5),
                polls,
            ),
        }
    }

    /// The address as it is now. Blocks for as long as its file takes.
    pub fn url_now(&self) -> Result<SecretString, String> {
        let Some(file) = &self.url_file else {
            return Ok(self.url.clone());
        };
        let in_words = |problem| format!("database.url_file {problem}");
        let (url, _) = read_secret(file).map_err(in_words)?;
        check_url(&url)
            .map_err(|problem| in_words(format!("names a file whose content {problem}")))?;
        Ok(url.into())
    }

    /// The address without its password, for messages and logs.
    pub fn redacted_url(&self) -> String {
        redact_url(self.url.expose_secret())
    }
}
