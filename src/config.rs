//! The configuration: one struct for each part of the router, read once, and checked as a whole before anything starts.
//!
//! Four layers, the later one wins: defaults, a TOML file, the environment, flags. See `docs/configuration.md`. For
//! commands that ask a running router, the address of the one that `up` runs here stands in for the default.

mod complexity;
mod database;
mod file;
mod http;
mod layers;
mod memory;
mod mistakes;
mod nats;
mod printout;
mod reader;
mod router;
mod suggest;
mod telemetry;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use layers::Layers;
use printout::Printout;
use reader::Reader;

pub use complexity::ComplexityConfig;
pub use database::DatabaseConfig;
pub use http::{AdminConfig, HttpConfig};
pub use mistakes::{Mistake, Mistakes};
pub use nats::{NatsConfig, NatsTlsConfig};
pub use router::RouterConfig;
pub use telemetry::{LogFormat, TelemetryConfig};

/// A configuration in which everything was checked. Only `load` and `load_from` make one.
#[derive(Clone)]
pub struct Config {
    pub nats: NatsConfig,
    pub database: DatabaseConfig,
    pub http: HttpConfig,
    pub router: RouterConfig,
    pub complexity: ComplexityConfig,
    pub admin: AdminConfig,
    pub telemetry: TelemetryConfig,
    warnings: Vec<String>,
    printout: Printout,
}

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The file of `--config`; without it `BEAMLINE_CONFIG` names the file, and without both there is none.
    pub config_file: Option<PathBuf>,
    /// Keys such as `nats.url` with their values; of a key given twice the last value counts.
    pub set: Vec<(String, String)>,
    /// A router that was found running. Whatever somebody has written wins over it.
    pub discovered: Option<Discovered>,
}

/// Values that nobody has written: where a running router says that it is.
#[derive(Debug, Clone)]
pub struct Discovered {
    /// The file that says so, as the origin of these values.
    pub place: PathBuf,
    /// Keys with their values.
    pub set: Vec<(String, String)>,
}

/// Reads the configuration with the environment of this process.
pub fn load(overrides: &Overrides) -> Result<Config, Mistakes> {
    load_from(overrides, std::env::vars_os())
}

/// Reads the configuration with the environment given.
pub fn load_from(
    overrides: &Overrides,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, Mistakes> {
    let mut reader = Reader::new(Layers::read(overrides, environment));
    let nats = NatsConfig::read(&mut reader);
    let database = DatabaseConfig::read(&mut reader);
    let http = HttpConfig::read(&mut reader);
    let router = RouterConfig::read(&mut reader);
    let complexity = ComplexityConfig::read(&mut reader);
    let admin = AdminConfig::read(&mut reader);
    let telemetry = TelemetryConfig::read(&mut reader);
    admin.check_exposure(&http, &mut reader);
    let (printout, warnings) = reader.finish()?;
    Ok(Config {
        nats,
        database,
        http,
        router,
        complexity,
        admin,
        telemetry,
        warnings,
        printout,
    })
}

impl Config {
    /// What is allowed but should be looked at, such as a secret in a file that everybody can read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The effective configuration as it was loaded, with the origin of each value as a comment. In place of a secret
    /// stands `[redacted]`, which `load` refuses, so that nobody starts a router with it.
    pub fn to_toml(&self) -> String {
        self.printout.to_toml()
    }

    /// The effective configuration, one object for each section, and the origin of each value under `origins`.
    pub fn to_json(&self) -> serde_json::Value {
        self.printout.to_json()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("nats", &self.nats)
            .field("database", &self.database)
            .field("http", &self.http)
            .field("router", &self.router)
            .field("complexity", &self.complexity)
            .field("admin", &self.admin)
            .field("telemetry", &self.telemetry)
            .finish_non_exhaustive()
    }
}
