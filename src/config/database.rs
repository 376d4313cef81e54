//! Where the registry and the policies are stored.

use std::time::Duration;

use secrecy::SecretString;

/// Section `database`.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `postgres://`, `postgresql://` or `sqlite:`; the scheme chooses the store.
    pub url: SecretString,
    pub max_connections: u32,
    /// How long the router waits for the database at start before it goes on with the last good snapshot.
    pub startup_timeout: Duration,
    /// How long one operation waits for a free connection.
    pub acquire_timeout: Duration,
    pub migrate_on_start: bool,
    /// How often the store is looked at without having been told of a change; whoever waits adds the jitter.
    pub poll_interval: Duration,
}
