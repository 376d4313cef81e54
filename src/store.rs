//! The store of extensions and policies in SQL: Postgres in production, SQLite as the embedded default, one interface.
//!
//! Everything that is SQL is below this module. The two databases share their statements; `backend` holds what differs.

mod backend;
mod change;
mod error;
mod health;
mod listener;
mod migrations;
mod registry;
mod rows;
mod statements;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use beamline_actors::ports::Store;

use crate::config::DatabaseConfig;
use backend::Backend;
use registry::Registry;

pub use migrations::{Applied, MigrationState, MigrationStatus, migrate, migration_status};

/// Why a store cannot even be tried. A database that is away is no reason: each operation says so by itself.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("database.url cannot be used: {0}")]
    Address(String),
    #[error("the directory {} for the database cannot be created: {source}; choose another place in database.url", directory.display())]
    Directory {
        directory: PathBuf,
        source: std::io::Error,
    },
}

/// Opens the store that `database.url` names, without waiting for the database.
pub async fn open(config: &DatabaseConfig) -> Result<Arc<dyn Store>, OpenError> {
    let backend = Backend::new(config)?;
    backend.create_directory().await?;
    let pool = backend.pool(config)?;
    let listener = backend.listen();
    Ok(Arc::new(Registry::new(
        backend,
        pool,
        listener,
        config.acquire_timeout,
    )))
}
