//! What differs between the two databases: how to connect, how to begin, and two casts in the statements.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use secrecy::ExposeSecret;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Executor, SqlSafeStr, SqlStr};

use super::OpenError;
use super::listener::Listener;
use crate::config::DatabaseConfig;

/// A database and where it is.
#[derive(Debug, Clone)]
pub(super) enum Backend {
    Postgres(Box<PgConnectOptions>),
    Sqlite { file: PathBuf },
}

/// A lock held elsewhere must not keep an administrator waiting, and a statement ends before the patience of whoever asked for
/// it. The last of several may go on a little longer; it changes nothing then, because nobody commits it. A commit has no
/// limit in Postgres: whoever gives up on one does not know what it did.
const POSTGRES_SESSION: &str = "SET statement_timeout = '2500ms'; SET lock_timeout = '1s'; \
                                SET idle_in_transaction_session_timeout = '10s'";
const SQLITE_SESSION: &str = "PRAGMA busy_timeout = 2000";
/// A migration waits for another process that migrates the same database.
const SQLITE_MIGRATION: &str = "PRAGMA busy_timeout = 30000";
const POSTGRES_MIGRATION: &str =
    "SET statement_timeout = '60s'; SET client_min_messages = 'warning'";
/// Readers go on while somebody writes. Kept in the file, so one success is enough for good.
const SQLITE_JOURNAL: &str = "PRAGMA journal_mode = WAL";

impl Backend {
    pub(super) fn new(config: &DatabaseConfig) -> Result<Self, OpenError> {
        let url = config.url.expose_secret();
        if !url.starts_with("sqlite:") {
            let options = PgConnectOptions::from_str(url)
                .map_err(|error| OpenError::Address(error.to_string()))?;
            return Ok(Self::Postgres(Box::new(options)));
        }
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| OpenError::Address(error.to_string()))?;
        let file = options.get_filename();
        // Every connection would have a memory of its own.
        if url.contains(":memory:") || url.contains("mode=memory") {
            return Err(OpenError::Address(
                "a database in memory cannot be shared; name a file".into(),
            ));
        }
        let file =
            std::path::absolute(file).map_err(|error| OpenError::Address(error.to_string()))?;
        Ok(Self::Sqlite { file })
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
        let sqlite = matches!(self, Self::Sqlite { .. });
        let options = AnyPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(config.acquire_timeout)
            .after_connect(move |connection, _| Box::pin(prepare_session(connection, sqlite)));
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
        options.map_err(|error| OpenError::Address(error.to_string()))
    }

    /// What a connection is told before it migrates.
    pub(super) fn migration_session(&self) -> &'static str {
        match self {
            Self::Postgres(_) => POSTGRES_MIGRATION,
            Self::Sqlite { .. } => SQLITE_MIGRATION,
        }
    }

    /// Starts listening for changes that others write, where the database can tell.
    pub(super) fn listen(&self) -> Listener {
        match self {
            Self::Postgres(options) => Listener::postgres(options.as_ref().clone()),
            Self::Sqlite { .. } => Listener::none(),
        }
    }

    /// Begins a transaction in which every read sees the same revision.
    pub(super) fn begin_read(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Self::Sqlite { .. } => "BEGIN",
        }
    }

    /// What a transaction is told that reads everything: the statement that reads many rows takes its time.
    pub(super) fn load_limits(&self) -> Option<&'static str> {
        match self {
            Self::Postgres(_) => Some("SET LOCAL statement_timeout = '60s'"),
            Self::Sqlite { .. } => None,
        }
    }

    /// Begins a transaction that will write. SQLite takes its lock at once: one taken later is refused, not waited for.
    pub(super) fn begin_write(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "BEGIN",
            Self::Sqlite { .. } => "BEGIN IMMEDIATE",
        }
    }

    /// A statement in this database's words. Statements are written for Postgres; SQLite keeps JSON and times
    /// as text.
    pub(super) fn sql(&self, statement: &'static str) -> SqlStr {
        match self {
            Self::Postgres(_) => SqlStr::from_static(statement),
            Self::Sqlite { .. } => {
                let casts = ["::jsonb", "::json", "::timestamptz"];
                let plain = casts
                    .iter()
                    .fold(statement.to_owned(), |sql, cast| sql.replace(cast, ""));
                AssertSqlSafe(plain).into_sql_str()
            }
        }
    }

    /// True when a commit must be announced to other replicas.
    pub(super) fn notifies(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

async fn prepare_session(connection: &mut AnyConnection, sqlite: bool) -> Result<(), sqlx::Error> {
    if !sqlite {
        return connection.execute(POSTGRES_SESSION).await.map(drop);
    }
    connection.execute(SQLITE_SESSION).await?;
    // A file that cannot be written to can still be read.
    if let Err(error) = connection.execute(SQLITE_JOURNAL).await {
        tracing::warn!(%error, "the SQLite file is not in WAL mode: readers and writers wait for each other");
    }
    Ok(())
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
