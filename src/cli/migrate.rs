//! `migrate`: brings the database to the schema of this version, or says how far it is.

use beamline_actors::ports::StoreError;
use clap::Args;
use serde_json::json;

use super::view::{table, text};
use super::{Console, Failure};
use crate::config::{Config, DatabaseConfig};
use crate::store::{self, Applied, MigrationState, MigrationStatus};

/// What `migrate` takes besides the global options.
#[derive(Debug, Clone, Args)]
pub struct MigrateArgs {
    /// Only list which migrations are applied and which are pending
    #[arg(long)]
    pub status: bool,
}

/// Migrates, or with `--status` only looks.
pub async fn run(config: &Config, args: MigrateArgs, console: Console) -> Result<(), Failure> {
    let database = &config.database;
    if args.status {
        let all = store::migration_status(database)
            .await
            .map_err(|error| failure(error, database))?;
        let document = json!({"ok": true, "migrations": all}).to_string();
        return console.answer(&document, || Ok(status_table(&all)));
    }
    let applied = store::migrate(database)
        .await
        .map_err(|error| failure(error, database))?;
    let document = json!({"ok": true, "applied": applied}).to_string();
    console.answer(&document, || Ok(summary(&applied)))
}

fn summary(applied: &[Applied]) -> String {
    if applied.is_empty() {
        return "The database is up to date.".to_owned();
    }
    let mut table = table::with_header(&["VERSION", "NAME"], &["VERSION"]);
    for migration in applied {
        table.add_row([
            migration.version.to_string(),
            text::plain(&migration.description),
        ]);
    }
    format!(
        "{}\n{} applied.",
        table::text(&table),
        text::count(applied.len(), "migration")
    )
}

fn status_table(all: &[MigrationStatus]) -> String {
    let mut table = table::with_header(&["VERSION", "NAME", "STATE"], &["VERSION"]);
    for migration in all {
        let state = match migration.state {
            MigrationState::Applied => "applied",
            MigrationState::Pending => "pending",
            MigrationState::Changed => "applied in another form",
            MigrationState::Newer => "from a newer version",
        };
        table.add_row([
            migration.version.to_string(),
            text::plain(&migration.description),
            state.to_owned(),
        ]);
    }
    table::text(&table)
}

fn failure(error: StoreError, database: &DatabaseConfig) -> Failure {
    let url = database.redacted_url();
    match error {
        StoreError::Unavailable(reason) => Failure::Unreachable(format!(
            "the database at {url} cannot be migrated: {reason}. Check that it is running and that database.url is right."
        )),
        StoreError::Denied(reason) => Failure::Unreachable(format!(
            "the database at {url} cannot be migrated, it refuses: {reason}."
        )),
        StoreError::Corrupt(_)
        | StoreError::NotFound(_)
        | StoreError::Conflict(_)
        | StoreError::Refused(_)
        | StoreError::Unknown(_)
        | StoreError::Stale
        | StoreError::Replayed
        | StoreError::Changed(_) => Failure::Failed(format!(
            "the database at {url} cannot be migrated: {error}. Use the version of beamline-router that migrated it \
             last, or restore a backup."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: i64, state: MigrationState) -> MigrationStatus {
        MigrationStatus {
            version,
            description: "registry".into(),
            state,
        }
    }

    #[test]
    fn the_status_is_one_line_for_each_migration() {
        let all = [
            status(1, MigrationState::Applied),
            status(2, MigrationState::Pending),
        ];
        let lines =
            "VERSION  NAME      STATE\n      1  registry  applied\n      2  registry  pending";
        assert_eq!(status_table(&all), lines);
    }

    #[test]
    fn nothing_to_do_is_said_in_words() {
        assert_eq!(summary(&[]), "The database is up to date.");
        let applied = [Applied {
            version: 1,
            description: "registry".into(),
        }];
        assert_eq!(
            summary(&applied),
            "VERSION  NAME\n      1  registry\n1 migration applied."
        );
    }
}
