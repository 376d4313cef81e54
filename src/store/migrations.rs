//! Brings the database to the schema of this version. Several replicas may start at once: one migrates, the others
//! wait for it and find nothing left to do.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use beamline_actors::ports::StoreError;
use serde::Serialize;
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, MigrationType};
use sqlx::{AnyConnection, Connection, Executor, SqlStr};
use tokio::time::timeout;

use super::backend::Backend;
use super::error;
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

/// Names and texts in the order in which they are applied; the first is the dialect's own.
type Source = (i64, &'static str, &'static str);
const POSTGRES: &[Source] = &[
    (
        1,
        "registry",
        include_str!("../../migrations/postgres/0001_registry.sql"),
    ),
    SEEDS,
    (
        3,
        "breakers",
        include_str!("../../migrations/postgres/0003_breakers.sql"),
    ),
    (
        4,
        "breaker resets",
        include_str!("../../migrations/postgres/0004_breaker_resets.sql"),
    ),
    (
        5,
        "max in flight",
        include_str!("../../migrations/postgres/0005_max_in_flight.sql"),
    ),
    (
        6,
        "health of targets",
        include_str!("../../migrations/postgres/0006_health_of_targets.sql"),
    ),
];
const SQLITE: &[Source] = &[
    (
        1,
        "registry",
        include_str!("../../migrations/sqlite/0001_registry.sql"),
    ),
    SEEDS,
    (
        3,
        "breakers",
        include_str!("../../migrations/sqlite/0003_breakers.sql"),
    ),
    (
        4,
        "breaker resets",
        include_str!("../../migrations/sqlite/0004_breaker_resets.sql"),
    ),
    (
        5,
        "max in flight",
        include_str!("../../migrations/sqlite/0005_max_in_flight.sql"),
    ),
    (
        6,
        "health of targets",
        include_str!("../../migrations/sqlite/0006_health_of_targets.sql"),
    ),
];
const SEEDS: Source = (
    2,
    "seeds",
    include_str!("../../migrations/shared/0002_seeds.sql"),
);

/// The table in which sqlx keeps what was applied, so that its own command line tool can read it too.
const TABLE: &str = "_sqlx_migrations";
/// For everything, the wait for another replica that migrates included.
const LIMIT: Duration = Duration::from_secs(60);

/// Applies what is pending and answers it, in order.
pub async fn migrate(config: &DatabaseConfig) -> Result<Vec<Applied>, StoreError> {
    migrate_to(config, i64::MAX).await
}

/// Answers every migration that this version or the database knows. Changes nothing, not even by creating a file.
pub async fn migration_status(config: &DatabaseConfig) -> Result<Vec<MigrationStatus>, StoreError> {
    let backend = Backend::new(config).map_err(unusable)?;
    let known = migrations(&backend);
    let applied = match &backend {
        Backend::Sqlite { file } if !file.exists() => Vec::new(),
        Backend::Sqlite { .. } | Backend::Postgres(_) => limited(applied(&backend, config)).await?,
    };
    Ok(compare(&known, &applied))
}

/// Applies what is pending up to and with `target`.
pub(super) async fn migrate_to(
    config: &DatabaseConfig,
    target: i64,
) -> Result<Vec<Applied>, StoreError> {
    let backend = Backend::new(config).map_err(unusable)?;
    backend.create_directory().await.map_err(unusable)?;
    let mut wanted = migrations(&backend);
    wanted.retain(|migration| migration.version <= target);
    limited(async {
        let mut connection = connect(&backend, config).await?;
        let outcome = match &backend {
            Backend::Postgres(_) => apply_under_advisory_lock(&mut connection, &wanted).await,
            Backend::Sqlite { .. } => apply_in_one_transaction(&mut connection, &wanted).await,
        };
        close(connection).await;
        outcome
    })
    .await
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

/// SQLite has no advisory locks; its write lock, held from the first statement to the last, does the same.
async fn apply_in_one_transaction(
    connection: &mut AnyConnection,
    wanted: &[Migration],
) -> Result<Vec<Applied>, StoreError> {
    let mut tx = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(error::reading)?;
    let applied = apply_pending(&mut tx, wanted).await?;
    tx.commit().await.map_err(error::reading)?;
    Ok(applied)
}

/// A database that is ahead of this version is left alone, so that a replica of the old version can still start while
/// the new one is being rolled out.
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
        match present
            .iter()
            .find(|applied| applied.version == migration.version)
        {
            Some(applied) if applied.checksum == migration.checksum => {}
            Some(_) => return Err(failed(MigrateError::VersionMismatch(migration.version))),
            None => {
                connection.apply(TABLE, migration).await.map_err(failed)?;
                done.push(Applied {
                    version: migration.version,
                    description: migration.description.to_string(),
                });
            }
        }
    }
    Ok(done)
}

async fn applied(
    backend: &Backend,
    config: &DatabaseConfig,
) -> Result<Vec<AppliedMigration>, StoreError> {
    let mut connection = connect(backend, config).await?;
    let listed = connection.list_applied_migrations(TABLE).await;
    close(connection).await;
    match listed {
        Err(MigrateError::Execute(error)) if error::is_missing_table(&error) => Ok(Vec::new()),
        listed => listed.map_err(failed),
    }
}

