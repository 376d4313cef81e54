//! The configuration: one struct for each part of the router, read once, and checked as a whole before anything starts.
//!
//! Four layers, the later one wins: defaults, a TOML file, the environment, flags. See `docs/configuration.md`.

mod database;
mod http;
mod mistakes;
mod nats;
mod router;
mod telemetry;

use std::ffi::OsString;
use std::path::PathBuf;

pub use database::DatabaseConfig;
pub use http::{AdminConfig, HttpConfig};
pub use mistakes::{Mistake, Mistakes};
pub use nats::{NatsConfig, NatsTlsConfig};
pub use router::RouterConfig;
pub use telemetry::{LogFormat, TelemetryConfig};

/// A configuration in which everything was checked. Only `load` and `load_from` make one.
#[derive(Debug, Clone)]
pub struct Config {
    pub nats: NatsConfig,
    pub database: DatabaseConfig,
    pub http: HttpConfig,
    pub router: RouterConfig,
    pub admin: AdminConfig,
    pub telemetry: TelemetryConfig,
    warnings: Vec<String>,
}

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The file of `--config`; without it `BEAMLINE_CONFIG` names the file, and without both there is none.
    pub config_file: Option<PathBuf>,
    /// Keys such as `nats.url` with their values; of a key given twice the last value counts.
    pub set: Vec<(String, String)>,
}

/// Reads the configuration with the environment of this process.
pub fn load(overrides: &Overrides) -> Result<Config, Mistakes> {
    load_from(overrides, std::env::vars_os())
}

/// Reads the configuration with the environment given.
pub fn load_from(
    _overrides: &Overrides,
    _environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, Mistakes> {
    Err(Mistakes(Vec::new()))
}

impl Config {
    /// What is allowed but should be looked at, such as a secret in a file that everybody can read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The effective configuration with the origin of each value as a comment. Secrets are left out.
    pub fn to_toml(&self) -> String {
        String::new()
    }

    /// The effective configuration, one object for each section, and the origin of each value under `origins`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}
