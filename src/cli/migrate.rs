//! `migrate`: brings the database to the schema of this version, or says how far it is.

use clap::Args;

use super::{Console, Failure};
use crate::config::Config;

/// What `migrate` takes besides the global options.
#[derive(Debug, Clone, Args)]
pub struct MigrateArgs {
    /// Only list which migrations are applied and which are pending
    #[arg(long)]
    pub status: bool,
}

/// Migrates, or with `--status` only looks.
#[expect(clippy::unused_async, reason = "migrations wait for the database")]
pub async fn run(_config: &Config, _args: MigrateArgs, _console: Console) -> Result<(), Failure> {
    Err(Failure::Failed("migrate is not built yet.".to_owned()))
}
