//! The two databases: how to connect to each, and which statements are its own.

use std::path::PathBuf;

use secrecy::ExposeSecret;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AnyConnection, AnyPool, Executor};

use super::address::{self, SqliteAccess};
use super::error::OpenError;
use super::statements::{ConnectionStatements, Statements};
use super::{postgres, sqlite};
use crate::config::DatabaseConfig;

/// A database and how it is connected to.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    pub(super) kind: Kind,
    pub(super) options: AnyConnectOptions,
}

/// Which database it is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Postgres,
    Sqlite { file: PathBuf, access: SqliteAccess },
}

impl Backend {
    pub(super) fn new(config: &DatabaseConfig) -> Result<Self, OpenError> {
        Self::of(config.url.expose_secret())
    }

    pub(super) fn of(url: &str) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        if !url.starts_with("sqlite:") {
            return Ok(Self {
                kind: Kind::Postgres,
                options: address::postgres(url)?,
            });
        }
        let address::Sqlite {
            file,
            access,
            options,
        } = address::sqlite(url)?;
        Ok(Self {
            kind: Kind::Sqlite { file, access },
            options,
        })
    }

    /// SQLite creates its file, but not the directory that it is in.
    pub(super) async fn create_directory(&self) -> Result<(), OpenError> {
        let Kind::Sqlite {
            file,
            access: SqliteAccess::Create,
        } = &self.kind
        else {
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
    pub(super) fn pool(&self, config: &DatabaseConfig) -> AnyPool {
        let statements = &self.statements().connection;
        let journal = statements.journal.filter(|_| !self.is_read_only());
        AnyPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(config.acquire_timeout)
            .after_connect(move |connection, _| Box::pin(set_up(connection, statements, journal)))
            .connect_lazy_with(self.options.clone())
    }

    pub(super) fn statements(&self) -> &'static Statements {
        match self.kind {
            Kind::Postgres => &postgres::STATEMENTS,
            Kind::Sqlite { .. } => &sqlite::STATEMENTS,
        }
    }

    /// For what only Postgres has; nothing of any other database.
    pub(super) fn postgres(&self) -> Result<Option<PgConnectOptions>, OpenError> {
        match self.kind {
            Kind::Postgres => {
                let options = PgConnectOptions::try_from(&self.options);
                options.map(Some).map_err(address::bad)
            }
            Kind::Sqlite { .. } => Ok(None),
        }
    }

    fn is_read_only(&self) -> bool {
        match self.kind {
            Kind::Postgres => false,
            Kind::Sqlite { access, .. } => access == SqliteAccess::Read,
        }
    }
}

async fn set_up(
    connection: &mut AnyConnection,
    statements: &ConnectionStatements,
    journal: Option<&'static str>,
) -> Result<(), sqlx::Error> {
    connection.execute(statements.limit).await?;
    let Some(journal) = journal else {
        return Ok(());
    };
    // A file that cannot be written to can still be read.
    if let Err(error) = connection.execute(journal).await {
        tracing::warn!(%error, "the SQLite file is not in WAL mode: readers and writers wait for each other");
    }
    Ok(())
}
