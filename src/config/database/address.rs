//! Which addresses of a database can be used, and how one is shown.

use std::str::FromStr;

use beamline_domain::suggest::closest;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::super::printout::REDACTED;
use super::super::values::Problem;

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

pub(super) fn check_url(url: &str) -> Result<(), Problem> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        if path.trim_start_matches('/').is_empty() {
            return Err(
                "names no file; use an address such as sqlite://.beamline/registry.db".to_owned(),
            );
        }
        if path.contains(":memory:") || path.contains("mode=memory") {
            return Err(
                "is in memory, where each connection would have a database of its own; name a file"
                    .to_owned(),
            );
        }
        if path.contains("%00") {
            return Err("names no file; no path holds a NUL".to_owned());
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
    if names_several_hosts(rest) {
        return Err(
            "names several hosts, and a router connects to one; name what leads to the primary: a proxy, a virtual \
             address or a name in DNS"
                .to_owned(),
        );
    }
    PgConnectOptions::from_str(url).map(drop).map_err(|error| {
        format!("cannot be used: {error}; special characters in a password are written as %40")
    })
}

/// The address with everything replaced that could be a password. In doubt it replaces too much.
pub(super) fn redact_url(url: &str) -> String {
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

/// What libpq tries in turn; here it would be one host with an odd name.
fn names_several_hosts(rest: &str) -> bool {
    const OF_A_HOST: [&str; 3] = ["host", "hostaddr", "port"];
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let hosts = place.split(['/', '?']).next().unwrap_or_default();
    let lists = |value: &str| value.contains(',') || value.to_ascii_lowercase().contains("%2c");
    lists(hosts) || parameters(rest).any(|(name, value)| OF_A_HOST.contains(&name) && lists(value))
}

fn is_parameter(name: &str) -> bool {
    POSTGRES_PARAMETERS.contains(&name) || name.starts_with("options[")
}
