//! The store of extensions, policies and keys in SQL: Postgres in production, SQLite as the
//! embedded default, one interface.
//!
//! Everything that is SQL is below this module. Each database has its statements in a file of its
//! own, `postgres` and `sqlite`; all other code serves both.

mod address;
mod address_file;
mod audit;
mod backend;
mod change;
mod error;
mod fleet_keys;
mod health;
mod keys;
mod listener;
mod migrations;
mod nonces;
mod postgres;
mod registry;
mod rows;
mod sqlite;
mod statements;
mod storable;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use beamline_actors::ports::Store;

use crate::config::DatabaseConfig;
use address_file::AddressFile;
use audit::Vouched;
use listener::Hints;
use registry::Registry;

pub use audit::{AuditLog, Entry, Listed, Pruned, Verified};
pub use error::OpenError;
pub use listener::Listener;
pub use migrations::{Applied, MigrationState, MigrationStatus, migrate, migration_status};

/// A store, and who hears of what others write in it, where the database tells.
#[derive(Debug)]
pub struct OpenStore {
    pub store: Arc<dyn Store>,
    pub listener: Option<Listener>,
    pub audit: AuditLog,
}

/// Opens the store that `database.url` names, without waiting for the database.
pub async fn open(config: &DatabaseConfig) -> Result<OpenStore, OpenError> {
    let backend = address_file::backend_now(config).await?;
    backend.create_directory().await?;
    let pool = backend.pool(config);
    let hints = Hints::new();
    let address = AddressFile::new(config);
    let listener = backend
        .postgres()?
        .map(|options| Listener::new(options, hints.clone(), &address));
    let limit = config.acquire_timeout;
    let vouched = Vouched::default();
    let audit = AuditLog::new(backend.statements(), pool.clone(), vouched.clone());
    let registry = Registry::new(backend.statements(), pool, address, hints, limit, vouched);
    Ok(OpenStore {
        store: Arc::new(registry),
        listener,
        audit,
    })
}
