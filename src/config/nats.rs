//! How the router reaches NATS, and under which subjects it works.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Section `nats`. At most one way to log in is given: a credentials file, a user with a password, or a token.
#[derive(Debug, Clone)]
pub struct NatsConfig {
    /// One server, or several separated by commas. Never holds a user or a password.
    pub url: String,
    /// First tokens of every subject of this router, without a dot at the end.
    pub subject_prefix: String,
    /// JWT and key as written by `nsc`.
    pub creds_file: Option<PathBuf>,
    pub user: Option<String>,
    pub password: Option<SecretString>,
    pub token: Option<SecretString>,
    pub tls: NatsTlsConfig,
    /// Two pings without an answer mean that the connection is dead.
    pub ping_interval: Duration,
    /// How long the router waits for the first connection before it gives up.
    pub startup_timeout: Duration,
}

/// Section `nats.tls`.
#[derive(Debug, Clone)]
pub struct NatsTlsConfig {
    /// Refuse a server that offers no TLS.
    pub required: bool,
    /// Authorities to trust instead of those of the system.
    pub ca_file: Option<PathBuf>,
    /// Own certificate, for servers that ask for one; together with `key_file`.
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}
