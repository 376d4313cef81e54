//! Where the registry and the policies are stored.

use std::str::FromStr;
use std::time::Duration;

use beamline_domain::suggest::closest;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::printout::REDACTED;
use super::reader::Reader;
use super::values::Problem;

/// Section `database`.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `postgres://`, `postgresql://` or `sqlite:`; the scheme chooses the store.
    pub url: SecretString,
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

/// Parameters that a Postgres address may have. sqlx only logs the others, and logs them with their
/// values.
const POSTGRES_PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
    PASSWORD_PARAMETER,
];
const PASSWORD_PARAMETER: &str = "password";

impl DatabaseConfig {
    pub(super) fn read(from: &mut Reader) -> Self {
        let waits = Duration::from_millis(1)..=Duration::from_secs(600);
        let polls = Duration::from_millis(100)..=Duration::from_secs(3600);
        Self {
            url: from.secret_or("database.url", DEFAULT_URL, redact_url, check_url),
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

    /// The address without its password, for messages and logs.
    pub fn redacted_url(&self) -> String {
        redact_url(self.url.expose_secret())
    }
}

fn check_url(url: &str) -> Result<(), Problem> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        if path.trim_start_matches('/').is_empty() {
            return Err(
                "names no file; use an address such as sqlite://.beamline/registry.db".to_owned(),
            );
        }
        return SqliteConnectOptions::from_str(url)
            .map(drop)
            .map_err(|error| format!("cannot be used: {error}"));
    }
    let Some(rest) = url
        .strip_prefix("postgres://")
        .or_else(|| url.strip_prefix("postgresql://"))
    else {
        return Err("must start with postgres://, postgresql:// or sqlite:".to_owned());
    };
    if let Some((unknown, _)) = parameters(rest).find(|(name, _)| !is_parameter(name)) {
        // After a slip with the separators, the unknown name may be a piece of the password.
        let known = POSTGRES_PARAMETERS.join(", ");
        return Err(match closest(unknown, &POSTGRES_PARAMETERS) {
            Some(name) => format!("has an unknown parameter; did you mean {name}?"),
            None => format!("has an unknown parameter; there are {known}"),
        });
    }
    PgConnectOptions::from_str(url).map(drop).map_err(|error| {
        format!("cannot be used: {error}; special characters in a password are written as %40")
    })
}

/// The address with everything replaced that could be a password. In doubt it replaces too much.
fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return if url.starts_with("sqlite:") {
            url.to_owned()
        } else {
            REDACTED.to_owned()
        };
    };
    if scheme == "sqlite" {
        return url.to_owned();
    }
    // A password that was not escaped may hold any of "/?#@", so it ends at the last "@".
    let (login, rest) = rest
        .rsplit_once('@')
        .map_or((None, rest), |(login, rest)| (Some(login), rest));
    let login = match login.map(|login| login.split_once(':').ok_or(login)) {
        None => String::new(),
        Some(Ok((user, _))) => format!("{user}:{REDACTED}@"),
        Some(Err(user)) if user.contains(['/', '?', '#']) => {
            return format!("{scheme}://{REDACTED}");
        }
        Some(Err(user)) => format!("{user}@"),
    };
    let place = rest.split('?').next().unwrap_or_default();
    let is_plain = |name: &str| is_parameter(name) && name != PASSWORD_PARAMETER;
    let shown = parameters(rest)
        .map(|(name, value)| format!("{name}={}", if is_plain(name) { value } else { REDACTED }));
    let query = shown.collect::<Vec<_>>().join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{scheme}://{login}{place}{mark}{query}")
}

/// Names and values after the "?", as they are written.
fn parameters(rest: &str) -> impl Iterator<Item = (&str, &str)> {
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn is_parameter(name: &str) -> bool {
    POSTGRES_PARAMETERS.contains(&name) || name.starts_with("options[")
}
