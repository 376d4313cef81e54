//! Brings the database to the schema of this version. Several replicas may start at once: one
//! migrates, the others wait for it and find nothing left to do.

mod files;

use std::borrow::Cow;
use std::time::Duration;

use beamline_actors::ports::StoreError;
use serde::Serialize;
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, MigrationType};
use sqlx::{AnyConnection, Connection, Executor, SqlStr};
use tokio::time::timeout;

use self::files::File;
use super::address_file::backend_now;
use super::backend::{Backend, Kind};
use super::error::{self, OpenError};
use crate::config::DatabaseConfig;

/// A migration that was applied just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    pub version: i64,
    pub description: String,
}

/// One migration, and how the database stands to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MigrationStatus {
    pub version: i64,
    pub description: String,
    pub state: MigrationState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MigrationState {
    Applied,
    Pending,
    /// Applied with another text than this version has.
    Changed,
    /// Applied by a newer version of the router.
    Newer,
}

/// The table in which sqlx keeps what was applied, so that its own command line tool can read it
/// too.
const TABLE: &str = "_sqlx_migrations";
/// For everything, the wait for another replica that migrates included.
const LIMIT: Duration = Duration::from_secs(60);
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Applies what is pending and answers it, in order.
pub async fn migrate(config: &DatabaseConfig) -> Result<Vec<Applied>, StoreError> {
    migrate_to(config, i64::MAX).await
}

/// Answers every migration that this version or the database knows. Changes nothing, not even by
/// creating a file.
pub async fn migration_status(config: &DatabaseConfig) -> Result<Vec<MigrationStatus>, StoreError> {
    let backend = backend_now(config).await.map_err(unusable)?;
    let known = migrations(&backend);
    let applied = match &backend.kind {
        Kind::Sqlite { file, .. } if !file.exists() => Vec::new(),
        Kind::Sqlite { .. } | Kind::Postgres => limited(applied(&backend, config)).await?,
    };
    Ok(compare(&known, &applied))
}

/// Applies what is pending up to and with `target`.
pub(super) async fn migrate_to(
    config: &DatabaseConfig,
    target: i64,
) -> Result<Vec<Applied>, StoreError> {
    let backend = backend_now(config).await.map_err(unusable)?;
    backend.create_directory().await.map_err(unusable)?;
    let mut wanted = migrations(&backend);
    wanted.retain(|migration| migration.version <= target);
    limited(apply(&backend, config, &wanted)).await
}

async fn apply(
    backend: &Backend,
    config: &DatabaseConfig,
    wanted: &[Migration],
) -> Result<Vec<Applied>, StoreError> {
    let mut connection = connect(backend, config).await?;
    let outcome = if is_up_to_date(&mut connection, wanted).await? {
        Ok(Vec::new())
    } else {
        match backend.kind {
            Kind::Postgres => apply_under_advisory_lock(&mut connection, wanted).await,
            Kind::Sqlite { .. } => apply_in_one_transaction(backend, &mut connection, wanted).await,
        }
    };
    close(connection).await;
    outcome
}

/// Nothing has to be written then, so that a replica starts also where it may only read.
async fn is_up_to_date(
    connection: &mut AnyConnection,
    wanted: &[Migration],
) -> Result<bool, StoreError> {
    let present = list(connection).await?;
    let is_applied = |migration| state_of(migration, &present) == MigrationState::Applied;
    if !wanted.iter().all(is_applied) {
        return Ok(false);
    }
    let dirty = connection.dirty_version(TABLE).await.map_err(failed)?;
    Ok(dirty.is_none())
}

/// The lock belongs to the session: it goes with the connection, however this ends.
async fn apply_under_advisory_lock(
    connection: &mut AnyConnection,
    wanted: &[Migration],
) -> Result<Vec<Applied>, StoreError> {
    connection.lock().await.map_err(failed)?;
    let outcome = apply_pending(connection, wanted).await;
    connection.unlock().await.map_err(failed)?;
    outcome
}

/// SQLite has no advisory locks; its write lock, held from the first statement to the last, does
/// the same.
async fn apply_in_one_transaction(
    backend: &Backend,
    connection: &mut AnyConnection,
    wanted: &[Migration],
) -> Result<Vec<Applied>, StoreError> {
    let begin = backend.statements().connection.begin_write;
    let mut tx = connection.begin_with(begin).await.map_err(error::reading)?;
    let applied = apply_pending(&mut tx, wanted).await?;
    tx.commit().await.map_err(error::reading)?;
    Ok(applied)
}

/// A database that is ahead of this version is left alone, so that a replica of the old version can
/// still start while the new one is being rolled out.
async fn apply_pending(
    connection: &mut AnyConnection,
    wanted: &[Migration],
) -> Result<Vec<Applied>, StoreError> {
    connection
        .ensure_migrations_table(TABLE)
        .await
        .map_err(failed)?;
    if let Some(version) = connection.dirty_version(TABLE).await.map_err(failed)? {
        return Err(failed(MigrateError::Dirty(version)));
    }
    let present = connection
        .list_applied_migrations(TABLE)
        .await
        .map_err(failed)?;
    let mut done = Vec::new();
    for migration in wanted {
        match state_of(migration, &present) {
            MigrationState::Pending => {
                connection.apply(TABLE, migration).await.map_err(failed)?;
                done.push(Applied {
                    version: migration.version,
                    description: migration.description.to_string(),
                });
            }
            MigrationState::Changed => {
                return Err(failed(MigrateError::VersionMismatch(migration.version)));
            }
            MigrationState::Applied | MigrationState::Newer => {}
        }
    }
    Ok(done)
}

