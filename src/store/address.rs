//! An address of the configuration as the driver needs it.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::any::AnyConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::error::OpenError;

/// A file and what may be done with it.
#[derive(Debug)]
pub(super) struct Sqlite {
    pub(super) file: PathBuf,
    pub(super) access: SqliteAccess,
    pub(super) options: AnyConnectOptions,
}

/// What `mode` of an address allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SqliteAccess {
    /// `rwc`, and without `mode`: the file is made if it is missing.
    Create,
    /// `rw`: the file has to be there.
    Write,
    /// `ro`, and what is `immutable`.
    Read,
}

pub(super) fn postgres(url: &str) -> Result<AnyConnectOptions, OpenError> {
    let mut options = AnyConnectOptions::from_str(url).map_err(bad)?;
    let host = options.database_url.host_str().unwrap_or_default();
    let ipv6 = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    // The driver would look for a host whose name has brackets; a parameter goes before the host.
    if let Some(ipv6) = ipv6.map(str::to_owned) {
        let url = &mut options.database_url;
        let is_host = |name: &str| name == "host" || name == "hostaddr";
        let is_named = url.query_pairs().any(|(name, _)| is_host(&name));
        url.set_host(Some("localhost")).map_err(bad)?;
        if !is_named {
            url.query_pairs_mut().append_pair("host", &ipv6);
        }
    }
    Ok(options)
}

pub(super) fn sqlite(url: &str) -> Result<Sqlite, OpenError> {
    // Every connection would have a memory of its own.
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(bad("a database in memory cannot be shared; name a file"));
    }
    let options = SqliteConnectOptions::from_str(url).map_err(bad)?;
    let file = std::path::absolute(options.get_filename()).map_err(bad)?;
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let access = access(query);
    let mut whole = AnyConnectOptions::from_str(&sqlite_url(&file)).map_err(bad)?;
    let database_url = &mut whole.database_url;
    database_url.set_query(Some(query).filter(|query| !query.is_empty()));
    if access == SqliteAccess::Create && !query.split('&').any(|pair| pair == CREATE) {
        database_url.query_pairs_mut().append_pair("mode", "rwc");
    }
    Ok(Sqlite {
        file,
        access,
        options: whole,
    })
}

const CREATE: &str = "mode=rwc";

/// The driver has checked the parameters.
fn access(query: &str) -> SqliteAccess {
    let has = |wanted: &[&str]| query.split('&').any(|pair| wanted.contains(&pair));
    if has(&["mode=ro", "immutable=1", "immutable=true"]) {
        SqliteAccess::Read
    } else if has(&["mode=rw"]) {
        SqliteAccess::Write
    } else {
        SqliteAccess::Create
    }
}

pub(super) fn bad(reason: impl Display) -> OpenError {
    OpenError::Address(reason.to_string())
}

/// The address of a file in which any byte of the path is safe.
fn sqlite_url(file: &Path) -> String {
    let mut url = String::from("sqlite://");
    for byte in file.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => url.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => url.push(char::from(*byte)),
            byte => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgConnectOptions;

    use super::*;

    #[test]
    fn an_address_of_ipv6_is_a_host_without_brackets() {
        for (url, host, port) in [
            ("postgres://u:p@[::1]:6543/db", "::1", 6543),
            (
                "postgres://u@[2001:db8::7]/db?sslmode=disable",
                "2001:db8::7",
                5432,
            ),
            ("postgres://u@[::1]/db?host=db.example", "db.example", 5432),
            ("postgres://u@db.example/db", "db.example", 5432),
        ] {
            let options = postgres(url).unwrap();
            let options = PgConnectOptions::try_from(&options).unwrap();
            assert_eq!(
                (options.get_host(), options.get_port()),
                (host, port),
                "{url}"
            );
            assert_eq!(options.get_username(), "u");
            assert_eq!(options.get_database(), Some("db"));
        }
    }

    #[test]
    fn the_mode_of_a_file_is_kept() {
        for (url, access, query) in [
            ("sqlite:///a.db", SqliteAccess::Create, "mode=rwc"),
            ("sqlite:///a.db?mode=rwc", SqliteAccess::Create, "mode=rwc"),
            ("sqlite:///a.db?mode=rw", SqliteAccess::Write, "mode=rw"),
            ("sqlite:///a.db?mode=ro", SqliteAccess::Read, "mode=ro"),
            (
                "sqlite:///a.db?cache=shared&mode=ro",
                SqliteAccess::Read,
                "cache=shared&mode=ro",
            ),
            (
                "sqlite:///a.db?immutable=1",
                SqliteAccess::Read,
                "immutable=1",
            ),
        ] {
            let address = sqlite(url).unwrap();
            assert_eq!(
                (address.access, address.file.as_path()),
                (access, Path::new("/a.db")),
                "{url}"
            );
            assert_eq!(address.options.database_url.query(), Some(query), "{url}");
        }
    }
}