fn compare(known: &[Migration], applied: &[AppliedMigration]) -> Vec<MigrationStatus> {
    let mut applied: HashMap<i64, &AppliedMigration> =
        applied.iter().map(|a| (a.version, a)).collect();
    let mut all: Vec<MigrationStatus> = known
        .iter()
        .map(|migration| {
            let state = match applied.remove(&migration.version) {
                None => MigrationState::Pending,
                Some(applied) if applied.checksum == migration.checksum => MigrationState::Applied,
                Some(_) => MigrationState::Changed,
            };
            MigrationStatus {
                version: migration.version,
                description: migration.description.to_string(),
                state,
            }
        })
        .collect();
    all.extend(applied.into_keys().map(|version| MigrationStatus {
        version,
        description: String::new(),
        state: MigrationState::Newer,
    }));
    all.sort_by_key(|status| status.version);
    all
}

/// The texts are listed and not found by a macro, so that adding a file without listing it fails a test.
fn migrations(backend: &Backend) -> Vec<Migration> {
    let sources = match backend {
        Backend::Postgres(_) => POSTGRES,
        Backend::Sqlite { .. } => SQLITE,
    };
    let read = |(version, name, sql): &Source| {
        let (sql, kind) = (SqlStr::from_static(sql), MigrationType::Simple);
        Migration::new(*version, Cow::Borrowed(*name), kind, sql, false)
    };
    sources.iter().map(read).collect()
}

async fn connect(backend: &Backend, config: &DatabaseConfig) -> Result<AnyConnection, StoreError> {
    let options = backend.connect_options(config).map_err(unusable)?;
    let late = |_| StoreError::Unavailable(error::NO_CONNECTION.into());
    let connecting = timeout(
        config.acquire_timeout,
        AnyConnection::connect_with(&options),
    );
    let mut connection = connecting.await.map_err(late)?.map_err(error::reading)?;
    connection
        .execute(backend.migration_session())
        .await
        .map_err(error::reading)?;
    Ok(connection)
}

/// Everything is committed by now, so that a connection that does not say goodbye is no reason to fail.
async fn close(connection: AnyConnection) {
    if let Ok(Err(error)) = timeout(Duration::from_secs(1), connection.close()).await {
        tracing::debug!(%error, "the connection for migrations did not close");
    }
}

async fn limited<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = |_| {
        StoreError::Unavailable(format!(
            "the migration did not end within {} s",
            LIMIT.as_secs()
        ))
    };
    timeout(LIMIT, work).await.map_err(late)?
}

fn unusable(error: super::OpenError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all others say that the schema is not what it should be"
)]
fn failed(error: MigrateError) -> StoreError {
    let (error, place) = match error {
        MigrateError::Execute(error) => (error, String::new()),
        MigrateError::ExecuteMigration(error, version) => (error, format!("migration {version}: ")),
        other => return StoreError::Corrupt(other.to_string()),
    };
    match error::reading(error) {
        StoreError::Unavailable(reason) => StoreError::Unavailable(place + &reason),
        corrupt @ (StoreError::Corrupt(_)
        | StoreError::NotFound(_)
        | StoreError::Conflict(_)
        | StoreError::Refused(_)
        | StoreError::Unknown(_)
        | StoreError::Stale) => corrupt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let files = |directory: &str| std::fs::read_dir(root.join(directory)).unwrap().count();
        assert_eq!(POSTGRES.len(), files("postgres") + files("shared"));
        assert_eq!(SQLITE.len(), files("sqlite") + files("shared"));
    }

    #[test]
    fn both_databases_have_the_same_versions() {
        let names = |sources: &[Source]| {
            sources
                .iter()
                .map(|(v, name, _)| (*v, *name))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(POSTGRES), names(SQLITE));
        assert!(names(POSTGRES).is_sorted());
    }

    #[test]
    fn a_database_can_be_behind_ahead_and_different() {
        let known = [(1, "SELECT 1"), (2, "SELECT 2"), (3, "SELECT 3")].map(|(version, sql)| {
            Migration::new(
                version,
                "m".into(),
                MigrationType::Simple,
                SqlStr::from_static(sql),
                false,
            )
        });
        let applied = [
            AppliedMigration {
                version: 1,
                checksum: known[0].checksum.clone(),
            },
            AppliedMigration {
                version: 2,
                checksum: known[0].checksum.clone(),
            },
            AppliedMigration {
                version: 9,
                checksum: known[0].checksum.clone(),
            },
        ];
        let states: Vec<_> = compare(&known, &applied)
            .iter()
            .map(|status| (status.version, status.state))
            .collect();
        let want = [
            (1, MigrationState::Applied),
            (2, MigrationState::Changed),
            (3, MigrationState::Pending),
            (9, MigrationState::Newer),
        ];
        assert_eq!(states, want);
    }
}
