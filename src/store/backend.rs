//! The two databases: how to connect to each, and which statements are its own.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use secrecy::ExposeSecret;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyConnection, AnyPool, Executor};

use super::error::OpenError;
use super::listener::{Hints, Listener};
use super::statements::{ConnectionStatements, Statements};
use super::{postgres, sqlite};
use crate::config::DatabaseConfig;

/// A database and where it is.
#[derive(Debug, Clone)]
pub(super) enum Backend {
    Postgres(Box<PgConnectOptions>),
    Sqlite { file: PathBuf },
}

impl Backend {
    pub(super) fn new(config: &DatabaseConfig) -> Result<Self, OpenError> {
        let url = config.url.expose_secret();
        if url.starts_with("sqlite:") {
            return Ok(Self::Sqlite {
                file: sqlite_file(url)?,
            });
        }
        let options = PgConnectOptions::from_str(url).map_err(bad_address)?;
        Ok(Self::Postgres(Box::new(options)))
    }

    /// SQLite creates its file, but not the directory that it is in.
    pub(super) async fn create_directory(&self) -> Result<(), OpenError> {
        let Self::Sqlite { file } = self else {
            return Ok(());
        };
        let Some(directory) = file.parent() else {
            return Ok(());
        };
        let created = tokio::fs::create_dir_all(directory).await;
        created.map_err(|source| OpenError::Directory {
            directory: directory.to_owned(),
            source,
        })
    }

    /// A pool that connects when somebody first asks.
    pub(super) fn pool(&self, config: &DatabaseConfig) -> Result<AnyPool, OpenError> {
        let statements = &self.statements().connection;
        let options = AnyPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(config.acquire_timeout)
            .after_connect(move |connection, _| Box::pin(set_up(connection, statements)));
        Ok(options.connect_lazy_with(self.connect_options(config)?))
    }

    pub(super) fn connect_options(
        &self,
        config: &DatabaseConfig,
    ) -> Result<AnyConnectOptions, OpenError> {
        sqlx::any::install_default_drivers();
        let options = match self {
            Self::Postgres(_) => AnyConnectOptions::from_str(config.url.expose_secret()),
            Self::Sqlite { file } => AnyConnectOptions::from_str(&sqlite_url(file)),
        };
        options.map_err(bad_address)
    }

    pub(super) fn statements(&self) -> &'static Statements {
        match self {
            Self::Postgres(_) => &postgres::STATEMENTS,
            Self::Sqlite { .. } => &sqlite::STATEMENTS,
        }
    }

    /// Who hears of changes that others write, where the database can tell.
    pub(super) fn listener(&self, hints: &Hints) -> Option<Listener> {
        match self {
            Self::Postgres(options) => Some(Listener::new(options.as_ref().clone(), hints.clone())),
            Self::Sqlite { .. } => None,
        }
    }
}

async fn set_up(
    connection: &mut AnyConnection,
    statements: &ConnectionStatements,
) -> Result<(), sqlx::Error> {
    connection.execute(statements.limit).await?;
    let Some(journal) = statements.journal else {
        return Ok(());
    };
    // A file that cannot be written to can still be read.
    if let Err(error) = connection.execute(journal).await {
        tracing::warn!(%error, "the SQLite file is not in WAL mode: readers and writers wait for each other");
    }
    Ok(())
}

fn sqlite_file(url: &str) -> Result<PathBuf, OpenError> {
    // Every connection would have a memory of its own.
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(bad_address(
            "a database in memory cannot be shared; name a file",
        ));
    }
    let options = SqliteConnectOptions::from_str(url).map_err(bad_address)?;
    std::path::absolute(options.get_filename()).map_err(bad_address)
}

fn bad_address(reason: impl Display) -> OpenError {
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
    url + "?mode=rwc"
}