async fn applied(
    backend: &Backend,
    config: &DatabaseConfig,
) -> Result<Vec<AppliedMigration>, StoreError> {
    let mut connection = connect(backend, config).await?;
    let listed = list(&mut connection).await;
    close(connection).await;
    listed
}

/// What was applied: nothing where the table is missing.
async fn list(connection: &mut AnyConnection) -> Result<Vec<AppliedMigration>, StoreError> {
    match connection.list_applied_migrations(TABLE).await {
        Err(MigrateError::Execute(error)) if error::is_missing_table(&error) => Ok(Vec::new()),
        listed => listed.map_err(failed),
    }
}

fn compare(known: &[Migration], applied: &[AppliedMigration]) -> Vec<MigrationStatus> {
    let mut all: Vec<MigrationStatus> = Vec::new();
    for migration in known {
        all.push(MigrationStatus {
            version: migration.version,
            description: migration.description.to_string(),
            state: state_of(migration, applied),
        });
    }
    for applied in applied {
        if !known.iter().any(|known| known.version == applied.version) {
            all.push(MigrationStatus {
                version: applied.version,
                description: String::new(),
                state: MigrationState::Newer,
            });
        }
    }
    all.sort_by_key(|status| status.version);
    all
}

fn state_of(migration: &Migration, applied: &[AppliedMigration]) -> MigrationState {
    match find(applied, migration.version) {
        None => MigrationState::Pending,
        Some(applied) if applied.checksum == migration.checksum => MigrationState::Applied,
        Some(_) => MigrationState::Changed,
    }
}

fn find(applied: &[AppliedMigration], version: i64) -> Option<&AppliedMigration> {
    applied.iter().find(|applied| applied.version == version)
}

fn migrations(backend: &Backend) -> Vec<Migration> {
    let files = match backend.kind {
        Kind::Postgres => files::POSTGRES,
        Kind::Sqlite { .. } => files::SQLITE,
    };
    files.iter().map(migration).collect()
}

fn migration(file: &File) -> Migration {
    Migration::new(
        file.version,
        Cow::Borrowed(file.name),
        MigrationType::Simple,
        SqlStr::from_static(file.sql),
        false,
    )
}

async fn connect(backend: &Backend, config: &DatabaseConfig) -> Result<AnyConnection, StoreError> {
    let connecting = AnyConnection::connect_with(&backend.options);
    let Ok(connected) = timeout(config.acquire_timeout, connecting).await else {
        return Err(StoreError::Unavailable(error::NO_CONNECTION.into()));
    };
    let mut connection = connected.map_err(error::reading)?;
    let limits = backend.statements().connection.limit_migration;
    connection.execute(limits).await.map_err(error::reading)?;
    Ok(connection)
}

/// Everything is committed by now, so that a connection that does not say goodbye is no reason to
/// fail.
async fn close(connection: AnyConnection) {
    if let Ok(Err(error)) = timeout(CLOSE_LIMIT, connection.close()).await {
        tracing::debug!(%error, "the connection for migrations did not close");
    }
}

async fn limited<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match timeout(LIMIT, work).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(StoreError::Unavailable(format!(
            "the migration did not end within {} s",
            LIMIT.as_secs()
        ))),
    }
}

fn unusable(error: OpenError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all others say that the schema is not what it should be"
)]
fn failed(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) => error::reading(error),
        MigrateError::ExecuteMigration(error, version) => failed_at(version, error),
        other => StoreError::Corrupt(other.to_string()),
    }
}

/// Names the migration when it may work another time.
fn failed_at(version: i64, error: sqlx::Error) -> StoreError {
    let error = error::reading(error);
    if let StoreError::Unavailable(reason) = error {
        return StoreError::Unavailable(format!("migration {version}: {reason}"));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(version: i64, sql: &'static str) -> Migration {
        migration(&File {
            version,
            name: "m",
            sql,
        })
    }

    fn applied(version: i64, sql: &'static str) -> AppliedMigration {
        AppliedMigration {
            version,
            checksum: known(version, sql).checksum,
        }
    }

    #[test]
    fn a_database_can_be_behind_ahead_and_different() {
        let known = [
            known(1, "SELECT 1"),
            known(2, "SELECT 2"),
            known(3, "SELECT 3"),
        ];
        let applied = [
            applied(1, "SELECT 1"),
            applied(2, "SELECT 'other'"),
            applied(9, "SELECT 9"),
        ];
        let mut states = Vec::new();
        for status in compare(&known, &applied) {
            states.push((status.version, status.state));
        }
        let want = [
            (1, MigrationState::Applied),
            (2, MigrationState::Changed),
            (3, MigrationState::Pending),
            (9, MigrationState::Newer),
        ];
        assert_eq!(states, want);
    }
}
